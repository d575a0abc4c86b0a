"""The only place that works out what left a mailbox since a client last saw it (QRESYNC, RFC 7162 3.2.5, 3.2.6).

A client names the UIDs that it knows, and perhaps some numbers with their UIDs. What it is told lies within them: the
departures that the store remembers, or all UIDs that are not there where the store does not remember far enough.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import attrs

from sora.core.uidset import UidSet, runs

Ranges = Sequence[tuple[int, int]]
"""(first, last), ascending and disjoint."""
RANGES_AT_ONCE: Final = 1_000
"""Ranges in one VANISHED answer: lines stay bearable for clients whatever has happened."""


@attrs.frozen
class Match:
    """Sequence match data (RFC 7162 3.2.5.2): numbers and the UIDs that the client believes to stand there, in runs."""

    runs: tuple[tuple[int, int, int], ...]
    """(first number, first UID, how many)"""

    def known_up_to(self, uids: Sequence[int]) -> int:
        """Return the highest UID that stands where the client believes, in the mailbox's UIDs; 0 if none does.

        The client knows of all that left below it: there are as many messages below as it believes.
        """
        best = 0
        for number, uid, count in self.runs:
            count = min(count, len(uids) - number + 1)
            if count < 1:
                break
            # UIDs ascend by one at least, so that the difference to those of the run never goes down.
            at = bisect_right(range(count), 0, key=lambda step: uids[number - 1 + step] - uid - step) - 1
            if at >= 0 and uids[number - 1 + at] == uid + at:
                best = uid + at
        return best


@attrs.frozen
class Resync:
    """The QRESYNC parameter of SELECT and EXAMINE."""

    uid_validity: int
    modseq: int
    known: UidSet | None = None
    match: Match | None = None


def vanished(
    known: Ranges,
    *,
    uids: Sequence[int],
    fresh: Sequence[int] = (),
    uid_next: int,
    departed: Sequence[int] | None,
    above: int = 0,
) -> list[tuple[int, int]]:
    """Return the UIDs within `known` that are gone, as ranges.

    `uids` are those that the client counts, ascending, and `fresh` those that are there; `departed` those that the
    store remembers to have left since, ascending, or None if it does not remember. Nothing up to `above` is named, nor
    what was never given to a message.
    """
    within = [(max(low, above + 1), min(high, uid_next - 1)) for low, high in known]
    within = [(low, high) for low, high in within if low <= high]
    if departed is None:
        gone = list(chain.from_iterable(_absent(low, high, uids) for low, high in within))
    else:
        gone = runs(list(_among(departed, within, uids)))
    # What has arrived but was not announced yet is not gone.
    return list(chain.from_iterable(_absent(low, high, fresh) for low, high in gone)) if fresh else gone


def _absent(low: int, high: int, uids: Sequence[int]) -> Iterator[tuple[int, int]]:
    at = bisect_left(uids, low)
    while at < len(uids) and uids[at] <= high:
        if low < uids[at]:
            yield low, uids[at] - 1
        low = uids[at] + 1
        at += 1
    if low <= high:
        yield low, high


def _among(departed: Sequence[int], within: Ranges, uids: Sequence[int]) -> Iterator[int]:
    for low, high in within:
        for index in range(bisect_left(departed, low), bisect_right(departed, high)):
            uid = departed[index]
            at = bisect_left(uids, uid)
            if at == len(uids) or uids[at] != uid:
                yield uid
