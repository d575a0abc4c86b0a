"""Any chunking of any bytes gives the same events (T4)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core import limits
from sora.imap.framer import Command, Event, Fatal, Framer, Line, LiteralOffered

PIECES = st.sampled_from(
    [
        b"a1 NOOP\r\n",
        b"a2 uid fetch 1:* (FLAGS)\r\n",
        b"a3 noop\n",
        b"a4 LOGIN {3}\r\nabc {4+}\r\nd\r\nf\r\n",
        b"a5 LOGIN x y\r\n",
        b"a6 IDLE\r\nDONE\r\n",
        b"a7 AUTHENTICATE PLAIN\r\nAGEAYg==\r\n",
        b"a8 APPEND {5+}\r\nINBOX (\\Seen) {20+}\r\n01234567890123456789\r\n",
        b"a9 APPEND x ~{200+}\r\n" + b"z" * 200 + b"\r\n",
        b"b0 IDLE\r\n+\r\n+\nDONE {3+}\r\n",
        b"b1 APPEND x {200}\r\n",
        b"b2 SEARCH {0+}\r\n {0}\r\n\r\n",
        b"b3 ID {9000+}\r\n" + b"q" * 9000 + b" {3+}\r\nabc\r\n",
        b"b4 X " + b"y" * 8300 + b"{7+}\r\n1234567\r\n",
        b"b5 X " + b"y" * 70000 + b"\r\n",
        b"{5+}\r\nhello",
        b"(bad tag\r\n",
        b"\r\n",
        b"tag\r\n",
        b"c1 LOGOUT\r\n",
        b"c2 X {99999999999999999999999+}\r\n",
        b"c3 X {99999999999999999999999}\r\n",
        b"c4 X{3+}\r\nabc\r\n",
        b"c5 X a\rb\0c\r\n",
        b"\r",
        b"\n",
        b"{1}\r\n",
        b"+}\r\n",
    ]
)
STREAMS = st.lists(st.one_of(PIECES, PIECES, st.binary(max_size=12)), max_size=8).map(b"".join)


def decide(framer: Framer, events: list[Event], seen: list[Event]) -> None:
    """Answer every wait as a server would, from what was seen alone."""
    while True:
        seen.extend(events)
        if not framer.waiting:
            return
        last = seen[-1]
        if isinstance(last, LiteralOffered):
            events = framer.refuse() if last.size % 5 == 4 else framer.accept()
        elif last == Line(b"+") or (isinstance(last, Command) and last.name in (b"IDLE", b"AUTHENTICATE")):
            events = framer.expect_line()
        else:
            if isinstance(last, Command) and last.name == b"LOGIN":
                framer.authenticated = True
            events = framer.resume()


def frame(chunks: list[bytes]) -> list[Event]:
    framer = Framer(append_max=100, drain_max=20_000)
    seen: list[Event] = []
    for chunk in chunks:
        decide(framer, framer.feed(chunk), seen)
        if not framer.authenticated:
            assert framer.held <= limits.UNAUTHENTICATED_HELD_MAX, framer.held
    return seen


class Chunking(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(stream=STREAMS, cuts=st.lists(st.integers(min_value=1, max_value=9000), max_size=20))
    def test_any_chunking_gives_the_same_events(self, stream: bytes, cuts: list[int]) -> None:
        whole = frame([stream])
        chunks = []
        position = 0
        for cut in cuts:
            chunks.append(stream[position : position + cut])
            position += cut
        chunks.append(stream[position:])
        self.assertEqual(frame(chunks), whole)

    @settings(deadline=None, max_examples=30)
    @given(stream=STREAMS)
    def test_octet_by_octet_gives_the_same_events(self, stream: bytes) -> None:
        self.assertEqual(frame([stream[n : n + 1] for n in range(len(stream))]), frame([stream]))

    @settings(deadline=None, max_examples=100)
    @given(stream=STREAMS)
    def test_nothing_follows_a_fatal_event(self, stream: bytes) -> None:
        events = frame([stream])
        self.assertNotIn(Fatal, [type(event) for event in events[:-1]])
