"""Threads against the words of RFC 5256 3, with walks up the tree where the program has disjoint sets."""

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.imap import thread
from sora.imap.thread import Columns

IDS = st.integers(0, 9)
MAILS = st.lists(
    st.tuples(IDS, st.lists(st.integers(1, 9), max_size=5), st.integers(0, 4), st.integers(0, 3), st.booleans()),
    max_size=14,
)
"""Own id (0: none), references, sent date, subject (0: empty), whether it is a reply."""


def columns(mails: Sequence[tuple[int, list[int], int, int, bool]]) -> Columns:
    """Write mails as columns."""
    own, references, sent, subjects, replies = (
        (list(column) for column in zip(*mails, strict=True)) if mails else [[]] * 5
    )
    return Columns(own, references, sent, sent, subjects, replies)


def naive(own: Sequence[int], references: Sequence[Sequence[int]]) -> list[int | None]:
    """Link messages as step 1 says, one after the other."""
    nodes: dict[int, int] = {}
    for number, one in enumerate(own):
        if one:
            nodes.setdefault(one, number)
    parents: list[int | None] = [None] * len(own)

    def above(node: int | None, ancestor: int) -> bool:
        while node is not None and node != ancestor:
            node = parents[node]
        return node == ancestor

    for number, ids in enumerate(references):
        before = None
        for one in ids:
            if one not in nodes:
                nodes[one] = len(parents)
                parents.append(None)
            node = nodes[one]
            if before is not None and parents[node] is None and not above(before, node):
                parents[node] = before
            before = node
        parents[number] = None if parents[number] != before else before
        if before is not None and not above(before, number):
            parents[number] = before
    return parents


class ThreadTests(unittest.SynchronousTestCase):
    """All algorithms."""

    @given(MAILS)
    def test_links_are_those_of_the_rules(self, mails: list[tuple[int, list[int], int, int, bool]]) -> None:
        made = columns(mails)
        expected = [-1 if parent is None else parent for parent in naive(made.own, made.references)]
        self.assertEqual(thread._Links(made).parents, expected)

    @given(MAILS)
    def test_every_message_is_there_once_and_parentheses_match(
        self, mails: list[tuple[int, list[int], int, int, bool]]
    ) -> None:
        for make in (thread.references, thread.refs, thread.ordered_subject):
            text = thread.written(make(columns(mails)), range(1, len(mails) + 1)).decode()
            self.assertEqual(sorted(map(int, re.findall(r"\d+", text))), list(range(1, len(mails) + 1)), text)
            self.assertEqual(text.count("("), text.count(")"))
            self.assertNotIn("()", text)
            self.assertIsNone(re.search(r"\d\(|\) |\( ", text), text)

    @given(MAILS)
    def test_siblings_stand_by_their_dates(self, mails: list[tuple[int, list[int], int, int, bool]]) -> None:
        made = columns(mails)
        forest = thread.references(made)
        for siblings in forest.children.values():
            keys = [(made.sent[one], one) for one in siblings]
            self.assertEqual(keys, sorted(keys))
        keys = [(made.sent[one], one) for one in (self.first(forest, top) for top in forest.top)]
        self.assertEqual(keys, sorted(keys))

    @staticmethod
    def first(forest: thread.Forest, one: int) -> int:
        """Return the message that a dummy stands for."""
        return one if one < forest.count else forest.children[one][0]
