"""Whatever a client says of new messages becomes a command or a documented error; and any URL a place or nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.errors import LimitReached, MailboxNameInvalid
from sora.imap import commands, url
from sora.imap.framer import Command
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax

WORDS = st.sampled_from(
    (
        b"INBOX",
        b" ",
        b"(",
        b")",
        b"\\Seen",
        b'"05-Mar-2026 10:11:12 +0200"',
        b"CATENATE ",
        b"URL ",
        b"TEXT ",
        b"UTF8 (",
        b"~",
        b"/a/;UID=1",
        b'"',
        b"4",
        b"\\",
        b"$Word",
        b"  ",
        b"/;SECTION=",
    )
)
TEXTS = st.lists(WORDS, max_size=9).map(b"".join)
PARTS = st.lists(st.tuples(TEXTS, st.binary(max_size=4)), max_size=4)
LIKELY = (b"INBOX ", b" (\\Seen) ", b" CATENATE (TEXT ", b" TEXT ", b" UTF8 (~", b") ", b" ~", b")", b"4 INBOX ", b"")
MOSTLY = st.lists(st.tuples(st.sampled_from(LIKELY), st.binary(max_size=3)), max_size=5)
PIECES = st.sampled_from(
    (b"/", b"INBOX", b";UIDVALIDITY=", b"12", b";UID=", b"/;SECTION=", b"1.MIME", b"/;PARTIAL=", b".", b"%41")
)


class AppendProperties(unittest.SynchronousTestCase):
    @settings(max_examples=400, deadline=None)
    @given(name=st.sampled_from((b"APPEND", b"REPLACE", b"UID REPLACE")), said=PARTS | MOSTLY, end=TEXTS)
    def test_any_words_are_read_or_refused(self, name: bytes, said: list[tuple[bytes, bytes]], end: bytes) -> None:
        parts = (*(piece for pair in said for piece in pair), end)
        try:
            command = parse(Command(b"a", name, parts))
        except (BadSyntax, LimitReached, MailboxNameInvalid):
            return
        messages = command.messages if isinstance(command, commands.Append) else (command.message,)
        literals = [part for message in messages for part in message.parts if isinstance(part, bytes)]
        sent = [literal for _, literal in said]
        self.assertEqual([literal for literal in literals if literal not in sent], [])
        self.assertTrue(all(message.parts for message in messages))

    @settings(max_examples=400, deadline=None)
    @given(text=st.binary(max_size=40) | st.lists(PIECES, max_size=10).map(b"".join))
    def test_any_url_is_a_place_or_nothing(self, text: bytes) -> None:
        place = url.parse(text)
        if place is not None:
            self.assertTrue(place.mailbox)
            self.assertGreater(place.uid, 0)
