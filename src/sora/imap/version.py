"""The only place for a mailbox's messages at one moment: packed columns that all sessions of a process share.

Making the next version copies whole columns and touches only the messages that changed: it costs little for
a hundred thousand messages, and whoever still needs the older version simply keeps it.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, takewhile
from operator import ne
from typing import Final

import attrs

from sora.core.uidset import runs

HISTORY_MAX: Final = 256
"""Steps remembered between versions; a session further behind compares the columns instead."""
HISTORY_UIDS_MAX: Final = 20_000
"""UIDs that all remembered steps together may name, so that history stays small."""

_MANY: Final = 16
"""From so many UIDs on it is tried whether they stand together."""

Keywords = Mapping[int, tuple[str, ...]]
"""Of each UID that has keywords."""


@attrs.frozen
class Step:
    """What made one version of the one before it."""

    serial: int
    vanished: Sequence[int]
    changed: Sequence[int]
    """UIDs that were there before and have other flags now."""
    modseq: int | None
    """The one change this was, or None if it may have been several."""

    @property
    def size(self) -> int:
        """How many UIDs it names."""
        return len(self.vanished) + len(self.changed)


class History:
    """The steps that led to the newest version, the last ones only."""

    __slots__ = ("_steps", "_uids")

    def __init__(self) -> None:
        self._steps: deque[Step] = deque()
        self._uids = 0

    def forget(self) -> None:
        """Remember nothing: what lies before is found by comparing."""
        self._steps.clear()
        self._uids = 0

    def add(self, step: Step) -> None:
        """Remember a step, and forget the oldest ones for it."""
        self._steps.append(step)
        self._uids += step.size
        while self._uids > HISTORY_UIDS_MAX or len(self._steps) > HISTORY_MAX:
            self._uids -= self._steps.popleft().size

    def after(self, serial: int) -> list[Step]:
        """Return the steps remembered after a version, the last one first."""
        # From the end: who asks is hardly ever more than a step or two behind.
        return list(takewhile(lambda step: step.serial > serial, reversed(self._steps)))


def position(uids: "array[int]", uid: int) -> int:
    """Return the index of a UID in an ascending column, or -1."""
    index = bisect_left(uids, uid)
    return index if index < len(uids) and uids[index] == uid else -1


def together(uids: "array[int]", wanted: Sequence[int]) -> range | None:
    """Return the indexes of UIDs that stand next to each other in a column, in this order; None if they do not.

    Commands over many messages mostly name neighbours, and one comparison is much less than looking for each.
    """
    if len(wanted) < _MANY:
        return None
    first = bisect_left(uids, wanted[0])
    there = uids[first : first + len(wanted)]
    same = there == (wanted if isinstance(wanted, array) else array("I", wanted))
    return range(first, first + len(wanted)) if same else None


def where(uids: "array[int]", wanted: Sequence[int]) -> Sequence[int]:
    """Return the indexes of UIDs in an ascending column, -1 for each that is not there."""
    found = together(uids, wanted)
    return [position(uids, uid) for uid in wanted] if found is None else found


def _without(column: "array[int]", gone: Iterable[tuple[int, int]]) -> "array[int]":
    """Copy a column without the given runs of indexes, ascending."""
    kept = array(column.typecode)
    at = 0
    for first, last in gone:
        kept += column[at:first]
        at = last + 1
    kept += column[at:]
    return kept


class Version:
    """A mailbox's messages at `modseq`, ascending by UID. Nobody changes one after it is made."""

    __slots__ = ("_history", "flags", "keywords", "modseq", "modseqs", "serial", "uids")

    def __init__(
        self,
        modseq: int,
        *,
        uids: "array[int]",
        flags: "array[int]",
        modseqs: "array[int]",
        keywords: Keywords,
    ) -> None:
        self.modseq = modseq
        self.uids = uids
        """typecode `I`"""
        self.flags = flags
        """typecode `B`: bits of `core.flags`"""
        self.modseqs = modseqs
        """typecode `Q`"""
        self.keywords = keywords
        self.serial = 0
        self._history = History()

    def index(self, uid: int) -> int:
        """Return where a UID stands in the columns, or -1."""
        return position(self.uids, uid)

    def flagged(self, bit: int) -> "array[int]":
        """Return the UIDs of the messages that have a flag."""
        having = bytes(bits & bit and 1 for bits in range(256))
        return array("I", compress(self.uids, self.flags.tobytes().translate(having)))

    def apply(
        self,
        modseq: int,
        *,
        uids: Sequence[int],
        flags: Sequence[int],
        modseqs: Sequence[int],
        keywords: Keywords,
        vanished: Sequence[int] = (),
    ) -> "Version":
        """Return the version after changes up to `modseq`: messages as they are now, and UIDs that are gone.

        What is known already changes nothing; returns this very version if nothing is new. Raises `ValueError`
        if a new UID is below a known one: UIDs are assigned ascending (RFC 3501 2.3.1.1).
        """
        last = self.uids[-1] if self.uids else 0
        changed: list[tuple[int, int]] = []
        """(index here, index there)"""
        arrived: list[int] = []
        known = self.modseqs
        for there, here in enumerate(where(self.uids, uids)):
            modseq_there = modseqs[there]
            if here >= 0:
                if modseq_there > known[here] or (
                    modseq_there == known[here] and self._differs(here, flags[there], keywords.get(uids[there], ()))
                ):
                    changed.append((here, there))
            elif uids[there] > last:
                arrived.append(there)
            elif modseq_there > self.modseq:
                raise ValueError(f"UID {uids[there]} appeared below {last}")
        gone = sorted({here for here in where(self.uids, vanished) if here >= 0})
        if modseq <= self.modseq and not (changed or arrived or gone):
            return self
        if not (changed or arrived or gone):
            return self._next(modseq, (self.uids, self.flags, self.modseqs, self.keywords), (), ())
        new_flags, new_modseqs = self.flags, self.modseqs
        if changed or arrived:
            new_flags, new_modseqs = self.flags[:], self.modseqs[:]
        for here, there in changed:
            new_flags[here] = flags[there]
            new_modseqs[here] = modseqs[there]
        new_uids = self.uids
        if arrived:
            new_uids = self.uids[:]
            new_uids.extend(uids[there] for there in arrived)
            new_flags.extend(flags[there] for there in arrived)
            new_modseqs.extend(modseqs[there] for there in arrived)
        if gone:
            left = runs(gone)
            new_uids, new_flags, new_modseqs = (_without(c, left) for c in (new_uids, new_flags, new_modseqs))
        touched = [uids[there] for _, there in changed]
        lost = [self.uids[here] for here in gone]
        words = self._reworded(keywords, [*touched, *(uids[there] for there in arrived)], lost)
        return self._next(modseq, (new_uids, new_flags, new_modseqs, words), touched, lost)

    def replace(
        self,
        modseq: int,
        *,
        uids: "array[int]",
        flags: "array[int]",
        modseqs: "array[int]",
        keywords: Keywords,
    ) -> "Version":
        """Return the version after this one that has exactly these columns, read anew at `modseq`."""
        if modseq == self.modseq and uids == self.uids and modseqs == self.modseqs:
            return self
        return self._next(modseq, (uids, flags, modseqs, keywords), None, None)

    def steps_from(self, older: "Version") -> list[Step]:
        """Return what happened after `older`, an earlier version of the same mailbox."""
        if older is self:
            return []
        steps = [step for step in reversed(self._history.after(older.serial)) if step.serial <= self.serial]
        if len(steps) == self.serial - older.serial:
            return steps
        return [_compare(older, self)]

    def _differs(self, here: int, flags: int, keywords: tuple[str, ...]) -> bool:
        """Tell whether this is news: another change of the same transaction, which has the same modseq."""
        return flags != self.flags[here] or keywords != self.keywords.get(self.uids[here], ())

    def _reworded(self, keywords: Keywords, touched: Sequence[int], lost: Sequence[int]) -> Keywords:
        if not keywords and not self.keywords:
            return self.keywords
        words = dict(self.keywords)
        for uid in touched:
            if uid in keywords:
                words[uid] = keywords[uid]
            else:
                words.pop(uid, None)
        for uid in lost:
            words.pop(uid, None)
        return words

    def _next(
        self,
        modseq: int,
        columns: "tuple[array[int], array[int], array[int], Keywords]",
        changed: Sequence[int] | None,
        vanished: Sequence[int] | None,
    ) -> "Version":
        uids, flags, modseqs, keywords = columns
        version = Version(max(modseq, self.modseq), uids=uids, flags=flags, modseqs=modseqs, keywords=keywords)
        version.serial = self.serial + 1
        version._history = self._history
        if changed is None or vanished is None:
            self._history.forget()
        else:
            one = modseq if modseq == self.modseq + 1 else None
            self._history.add(Step(version.serial, vanished, changed, one))
        return version


def _compare(old: Version, new: Version) -> Step:
    """Find what lies between two versions from their columns alone."""
    count = len(old.uids)
    vanished: list[int] = []
    uids, modseqs = old.uids, old.modseqs
    if new.uids[:count] != uids:
        vanished = sorted(set(uids).difference(new.uids))
        gone = runs(where(uids, vanished))
        uids, modseqs = _without(uids, gone), _without(modseqs, gone)
    elif new.modseqs[:count] == modseqs:
        return Step(new.serial, (), (), None)
    # What is left of the old stands at the beginning of the new: UIDs ascend, and so do arrivals.
    changed = array("I", compress(uids, map(ne, modseqs, new.modseqs)))
    one = new.modseq if new.modseq == old.modseq + 1 else None
    return Step(new.serial, vanished, changed, one)
