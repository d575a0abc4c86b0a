"""Sets of message numbers: parsed from the wire, bounded, and written back in shortest form.

RFC 3501 9 (`sequence-set`). `*` is resolved against a maximum that the caller supplies.
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from sora.core.ids import UID_MAX

STAR: Final = 0
"""How `*` is kept until it is resolved (0 is no message number)."""

PIECE: Final = 50_000
"""Numbers that are written in one turn of the reactor: some ten milliseconds, however they lie."""
_BLOCK_MIN: Final = 16
_BLOCK: Final = 1_024
"""Numbers that are compared at once."""
_ITEM = re.compile(rb"(\*|[1-9][0-9]{0,9})(?::(\*|[1-9][0-9]{0,9}))?\Z")


@attrs.frozen
class UidSet:
    """Ranges as the client wrote them, `STAR` standing for the largest number in use."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False
    """Whether this is `$`, what the last SEARCH saved (RFC 5182), which only the session can resolve."""

    def resolve(self, largest: int) -> list[tuple[int, int]]:
        """Return ascending, disjoint (first, last) pairs with `*` replaced by `largest`.

        `n:*` with n above `largest` means `largest:n`, so it always includes the last message
        (RFC 3501 6.4.8). With `largest` 0 (an empty mailbox) `*` stands for nothing.
        """
        pairs: list[tuple[int, int]] = []
        for first, last in self.ranges:
            low, high = (largest if n == STAR else n for n in (first, last))
            if low > high:
                low, high = high, low
            if high > 0:
                pairs.append((max(low, 1), high))
        pairs.sort()
        merged: list[tuple[int, int]] = []
        for low, high in pairs:
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return merged

    def __str__(self) -> str:
        if self.saved:
            return "$"

        def text(number: int) -> str:
            return "*" if number == STAR else str(number)

        return ",".join(text(a) if a == b else f"{text(a)}:{text(b)}" for a, b in self.ranges)


SAVED: Final = UidSet((), saved=True)
"""The set `$`."""


def parse(text: bytes, ranges_max: int) -> UidSet:
    """Parse a `sequence-set`; raises `ValueError` when malformed or of more than `ranges_max` ranges."""
    items = text.split(b",", ranges_max)
    if len(items) > ranges_max:
        raise ValueError(f"more than {ranges_max} ranges")
    ranges = []
    for item in items:
        match = _ITEM.match(item)
        if match is None:
            raise ValueError("malformed sequence set")
        first, last = match.group(1), match.group(2) or match.group(1)
        pair = tuple(STAR if n == b"*" else int(n) for n in (first, last))
        if max(pair) > UID_MAX:
            raise ValueError("number above 4294967295")
        ranges.append((pair[0], pair[1]))
    return UidSet(tuple(ranges))


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the runs of successors in the given order, as (first, last)."""
    found: list[tuple[int, int]] = []
    first, last = -1, -2
    for low, high in _blocks(numbers):
        if low != last + 1:
            if first >= 0:
                found.append((first, last))
            first = low
        last = high
    if first >= 0:
        found.append((first, last))
    return found


def _blocks(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield what runs are joined from: whole blocks of successors, which are the rule, and single numbers."""
    if len(numbers) < _BLOCK_MIN:
        yield from zip(numbers, numbers, strict=True)
        return
    for start in range(0, len(numbers), _BLOCK):
        block = array("Q", numbers[start : start + _BLOCK])
        low, high = block[0], block[-1]
        if high - low == len(block) - 1 and block == array("Q", range(low, high + 1)):
            yield low, high
        else:
            yield from zip(block, block, strict=True)


def compact(numbers: Sequence[int]) -> str:
    """Write numbers in the given order as a sequence set, runs of successors as `first:last`."""
    return _written(runs(numbers))


def _written(pairs: Iterable[tuple[int, int]]) -> str:
    return ",".join([str(low) if low == high else f"{low}:{high}" for low, high in pairs])


def compacted(numbers: Sequence[int]) -> Iterator[str]:
    """Write what `compact` does in pieces to be joined by commas, some empty; others may have their turn between."""
    rest: list[tuple[int, int]] = []
    for start in range(0, len(numbers), PIECE):
        found = runs(numbers[start : start + PIECE])
        if rest and rest[0][1] + 1 == found[0][0]:
            found[0] = rest[0][0], found[0][1]
        else:
            found = rest + found
        rest = [found.pop()]
        yield _written(found)
    if rest:
        yield _written(rest)
