"""T4 for LMTP: any octets in any chunking give the same events and the same answers."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sora.lmtp.core import Core, Deliver, Resolve, Say
from sora.lmtp.framer import Event

_LINES = st.sampled_from(
    [
        b"LHLO client.example\r\n",
        b"MAIL FROM:<a@example.org>\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<b@example.org>\r\n",
        b"RCPT TO:<nobody@example.org>\r\n",
        b"DATA\r\n",
        b"DATA \r\n",
        b"RSET\r\n",
        b"NOOP\n",
        b"BDAT 3\r\nabc",
        b"BDAT 4 LAST\r\n\r\n.\r",
        b"BDAT 0 LAST\r\n",
        b"BDAT x\r\n",
        b"x" * 130 + b"\r\n",
        b"Subject: s\r\n\r\ntext\r\n",
        b"..stuffed\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"bare\n.\n",
        b"y" * 220 + b"\r\n",
    ]
)
_STREAM = st.lists(st.one_of(_LINES, st.binary(max_size=6)), max_size=20).map(b"".join)
_START = b"LHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@b.c>\r\nDATA\r\n"


def talk(chunks: list[bytes]) -> list[object]:
    """Drive a core as the server does; returns answers and deliveries in order."""
    core: Core[str] = Core("mx.example.org", message_max=200, line_max=120, bad_commands_max=5)
    said: list[object] = []
    for chunk in chunks:
        events: list[Event] = core.feed(chunk)
        while events:
            step = core.take(events.pop(0))
            if isinstance(step, Say):
                said.append(step.data)
                if step.close:
                    return said
            elif isinstance(step, Resolve):
                known = not step.address.startswith("nobody")
                said.append(core.accept(step.address, step.address) if known else core.refuse(ValueError()))
            elif isinstance(step, Deliver):
                said.append((step.mail, tuple(step.recipients), step.data))
            events.extend(core.feed(b""))
    return [one for one in said if one != b""]


class ChunkingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(_STREAM, st.lists(st.integers(1, 40), max_size=30))
    @example(_START + b"a\r\n.\r\nQUIT\r\n", [1] * 100)
    @example(_START + b".\r\nNOOP\r\n", [44, 1, 1, 1])
    @example(_START + b"\n.\r\n..\r\n\r.\r\n.\r\n", [1] * 100)
    def test_any_chunking_gives_the_same_conversation(self, stream: bytes, sizes: list[int]) -> None:
        chunks, position = [], 0
        for size in sizes:
            chunks.append(stream[position : position + size])
            position += size
        chunks.append(stream[position:])
        self.assertEqual(talk(chunks), talk([stream]))

    @settings(deadline=None, max_examples=100)
    @given(_STREAM)
    def test_octet_by_octet_is_the_same_too(self, stream: bytes) -> None:
        self.assertEqual(talk([stream[n : n + 1] for n in range(len(stream))]), talk([stream]))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a", b"a.", b"\xff\x00"]), max_size=12))
    def test_what_a_client_stuffs_is_what_is_delivered(self, lines: list[bytes]) -> None:
        message = b"".join(line + b"\r\n" for line in lines)
        stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        said = talk([_START + stuffed + b".\r\n"])
        self.assertEqual(said[-1][2], message)  # type: ignore[index]
