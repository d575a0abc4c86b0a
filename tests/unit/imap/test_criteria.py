"""SEARCH keys become a flat program."""

from datetime import UTC, date, datetime

from twisted.trial import unittest

from sora.core import criteria as steps
from sora.core import flags, limits
from sora.core.criteria import And, DateOf, Field, Not, Or, Relation, Step
from sora.core.errors import CharsetUnknown, LimitReached
from sora.core.uidset import SAVED, UidSet
from sora.imap import framer
from sora.imap import search_commands as sc
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax


def search(*parts: bytes, name: bytes = b"SEARCH") -> sc.Search:
    command = parse(framer.Command(b"a", name, parts))
    assert isinstance(command, sc.Search)
    return command


def program(*parts: bytes) -> tuple[Step, ...]:
    return search(*parts).criteria.steps


def text(needle: str) -> Step:
    return steps.Text(Field.SUBJECT, needle)


class Keys(unittest.SynchronousTestCase):
    def test_flags(self) -> None:
        for name, bit in (
            (b"SEEN", flags.SEEN),
            (b"ANSWERED", flags.ANSWERED),
            (b"FLAGGED", flags.FLAGGED),
            (b"DELETED", flags.DELETED),
            (b"DRAFT", flags.DRAFT),
        ):
            self.assertEqual(program(name), (steps.Flag(bit),))
            self.assertEqual(program(b"un" + name), (steps.Flag(bit, wanted=False),))

    def test_recent_old_and_new(self) -> None:
        self.assertEqual(program(b"RECENT"), (steps.Recent(),))
        self.assertEqual(program(b"OLD"), (steps.Recent(wanted=False),))
        self.assertEqual(program(b"NEW"), (steps.Recent(), steps.Flag(flags.SEEN, wanted=False), And(2)))

    def test_keywords_are_lower_cased(self) -> None:
        self.assertEqual(program(b"KEYWORD $Junk"), (steps.Keyword("$junk"),))
        self.assertEqual(program(b"UNKEYWORD x"), (steps.Keyword("x", wanted=False),))

    def test_texts_are_folded(self) -> None:
        for field in Field:
            self.assertEqual(program(field.name.encode() + b' "A b"'), (steps.Text(field, "a b"),))

    def test_l6_a_text_to_search_for_is_bounded(self) -> None:
        longest = b"x" * limits.IMAP_SEARCH_TEXT_MAX
        self.assertEqual(program(b"SUBJECT " + longest), (text(longest.decode()),))
        for key in (b"TEXT ", b"HEADER Subject "):
            with self.assertRaises(LimitReached):
                program(key + longest + b"x")

    def test_c17_headers_by_name(self) -> None:
        self.assertEqual(program(b'HEADER "References" <X@y>'), (steps.Header("references", "<x@y>"),))
        self.assertEqual(program(b'HEADER List-Id ""'), (steps.Header("list-id", ""),))

    def test_dates(self) -> None:
        day = date(2024, 2, 1)
        for name, of, relation in (
            (b"BEFORE", DateOf.INTERNAL, Relation.BEFORE),
            (b"ON", DateOf.INTERNAL, Relation.ON),
            (b"SINCE", DateOf.INTERNAL, Relation.SINCE),
            (b"SENTBEFORE", DateOf.SENT, Relation.BEFORE),
            (b"SENTON", DateOf.SENT, Relation.ON),
            (b"SENTSINCE", DateOf.SENT, Relation.SINCE),
        ):
            self.assertEqual(program(name + b" 1-feb-2024"), (steps.Dated(of, relation, day),))
            self.assertEqual(program(name + b' "01-Feb-2024"'), (steps.Dated(of, relation, day),))

    def test_sizes_sets_and_modseq(self) -> None:
        self.assertEqual(program(b"LARGER 5"), (steps.Size(Relation.LARGER, 5),))
        self.assertEqual(program(b"SMALLER 5"), (steps.Size(Relation.BEFORE, 5),))
        self.assertEqual(program(b"1:*"), (steps.Numbers(UidSet(((1, 0),))),))
        self.assertEqual(program(b"UID *"), (steps.Uids(UidSet(((0, 0),))),))
        self.assertEqual(program(b'MODSEQ "/flags/\\\\draft" all 7'), (steps.ModSeqAtLeast(7),))
        self.assertTrue(search(b"MODSEQ 7").modseq)
        self.assertFalse(search(b"ALL").modseq)

    def test_what_is_malformed_is_refused(self) -> None:
        for keys in (
            b"",
            b"FOO",
            b"FROM",
            b"NOT",
            b"OR ALL",
            b"(ALL",
            b"ALL)",
            b"()",
            b"KEYWORD \\Seen",
            b"SINCE x",
            b"SINCE 31-Feb-2024",
            b"LARGER x",
            b"HEADER x",
            b"UID x",
            b"1,",
            b"ALL 0",
            b"(OR ALL) ALL",
            b"RETURN (FOO) ALL",
            b"RETURN ALL",
        ):
            with self.assertRaises(BadSyntax, msg=keys):
                search(keys)


