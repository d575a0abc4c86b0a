"""Every answer, as octets."""

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial import unittest

from sora.core import flags
from sora.imap import responses as r


class Status(unittest.SynchronousTestCase):
    def test_tagged_and_untagged(self) -> None:
        self.assertEqual(r.ok(b"a", "fine"), b"a OK fine\r\n")
        self.assertEqual(r.no(b"a", "gone", code=b"NONEXISTENT"), b"a NO [NONEXISTENT] gone\r\n")
        self.assertEqual(r.bad(b"*", "what"), b"* BAD what\r\n")
        self.assertEqual(r.bye("bye"), b"* BYE bye\r\n")
        self.assertEqual(r.untagged_ok("x", code=b"UIDNEXT 4"), b"* OK [UIDNEXT 4] x\r\n")
        self.assertEqual(r.untagged_no("x"), b"* NO x\r\n")
        self.assertEqual(r.greeting(b"IMAP4rev1 ID", "ready"), b"* OK [CAPABILITY IMAP4rev1 ID] ready\r\n")
        self.assertEqual(r.continuation(), b"+ OK\r\n")
        self.assertEqual(r.challenge(b""), b"+ \r\n")

    def test_t7_human_text_cannot_split_or_fake_an_answer(self) -> None:
        self.assertEqual(r.no(b"a", "x\r\n* BYE \0é"), b"a NO x?* BYE ?\r\n")
        self.assertEqual(r.ok(b"a", "[ALERT] x"), b"a OK ALERT] x\r\n")
        self.assertEqual(r.ok(b"a", ""), b"a OK -\r\n")
        self.assertLess(len(r.ok(b"a", "x" * 10_000)), 600)


class Strings(unittest.SynchronousTestCase):
    def test_t7_strings_are_quoted_or_literal(self) -> None:
        for data, expected in (
            (b"", b'""'),
            (b"a b", b'"a b"'),
            (b'a"\\', b'"a\\"\\\\"'),
            (b"a\r\nb", b"{4}\r\na\r\nb"),
            (b"\0", b"{1}\r\n\0"),
            ("é".encode(), b"{2}\r\n\xc3\xa9"),
            (b"x" * 1001, b"{1001}\r\n" + b"x" * 1001),
        ):
            self.assertEqual(r.string(data), expected)

    def test_astrings_are_atoms_where_they_can_be(self) -> None:
        for data, expected in ((b"a", b"a"), (b"nil", b'"nil"'), (b"", b'""'), (b"a b", b'"a b"'), (b"a]", b'"a]"')):
            self.assertEqual(r.astring(data), expected)
        self.assertEqual(r.nstring(None), b"NIL")

    def test_mailbox_names_are_encoded_and_quoted(self) -> None:
        self.assertEqual(r.mailbox('a "ä"'), b'"a \\"&AOQ-\\""')


class Data(unittest.SynchronousTestCase):
    def test_lists(self) -> None:
        self.assertEqual(
            r.list_line(b"LIST", ("\\HasNoChildren", "\\Sent"), "Sent"),
            b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"\r\n',
        )
        self.assertEqual(
            r.list_line(b"LIST", (), "a", child_info=(b"SUBSCRIBED",)),
            b'* LIST () "/" "a" ("CHILDINFO" ("SUBSCRIBED"))\r\n',
        )
        self.assertEqual(r.status("a", (b"MESSAGES 1", b"UNSEEN 0")), b'* STATUS "a" (MESSAGES 1 UNSEEN 0)\r\n')
        self.assertEqual(r.capability(b"IMAP4rev1"), b"* CAPABILITY IMAP4rev1\r\n")

    def test_c14_enabled_is_answered_even_if_empty(self) -> None:
        self.assertEqual(r.enabled(("CONDSTORE",)), b"* ENABLED CONDSTORE\r\n")
        self.assertEqual(r.enabled(()), b"* ENABLED\r\n")

    def test_id(self) -> None:
        self.assertEqual(r.identification(None), b"* ID NIL\r\n")
        self.assertEqual(r.identification((("name", "sora"), ("x", None))), b'* ID ("name" "sora" "x" NIL)\r\n')

    def test_mailbox_data(self) -> None:
        self.assertEqual(r.exists(3) + r.recent(0) + r.expunges([2]), b"* 3 EXISTS\r\n* 0 RECENT\r\n* 2 EXPUNGE\r\n")
        self.assertEqual(r.expunges((2, 2)), b"* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n")
        self.assertEqual(r.flags(("x",)), b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft x)\r\n")
        self.assertIn(b"\\Draft x \\*)]", r.permanent_flags(("x",)))
        self.assertIn(b"[PERMANENTFLAGS ()]", r.permanent_flags(("x",), settable=False))

    def test_codes(self) -> None:
        self.assertEqual(r.append_uid(7, (3,)), b"APPENDUID 7 3")
        self.assertEqual(r.copy_uid(7, "1:2,9", "4:6"), b"COPYUID 7 1:2,9 4:6")
        self.assertEqual(r.modified((1, 3)), b"MODIFIED 1,3")
        self.assertEqual(r.bad_charset((b"US-ASCII", b"UTF-8")), b"BADCHARSET (US-ASCII UTF-8)")


