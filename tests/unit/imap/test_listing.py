"""LIST, LSUB and XLIST answered from names."""

import time

from twisted.trial import unittest

from sora.imap import commands as c
from sora.imap.commands import ListKind, ListMailboxes, Return, Selection
from sora.imap.listing import Listed, Name, answer, matcher

NAMES = [
    Name("INBOX", subscribed=True),
    Name("Sent", "\\Sent", subscribed=True),
    Name("a"),
    Name("a/b"),
    Name("a/b/c", subscribed=True),
    Name("lost/child"),
]
SUBSCRIBED = ("INBOX", "Sent", "a/b/c", "gone/away")


def ask(*patterns: str, kind: ListKind = ListKind.LIST, **options: object) -> dict[str, Listed]:
    command = ListMailboxes(kind, "", patterns=patterns, **options)  # type: ignore[arg-type]
    return {listed.name: listed for listed in answer(command, NAMES, SUBSCRIBED)}


class Matching(unittest.SynchronousTestCase):
    def test_wildcards(self) -> None:
        for pattern, name, expected in (
            ("*", "a/b", True),
            ("%", "a", True),
            ("%", "a/b", False),
            ("a/%", "a/b", True),
            ("a/%", "a/b/c", False),
            ("a*c", "a/b/c", True),
            ("a%c", "a/c", False),
            ("%/%", "a/b", True),
            ("a", "a/b", False),
            ("a*", "a", True),
            ("%*", "a/b", True),
            ("*%", "a/b", True),
            ("", "", True),
            ("a%%b", "axxb", True),
        ):
            self.assertEqual(matcher(pattern)(name), expected, (pattern, name))

    def test_inbox_in_any_case(self) -> None:
        for pattern in ("inbox", "InBox", "in%", "*box", "i*", "%x"):
            self.assertTrue(matcher(pattern)("INBOX"), pattern)
        self.assertTrue(matcher("inbox/%")("INBOX/x"))
        self.assertFalse(matcher("inbox/X")("INBOX/x"))
        self.assertTrue(matcher("inbox*")("inboxes"))
        self.assertFalse(matcher("inbox*")("INBOXES"))
        self.assertFalse(matcher("sent")("SENT"))

    def test_l5_no_pattern_is_slow(self) -> None:
        started = time.process_time()
        for pattern in ("*%" * 512, "*a" * 512, "%a*" * 341, "*" * 1024):
            match = matcher(pattern)
            for _ in range(20):
                match("a" * 1000)
        self.assertLess(time.process_time() - started, 1.0)


class Listings(unittest.SynchronousTestCase):
    def test_list_shows_children_special_use_and_missing_parents(self) -> None:
        found = ask("%")
        self.assertEqual(list(found), ["INBOX", "Sent", "a", "lost"])
        self.assertEqual(found["INBOX"].attributes, ("\\HasNoChildren",))
        self.assertEqual(found["Sent"].attributes, ("\\HasNoChildren", "\\Sent"))
        self.assertEqual(found["a"].attributes, ("\\HasChildren",))
        self.assertEqual(found["lost"], Listed("lost", ("\\Noselect", "\\HasChildren"), matched=False))

    def test_an_empty_pattern_asks_for_the_separator(self) -> None:
        self.assertEqual(ask(""), {"": Listed("", ("\\Noselect",), matched=False)})

    def test_the_reference_goes_in_front(self) -> None:
        command = ListMailboxes(ListKind.LIST, "a/", patterns=("%",))
        self.assertEqual([listed.name for listed in answer(command, NAMES, ())], ["a/b"])

    def test_xlist_marks_the_inbox(self) -> None:
        found = ask("*", kind=ListKind.XLIST)
        self.assertIn("\\Inbox", found["INBOX"].attributes)
        self.assertIn("\\Sent", found["Sent"].attributes)

    def test_c19_lsub_shows_subscriptions_whether_or_not_they_exist(self) -> None:
        found = ask("*", kind=ListKind.LSUB)
        self.assertEqual(list(found), ["INBOX", "Sent", "a/b/c", "gone/away"])
        self.assertFalse(found["gone/away"].matched)

    def test_c19_lsub_shows_parents_of_subscriptions_for_percent(self) -> None:
        found = ask("%", kind=ListKind.LSUB)
        self.assertEqual(list(found), ["INBOX", "Sent", "a", "gone"])
        self.assertEqual(found["a"].attributes, ("\\Noselect", "\\HasChildren"))

    def test_several_patterns_give_each_name_once(self) -> None:
        self.assertEqual(list(ask("a*", "*b", "", extended=True)), ["a", "a/b", "a/b/c"])

    def test_selecting_subscribed(self) -> None:
        found = ask("*", selection=frozenset((Selection.SUBSCRIBED,)), extended=True)
        self.assertEqual(list(found), ["INBOX", "Sent", "a/b/c", "gone/away"])
        self.assertEqual(found["gone/away"].attributes, ("\\NonExistent", "\\HasNoChildren", "\\Subscribed"))

    def test_recursive_match_shows_parents_with_their_reason(self) -> None:
        options = frozenset((Selection.SUBSCRIBED, Selection.RECURSIVEMATCH))
        found = ask("%", selection=options, extended=True)
        self.assertEqual(list(found), ["INBOX", "Sent", "a", "gone"])
        self.assertEqual(found["a"].child_info, (b"SUBSCRIBED",))
        self.assertEqual(found["gone"].attributes, ("\\NonExistent", "\\HasNoChildren"))
        self.assertEqual(found["INBOX"].child_info, ())

    def test_selecting_special_use_and_returning_subscribed(self) -> None:
        found = ask(
            "*", selection=frozenset((Selection.SPECIAL_USE,)), returns=frozenset((Return.SUBSCRIBED,)), extended=True
        )
        self.assertEqual(found, {"Sent": Listed("Sent", ("\\HasNoChildren", "\\Subscribed", "\\Sent"))})

    def test_ten_thousand_names_are_listed_quickly(self) -> None:
        names = [Name(f"folder {n}/sub") for n in range(10_000)]
        started = time.process_time()
        answer(c.ListMailboxes(ListKind.LIST, "", patterns=("%",)), names, ())
        self.assertLess(time.process_time() - started, 0.5)