class Combining(unittest.SynchronousTestCase):
    def test_keys_side_by_side_are_all_wanted(self) -> None:
        self.assertEqual(program(b"SUBJECT a SUBJECT b"), (text("a"), text("b"), And(2)))

    def test_not_and_or_take_what_follows(self) -> None:
        self.assertEqual(
            program(b"NOT SUBJECT a OR SUBJECT b SUBJECT c"), (text("a"), Not(), text("b"), text("c"), Or(2), And(2))
        )

    def test_parentheses_group(self) -> None:
        self.assertEqual(
            program(b"OR (SUBJECT a SUBJECT b) NOT (SUBJECT c)"),
            (text("a"), text("b"), And(2), text("c"), Not(), Or(2)),
        )
        self.assertEqual(program(b"((SUBJECT a))"), (text("a"),))

    def test_c17_a_chain_of_or_is_one_alternative_however_long(self) -> None:
        for chain in (b"OR SUBJECT a " * 400 + b"SUBJECT a", b"OR " * 400 + b"SUBJECT a " * 400 + b"SUBJECT a"):
            self.assertEqual(program(chain), (text("a"),) * 401 + (Or(401),))
        mixed = b"OR OR SUBJECT a OR SUBJECT b SUBJECT c OR SUBJECT d SUBJECT e SUBJECT f"
        self.assertEqual(program(mixed), (*map(text, "abcde"), Or(5), text("f"), And(2)))

    def test_l4_nesting_is_bounded(self) -> None:
        deep = limits.IMAP_NESTING_MAX + 1
        for keys in (b"(" * deep + b"ALL" + b")" * deep, b"NOT " * deep + b"ALL", b"OR ALL NOT " * deep + b"ALL"):
            with self.assertRaises(LimitReached):
                search(keys)
        self.assertEqual(program(b"(" * (deep - 1) + b"ALL" + b")" * (deep - 1)), (steps.All(),))

    def test_l4_the_number_of_keys_is_bounded(self) -> None:
        search(b" ".join([b"ALL"] * limits.IMAP_SEARCH_KEYS_MAX))
        with self.assertRaises(LimitReached):
            search(b" ".join([b"ALL"] * (limits.IMAP_SEARCH_KEYS_MAX + 1)))


class Charsets(unittest.SynchronousTestCase):
    def test_c17_text_is_decoded_by_its_charset(self) -> None:
        for parts in (
            (b"CHARSET UTF-8 SUBJECT ", "Ärger".encode(), b""),
            (b'CHARSET "iso-8859-1" SUBJECT ', "Ärger".encode("latin-1"), b""),
            (b"CHARSET US-ASCII SUBJECT ", "Ärger".encode(), b""),
            (b"SUBJECT ", "ÄRGER".encode(), b""),
        ):
            self.assertEqual(program(*parts), (text("ärger"),))

    def test_an_unknown_charset_has_its_own_error(self) -> None:
        for name in (b"X-NONE", b"ROT13", b"unicode_escape", b"zlib"):
            with self.assertRaises(CharsetUnknown):
                search(b"CHARSET " + name + b" ALL")

    def test_text_not_in_the_charset_is_refused(self) -> None:
        with self.assertRaises(BadSyntax):
            search(b"CHARSET UTF-8 SUBJECT ", b"\xff", b"")


