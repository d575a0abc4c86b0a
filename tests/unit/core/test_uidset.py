"""Sets of numbers: runs, and how they are written, whole and in pieces."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core import uidset
from sora.postgres.statement import runs_of

NUMBERS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), max_size=8)
"""Where runs begin, and how long they are."""


def plainly(numbers: list[int]) -> list[tuple[int, int]]:
    """Join successors one by one."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


class RunsTests(unittest.SynchronousTestCase):
    @settings(deadline=None)
    @given(NUMBERS, st.integers(2, 20))
    def test_runs_are_those_of_each_number_by_itself_in_any_order(self, spans, block):
        self.patch(uidset, "_BLOCK", block)
        numbers = [first + step for first, count in spans for step in range(count)]
        for column in (numbers, tuple(numbers), array("I", numbers)):
            self.assertEqual(uidset.runs(column), plainly(numbers))

    @settings(deadline=None)
    @given(NUMBERS, st.integers(1, 30))
    def test_pieces_together_are_what_is_written_at_once(self, spans, piece):
        self.patch(uidset, "PIECE", piece)
        numbers = [first + step for first, count in spans for step in range(count)]
        self.assertEqual(",".join(filter(None, uidset.compacted(numbers))), uidset.compact(numbers))

    def test_sets_are_written_in_the_order_of_their_numbers(self):
        self.assertEqual(uidset.compact([5, 6, 7, 2, 9, 10]), "5:7,2,9:10")
        self.assertEqual(uidset.compact(range(3, 300)), "3:299")
        self.assertEqual(uidset.compact(()), "")
        self.assertEqual(list(uidset.compacted(())), [])

    @settings(deadline=None)
    @given(st.lists(st.integers(1, 40), max_size=60))
    def test_the_database_is_told_each_uid_once(self, uids):
        bounds = [int(word) for word in runs_of(uids)[1:-1].split(",") if word]
        told = [uid for low, high in zip(bounds[::2], bounds[1::2], strict=True) for uid in range(low, high + 1)]
        self.assertEqual(told, sorted(set(uids)))
