"""The only place for the messages that a command names: pairs of number and UID that are made where they are used.

A command may name every message of a large mailbox. What is kept of them is where they stand in the column of
UIDs, which nobody changes; pairs are made a page at a time (cases.md L12).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import overload

Pair = tuple[int, int]
"""(sequence number, UID)"""


class Targets(Sequence[Pair]):
    """Messages as (sequence number, UID), ascending."""

    __slots__ = ("_ends", "_runs", "_uids")

    def __init__(self, uids: "array[int]", runs: Iterable[tuple[int, int]]) -> None:
        """Name the messages at indexes from the first to before the second of each pair, ascending and disjoint."""
        self._uids = uids
        self._runs = [(start, stop) for start, stop in runs if start < stop]
        self._ends = list(accumulate(stop - start for start, stop in self._runs))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Pair]:
        return chain.from_iterable(
            enumerate(self._uids[start:stop], start + 1) if stop - start > 1 else ((start + 1, self._uids[start]),)
            for start, stop in self._runs
        )

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Targets": ...
    def __getitem__(self, index: int | slice) -> "Pair | Targets":
        if isinstance(index, slice):
            first, last, _ = index.indices(len(self))
            return Targets(self._uids, self._within(first, last))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        ((at, _),) = self._within(index % len(self), index % len(self) + 1)
        return at + 1, self._uids[at]

    def _within(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Return the runs of the members from `first` to before `last`."""
        number = bisect_right(self._ends, first)
        while first < last and number < len(self._runs):
            start, stop = self._runs[number]
            start = stop - (self._ends[number] - first)
            taken = min(stop - start, last - first)
            yield start, start + taken
            first += taken
            number += 1

    @property
    def uids(self) -> "array[int]":
        """The UIDs, ascending, as a column (typecode `I`)."""
        found = array("I")
        for start, stop in self._runs:
            found += self._uids[start:stop]
        return found

    @property
    def runs(self) -> Sequence[tuple[int, int]]:
        """The indexes in the column of UIDs, from the first to before the second of each pair."""
        return self._runs


def by_number(uids: "array[int]", pairs: Iterable[tuple[int, int]]) -> Targets:
    """Name messages by ranges of sequence numbers, ascending and disjoint; what is beyond the last is left out."""
    return Targets(uids, ((low - 1, min(high, len(uids))) for low, high in pairs))


def by_uid(uids: "array[int]", pairs: Iterable[tuple[int, int]]) -> Targets:
    """Name messages by ranges of UIDs, ascending and disjoint."""
    return Targets(uids, ((bisect_left(uids, low), bisect_right(uids, high)) for low, high in pairs))