class NewKeys(unittest.SynchronousTestCase):
    """The keys of extensions."""

    def test_ages_ids_and_save_dates(self) -> None:
        self.assertEqual(program(b"OLDER 60"), (steps.Within(60, younger=False),))
        self.assertEqual(program(b"YOUNGER 3600"), (steps.Within(3600, younger=True),))
        self.assertEqual(program(b"EMAILID M12"), (steps.Id(steps.IdOf.EMAIL, 12),))
        self.assertEqual(program(b"THREADID T7"), (steps.Id(steps.IdOf.THREAD, 7),))
        self.assertEqual(program(b"EMAILID T7"), (steps.Id(steps.IdOf.EMAIL, None),))
        self.assertEqual(program(b"SAVEDATESUPPORTED"), (steps.All(),))
        for name, relation in ((b"BEFORE", steps.Relation.BEFORE), (b"ON", steps.Relation.ON)):
            self.assertEqual(
                program(b"SAVED" + name + b" 1-Feb-2026"),
                (steps.Dated(steps.DateOf.SAVED, relation, date(2026, 2, 1)),),
            )
        for wrong in (b"OLDER 0", b"OLDER -1", b"YOUNGER", b"EMAILID", b"SAVEDON"):
            with self.assertRaises(BadSyntax):
                search(wrong)

    def test_what_was_saved_stands_for_a_set(self) -> None:
        self.assertEqual(program(b"$"), (steps.Uids(SAVED),))
        self.assertEqual(program(b"UID $"), (steps.Uids(SAVED),))

    def test_fuzzy_is_for_the_key_that_follows(self) -> None:
        fuzzy = steps.Text(steps.Field.SUBJECT, "a b", fuzzy=True)
        self.assertEqual(program(b'FUZZY SUBJECT "a b"'), (fuzzy,))
        self.assertEqual(program(b'FUZZY SUBJECT "a b" SUBJECT c')[1].fuzzy, False)
        inner = program(b'FUZZY (SUBJECT "a b" NOT FROM x) TO y')
        self.assertEqual([getattr(step, "fuzzy", None) for step in inner], [True, True, None, None, False, None])
        self.assertEqual(
            steps.loosened(steps.Criteria((fuzzy,))).steps,
            (steps.Text(steps.Field.SUBJECT, "a"), steps.Text(steps.Field.SUBJECT, "b"), steps.And(2)),
        )
        self.assertEqual(steps.exact(steps.Criteria((fuzzy,))).steps, (steps.Text(steps.Field.SUBJECT, "a b"),))
        with self.assertRaises(BadSyntax):
            search(b"FUZZY")
        with self.assertRaises(LimitReached):
            search(b"FUZZY " * 40 + b"ALL")

    def test_ages_are_seen_from_a_moment(self) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
        seen = steps.timed(steps.Criteria((steps.Within(5, younger=True), steps.Within(2**62, younger=False))), now)
        self.assertEqual(seen.steps[0], steps.Arrived(datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC), later=True))
        self.assertLess(seen.steps[1].moment.year, 2)


class Returning(unittest.SynchronousTestCase):
    def test_result_options(self) -> None:
        self.assertIsNone(search(b"ALL").returns)
        self.assertEqual(search(b"RETURN () ALL").returns, sc.EVERYTHING)
        self.assertEqual(
            search(b"RETURN (MIN COUNT) CHARSET UTF-8 ALL", name=b"UID SEARCH").returns,
            sc.Returns(frozenset((sc.SearchReturn.MIN, sc.SearchReturn.COUNT))),
        )
        self.assertTrue(search(b"ALL", name=b"UID SEARCH").by_uid)