class Fetching(unittest.SynchronousTestCase):
    def test_flags_with_and_without_uid_and_modseq(self) -> None:
        words = r.flag_text(flags.SEEN | flags.DRAFT, ("x",))
        self.assertEqual(words, b"\\Seen \\Draft x")
        lines = b"* 1 FETCH (FLAGS (\\Seen \\Draft x))\r\n* 2 FETCH (FLAGS ())\r\n"
        self.assertEqual(r.fetch_lines([r.SHAPE_FLAGS], [[1, 2], [words, b""]]), lines)
        shape = [r.SHAPE_UID, r.SHAPE_FLAGS, r.SHAPE_MODSEQ]
        line = b"* 1 FETCH (UID 5 FLAGS () MODSEQ (9))\r\n"
        self.assertEqual(r.fetch_lines(shape, [[1], [5], [b""], [9]]), line)

    def test_recent_is_written_with_the_flags(self) -> None:
        self.assertEqual(r.flag_text(flags.SEEN, recent=True), b"\\Seen \\Recent")
        self.assertEqual(r.flag_text(0, ("x",), recent=True), b"\\Recent x")

    def test_t7_what_is_no_keyword_is_not_written(self) -> None:
        self.assertEqual(r.flag_text(0, ("a) b", "x\r\n", "ok")), b"ok")
        self.assertEqual(r.flag_text(0, ("a b",)), b"")

    def test_pieces_are_joined(self) -> None:
        when = datetime(2024, 2, 1, 10, 20, 30, tzinfo=UTC)
        pieces = [
            r.piece_uid(4),
            r.piece_flags(b"\\Seen"),
            r.piece_modseq(9),
            r.piece_internal_date(when),
            r.piece_size(5),
            r.piece_raw(b"ENVELOPE", b"(NIL)"),
            r.piece_number(b"BINARY.SIZE[1]", 3),
            r.piece_section(b"BODY[TEXT]<0>", b"a\r\n"),
            r.piece_section(b"BODY[9]", None),
        ]
        self.assertEqual(
            r.fetch(2, pieces),
            b'* 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (9) INTERNALDATE "01-Feb-2024 10:20:30 +0000" RFC822.SIZE 5'
            b" ENVELOPE (NIL) BINARY.SIZE[1] 3 BODY[TEXT]<0> {3}\r\na\r\n BODY[9] NIL)\r\n",
        )

    def test_binary_with_nuls_is_a_literal8(self) -> None:
        self.assertEqual(r.piece_binary(b"BINARY[1]", b"a\0"), b"BINARY[1] ~{2}\r\na\0")
        self.assertEqual(r.piece_binary(b"BINARY[1]", b"a"), b"BINARY[1] {1}\r\na")
        self.assertEqual(r.piece_binary(b"BINARY[1]", None), b"BINARY[1] NIL")

    def test_dates_with_zones(self) -> None:
        west = timezone(-timedelta(hours=3, minutes=30))
        self.assertEqual(r.internal_date(datetime(2024, 12, 31, 1, 2, 3, tzinfo=west)), b'"31-Dec-2024 01:02:03 -0330"')
        self.assertEqual(r.internal_date(datetime(800, 1, 1)), b'"01-Jan-0800 00:00:00 +0000"')

    def test_many_lines_are_written_as_each_is(self):
        columns = {
            r.SHAPE_UID: [4, 5],
            r.SHAPE_ENVELOPE: [b"(%d)", b"(NIL)"],
            r.SHAPE_STRUCTURE: [b"(\xff)", b"()"],
            r.SHAPE_FLAGS: [b"\\Seen", b""],
            r.SHAPE_SIZE: [1, 2**40],
            r.SHAPE_BODY: [b"(%b)", b"(%%)"],
        }
        shapes = list(columns)
        for first in range(len(shapes)):
            for chosen in (shapes[first:], shapes[first::-1], shapes[first : first + 1]):
                lines = r.fetch_lines(chosen, [[1, 2], *(columns[one] for one in chosen)])
                each = (r.fetch(n + 1, [one % columns[one][n] for one in chosen]) for n in (0, 1))
                self.assertEqual(lines, b"".join(each))
        self.assertEqual(r.fetch_lines(shapes, [[]] * (len(shapes) + 1)), b"")
        with self.assertRaises(ValueError):
            r.fetch_lines([r.SHAPE_UID, r.SHAPE_ENVELOPE], [[1, 2], [1, 2], [b"()"]])

    def test_many_dates_are_written_as_each_is(self):
        moments = [datetime(*day, tzinfo=UTC) for day in ((1, 1, 1), (1969, 12, 31, 23, 59, 59), (1970, 1, 1))]
        moments += [datetime(2024, 2, 29, hour, 7 * hour % 60, 5 * hour % 60, tzinfo=UTC) for hour in range(24)]
        moments.append(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        seconds = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) for moment in moments]
        self.assertEqual(r.internal_dates(seconds), [r.internal_date(moment) for moment in moments])
