"""Parsing answers or refuses; names and strings survive the way out and back; LIST matches as a naive matcher."""

import re
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.errors import CharsetUnknown, LimitReached, MailboxNameInvalid
from sora.imap import commands, framer, responses
from sora.imap import mailbox_name as names
from sora.imap.listing import matcher
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax, Cursor

COMMANDS = st.sampled_from(
    [
        *(b"ID", b"LOGIN", b"AUTHENTICATE", b"ENABLE", b"SELECT", b"CREATE", b"RENAME", b"LIST", b"LSUB", b"STATUS"),
        *(b"APPEND", b"UID EXPUNGE", b"SEARCH", b"FETCH", b"UID FETCH", b"STORE", b"COPY", b"NOOP", b"FROB"),
    ]
)
WORDS = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [
            *(
                b" ",
                b" ",
                b" ",
                b"(",
                b")",
                b"[",
                b"]",
                b"<0.1>",
                b'"',
                b'"a b"',
                b"~",
                b"NIL",
                b"1",
                b"1:*",
                b"*",
                b"%",
            ),
            *(b"FLAGS", b"\\Seen", b"+FLAGS", b"BODY", b"BODY[", b"HEADER.FIELDS (", b"1.2", b"BINARY", b"ALL", b"OR"),
            *(b"NOT", b"FROM x", b"SINCE 1-Jan-2020", b"CHARSET ", b"UTF-8", b"RETURN (", b"SUBSCRIBED", b"USE ("),
            *(b"UNSEEN", b"x", b"&AOQ-", b"UNCHANGEDSINCE 1", b'"01-Jan-2020 00:00:00 +0000"', b"KEYWORD x", b"9" * 21),
        ]
    ),
)
FRAGMENT = st.lists(WORDS, max_size=12).map(b"".join)
PARTS = st.lists(FRAGMENT, min_size=1, max_size=4).map(lambda parts: tuple(parts if len(parts) % 2 else parts[:-1]))
NAME = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")) | st.sampled_from("&/-, INBOX\U0001f600é"), max_size=20
)


class Parsing(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(name=COMMANDS, parts=st.lists(PARTS, min_size=10, max_size=10))
    def test_any_arguments_give_a_command_or_a_documented_error(
        self, name: bytes, parts: list[tuple[bytes, ...]]
    ) -> None:
        for one in parts:
            try:
                result = parse(framer.Command(b"a", name, one))
            except (BadSyntax, LimitReached, CharsetUnknown, MailboxNameInvalid) as error:
                self.assertTrue(str(error))
                responses.bad(b"a", str(error)).decode("ascii")
            else:
                self.assertIsInstance(result, commands.Command)


class RoundTrips(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(name=NAME)
    def test_mailbox_names(self, name: str) -> None:
        composed = unicodedata.normalize("NFC", name)
        wire = names.encode(composed)
        self.assertRegex(wire, rb"\A[\x20-\x7e]*\Z")
        self.assertEqual(names.decode(wire), composed)
        quoted = responses.mailbox(composed)
        if not quoted.startswith(b"{"):
            self.assertEqual(Cursor((quoted,)).mailbox(), names.canonical(composed))

    @settings(deadline=None, max_examples=100)
    @given(wire=st.binary(max_size=12) | st.text("&-,/AOQZe", max_size=10).map(str.encode))
    def test_whatever_decodes_has_one_spelling(self, wire: bytes) -> None:
        try:
            name = names.decode(wire)
        except MailboxNameInvalid:
            return
        self.assertEqual(names.decode(names.encode(name)), name)
        if wire.isascii() and unicodedata.is_normalized("NFC", name):
            self.assertLessEqual(len(names.encode(name)), len(wire))

    @settings(deadline=None, max_examples=100)
    @given(data=st.binary(max_size=30) | st.text('\\"a (){%*\r\n', max_size=10).map(str.encode))
    def test_t7_strings_come_back_and_never_split(self, data: bytes) -> None:
        for written in (responses.string(data), responses.astring(data)):
            if written.startswith(b"{"):
                self.assertEqual(written, b"{%d}\r\n" % len(data) + data)
            else:
                self.assertRegex(written, rb"\A[\x20-\x7e]+\Z")
                cursor = Cursor((written + b" x",))
                self.assertEqual(cursor.astring(), data)
                cursor.space()

    @settings(deadline=None, max_examples=100)
    @given(text=st.text(max_size=40), keywords=st.lists(st.text(max_size=5), max_size=3))
    def test_t7_no_answer_can_be_split(self, text: str, keywords: list[str]) -> None:
        for line in (
            responses.no(b"a", text),
            responses.list_line(b"LIST", ("\\Noselect",), text),
            responses.status(text, (b"MESSAGES 1",)),
            responses.fetch_lines([responses.SHAPE_FLAGS], [[1], [responses.flag_text(1, keywords)]]),
            responses.flags(keywords),
        ):
            self.assertRegex(line, rb"\A[\x20-\x7e]+\r\n\Z")


def naive(pattern: str, name: str) -> bool:
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern)
    flags = re.DOTALL
    if name == "INBOX" or name.startswith("INBOX/"):
        # The first level in any spelling: try them all, as there are only 32.
        spellings = ["".join(letters) for letters in _spell("INBOX")]
        return any(re.fullmatch(expression, spelling + name[5:], flags) for spelling in spellings)
    return re.fullmatch(expression, name, flags) is not None


def _spell(word: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for letter in word:
        found = [[*start, case] for start in found for case in (letter, letter.lower())]
    return found


class Matching(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(
        patterns=st.lists(st.text("ab/*%", max_size=8) | st.text("inboxINBOX*%/a", max_size=7), min_size=5, max_size=5),
        name=st.text("ab/", max_size=8) | st.sampled_from(["INBOX", "INBOX/a", "INBOXa", "inbox", "a/INBOX"]),
    )
    def test_the_matcher_agrees_with_a_naive_one(self, patterns: list[str], name: str) -> None:
        for pattern in (*patterns, "inbox*", "%N%", "*"):
            self.assertEqual(matcher(pattern)(name), naive(pattern, name), (pattern, name))
        together = any(naive(pattern, name) for pattern in patterns)
        self.assertEqual(matcher(*patterns)(name), together, (patterns, name))
