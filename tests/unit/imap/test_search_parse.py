"""What SEARCH, SORT, THREAD, ESEARCH and CANCELUPDATE say beside their keys."""

from twisted.trial import unittest

from sora.core.errors import CharsetUnknown, LimitReached
from sora.core.limits import IMAP_SORT_KEYS_MAX
from sora.core.ordering import SortKey
from sora.imap import framer
from sora.imap import search_commands as sc
from sora.imap.fetch_items import Range
from sora.imap.parse import parse
from sora.imap.search_commands import Algorithm, SearchReturn, Source
from sora.imap.tokens import BadSyntax


def read(name: bytes, *parts: bytes) -> object:
    """Parse a command."""
    return parse(framer.Command(b"a", name, parts))


class Options(unittest.SynchronousTestCase):
    """Result options."""

    def test_partial_comes_with_the_others_but_all(self) -> None:
        command = read(b"SEARCH", b"RETURN (COUNT PARTIAL 5:1 SAVE) ALL")
        assert isinstance(command, sc.Search)
        expected = sc.Returns(frozenset((SearchReturn.COUNT, SearchReturn.SAVE)), Range(1, 5, turned=True))
        self.assertEqual(command.returns, expected)
        for wrong in (
            b"PARTIAL 1:2 ALL",
            b"PARTIAL 1:2 PARTIAL 1:2",
            b"PARTIAL",
            b"PARTIAL 1",
            b"FROB",
            b"MIN" + b" MIN" * 20,
        ):
            with self.assertRaises((BadSyntax, LimitReached)):
                read(b"SEARCH", b"RETURN (" + wrong + b") ALL")

    def test_what_is_answered_no_is_carried_out_if_it_was_to_be_saved(self) -> None:
        for name, rest in ((b"SEARCH", b"CHARSET X "), (b"SORT", b"(DATE) X "), (b"ESEARCH", b"CHARSET X ")):
            command = read(name, b"RETURN (SAVE) " + rest + b"SUBJECT ", b"\xff", b" ALL")
            assert isinstance(command, sc.Search | sc.Sort | sc.MultiSearch)
            self.assertIsInstance(command.refusal, CharsetUnknown)
            with self.assertRaises(CharsetUnknown):
                read(name, rest + b"ALL")
        with self.assertRaises(BadSyntax):
            read(b"SEARCH", b"RETURN (SAVE) FROB")

    def test_scores_belong_to_fuzzy_searches(self) -> None:
        for name, rest in ((b"SEARCH", b"RETURN (RELEVANCY) ALL"), (b"SORT", b"(RELEVANCY) UTF-8 ALL")):
            with self.assertRaises(BadSyntax):
                read(name, rest)
        read(b"SORT", b"(RELEVANCY) UTF-8 FUZZY SUBJECT x")


class Sorting(unittest.SynchronousTestCase):
    """SORT and THREAD."""

    def test_keys(self) -> None:
        command = read(b"UID SORT", b"(reverse DATE Subject REVERSE displayfrom) utf-8 UNSEEN")
        assert isinstance(command, sc.Sort)
        keys = ((SortKey.DATE, True), (SortKey.SUBJECT, False), (SortKey.DISPLAYFROM, True))
        self.assertEqual((command.keys, command.by_uid, command.returns), (keys, True, None))

    def test_l4_the_number_of_sort_keys_is_bounded(self) -> None:
        keys = b" ".join([b"DATE"] * IMAP_SORT_KEYS_MAX)
        read(b"SORT", b"(" + keys + b") UTF-8 ALL")
        with self.assertRaises(LimitReached):
            read(b"SORT", b"(" + keys + b" DATE) UTF-8 ALL")

    def test_threads(self) -> None:
        command = read(b"THREAD", b"references US-ASCII ALL")
        assert isinstance(command, sc.Thread)
        self.assertEqual((command.algorithm, command.by_uid), (Algorithm.REFERENCES, False))


class Several(unittest.SynchronousTestCase):
    """ESEARCH and CANCELUPDATE."""

    def test_sources(self) -> None:
        command = read(b"ESEARCH", b'IN (inboxes subtree ("a" b/c) mailboxes d) ALL')
        assert isinstance(command, sc.MultiSearch)
        self.assertEqual(
            command.sources, ((Source.INBOXES, ()), (Source.SUBTREE, ("a", "b/c")), (Source.MAILBOXES, ("d",)))
        )
        self.assertEqual(command.returns, sc.EVERYTHING)
        command = read(b"ESEARCH", b"RETURN (MIN) ALL")
        assert isinstance(command, sc.MultiSearch)
        self.assertEqual(command.sources, ((Source.SELECTED, ()),))

    def test_l4_the_number_of_mailboxes_is_bounded(self) -> None:
        with self.assertRaises(LimitReached):
            read(b"ESEARCH", b"IN (mailboxes (" + b" ".join([b"a"] * 1_001) + b")) ALL")

    def test_tags(self) -> None:
        self.assertEqual(read(b"CANCELUPDATE", b'"a" "b"'), sc.CancelUpdate((b"a", b"b")))
        for wrong in (b"", b"a", b'"a"b'):
            with self.assertRaises(BadSyntax):
                read(b"CANCELUPDATE", wrong)
        with self.assertRaises(LimitReached):
            read(b"CANCELUPDATE", b" ".join([b'"a"'] * 1_001))
