"""The only place for message sequence numbers: what one client has been told of a mailbox, and what is new to it.

A `Version` is a mailbox at one moment, as packed columns that all sessions of the process share. A
`SessionView` is a version and the messages that the client still counts although they are gone: the
numbers change only when EXPUNGE is announced (RFC 3501 7.4.1), never in answer to FETCH, STORE or SEARCH
(RFC 3501 5.5), and until then what was known of the gone ones is answered (RFC 2180 4.1.2).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import Final

import attrs

from sora.core.flags import SEEN
from sora.core.uidset import UidSet, pick
from sora.imap import responses

HISTORY_MAX: Final = 256
"""Steps remembered between versions; a session further behind compares the columns instead."""
STEP_MAX: Final = 1_000
"""UIDs one remembered step may name; a larger one is found by comparing, so that history stays small."""

_Keywords = Mapping[int, tuple[str, ...]]


class Expunges(Enum):
    """Whether the command in progress lets the numbers of messages change."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


@attrs.frozen
class Step:
    """What made one version of the one before it."""

    serial: int
    vanished: Sequence[int]
    changed: Sequence[int]
    """UIDs that were there before and have other flags now."""
    modseq: int | None
    """The one change this was, or None if it may have been several."""


def _position(uids: "array[int]", uid: int) -> int:
    """Return the index of a UID, or -1."""
    index = bisect_left(uids, uid)
    return index if index < len(uids) and uids[index] == uid else -1


def _without(column: "array[int]", gone: Sequence[int]) -> "array[int]":
    """Copy a column without the given ascending indexes, run by run."""
    kept = array(column.typecode)
    for before, after in pairwise((-1, *gone, len(column))):
        kept += column[before + 1 : after]
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
        keywords: _Keywords,
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
        self._history: deque[Step] = deque(maxlen=HISTORY_MAX)

    def index(self, uid: int) -> int:
        """Return where a UID stands in the columns, or -1."""
        return _position(self.uids, uid)

    def apply(
        self,
        modseq: int,
        *,
        uids: Sequence[int],
        flags: Sequence[int],
        modseqs: Sequence[int],
        keywords: _Keywords,
        vanished: Iterable[int] = (),
    ) -> "Version":
        """Return the version after changes up to `modseq`: messages as they are now, and UIDs that are gone.

        What is known already changes nothing; returns this very version if nothing is new. Raises `ValueError`
        if a new UID is below a known one: UIDs are assigned ascending (RFC 3501 2.3.1.1).
        """
        last = self.uids[-1] if self.uids else 0
        changed: list[tuple[int, int]] = []
        """(index here, index there)"""
        arrived: list[int] = []
        for there, uid in enumerate(uids):
            here = self.index(uid) if uid <= last else -1
            if here >= 0:
                if modseqs[there] > self.modseqs[here]:
                    changed.append((here, there))
            elif uid > last:
                arrived.append(there)
            elif modseqs[there] > self.modseq:
                raise ValueError(f"UID {uid} appeared below {last}")
        gone = sorted({here for uid in vanished if (here := self.index(uid)) >= 0})
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
            new_uids, new_flags, new_modseqs = (_without(c, gone) for c in (new_uids, new_flags, new_modseqs))
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
        keywords: _Keywords,
    ) -> "Version":
        """Return the version after this one that has exactly these columns, read anew at `modseq`."""
        if modseq == self.modseq and uids == self.uids and modseqs == self.modseqs:
            return self
        return self._next(modseq, (uids, flags, modseqs, keywords), None, None)

    def steps_from(self, older: "Version") -> list[Step]:
        """Return what happened after `older`, an earlier version of the same mailbox."""
        if older is self:
            return []
        steps = [step for step in self._history if older.serial < step.serial <= self.serial]
        if len(steps) == self.serial - older.serial:
            return steps
        return [_compare(older, self)]

    def _reworded(self, keywords: _Keywords, touched: Sequence[int], lost: Sequence[int]) -> _Keywords:
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
        columns: "tuple[array[int], array[int], array[int], _Keywords]",
        changed: Sequence[int] | None,
        vanished: Sequence[int] | None,
    ) -> "Version":
        uids, flags, modseqs, keywords = columns
        version = Version(max(modseq, self.modseq), uids=uids, flags=flags, modseqs=modseqs, keywords=keywords)
        version.serial = self.serial + 1
        version._history = self._history
        if changed is None or vanished is None or len(changed) + len(vanished) > STEP_MAX:
            self._history.clear()
        else:
            one = modseq if modseq == self.modseq + 1 else None
            self._history.append(Step(version.serial, vanished, changed, one))
        return version


def _compare(old: Version, new: Version) -> Step:
    """Find what lies between two versions from their columns alone."""
    count = len(old.uids)
    vanished: list[int] = []
    if new.uids[:count] != old.uids:
        vanished = sorted(set(old.uids).difference(new.uids))
    elif new.modseqs[:count] == old.modseqs:
        return Step(new.serial, (), (), None)
    before = dict(zip(old.uids, old.modseqs, strict=True))
    changed = [uid for uid, m in zip(new.uids, new.modseqs, strict=True) if before.get(uid, m) != m]
    one = new.modseq if new.modseq == old.modseq + 1 else None
    return Step(new.serial, vanished, changed, one)


@attrs.frozen
class Known:
    """A session's messages as columns, ascending by UID; not to be changed."""

    uids: "array[int]"
    flags: "array[int]"
    modseqs: "array[int]"
    keywords: _Keywords
    recent_from: int


@attrs.define
class Announcement:
    """What to tell a client, in this order; false if there is nothing."""

    expunged: Sequence[int] = ()
    """Sequence numbers, highest first, so that each is right after those before it."""
    exists: int | None = None
    recent: int | None = None
    changed: Sequence[tuple[int, int]] = ()
    """(sequence number after the expunges, UID) of messages with other flags, ascending."""

    def __bool__(self) -> bool:
        return bool(self.expunged or self.changed) or self.exists is not None or self.recent is not None


_NOTHING: Final = Announcement()


class SessionView:
    """What one client has been told, by UID and by sequence number (from 1).

    Methods that take a UID raise `KeyError` if the client was not told of it.
    """

    __slots__ = ("_answered", "_gone", "_known", "_latest", "_recent_from", "_recent_told", "_uids")

    def __init__(self, version: Version, *, recent_from: int) -> None:
        """Begin with all of `version` told; UIDs from `recent_from` on are \\Recent here (RFC 3501 2.3.2)."""
        self._known = version
        """All up to here was told, or waits in `_gone`."""
        self._latest = version
        """Where flags are looked up: not older than `_known`."""
        self._uids = version.uids
        """The numbering; shared with `_known` unless something waits in `_gone`."""
        self._gone: dict[int, tuple[int, int, tuple[str, ...]]] = {}
        """Told, expunged, not announced: flags, modseq and keywords as last known."""
        self._answered: dict[int, int] = {}
        """UIDs whose flags at this modseq the client knows from its own STORE."""
        self._recent_from = recent_from
        self._recent_told = self.recent

    # ------------------------------------------------------------ numbers

    @property
    def count(self) -> int:
        """How many messages the client counts."""
        return len(self._uids)

    @property
    def uids(self) -> "array[int]":
        """The UIDs in the order of their numbers; not to be changed."""
        return self._uids

    @property
    def last_uid(self) -> int:
        """The largest UID told of: what `*` means in a UID set; 0 if there is none."""
        return self._uids[-1] if self._uids else 0

    @property
    def recent_from(self) -> int:
        """UIDs from here on are \\Recent in this session."""
        return self._recent_from

    @property
    def recent(self) -> int:
        """How many of the messages told of are \\Recent."""
        return len(self._uids) - bisect_left(self._uids, self._recent_from)

    def number(self, uid: int) -> int:
        """Return the sequence number of a UID."""
        index = _position(self._uids, uid)
        if index < 0:
            raise KeyError(uid)
        return index + 1

    def has(self, uid: int) -> bool:
        """Tell whether the client was told of a UID."""
        return _position(self._uids, uid) >= 0

    def uid_at(self, number: int) -> int:
        """Return the UID of a sequence number. Raises `KeyError`."""
        if not 0 < number <= len(self._uids):
            raise KeyError(number)
        return self._uids[number - 1]

    def resolve(self, numbers: UidSet, *, by_uid: bool) -> list[tuple[int, int]]:
        """Return (sequence number, UID) of each message in the set, ascending; others are left out.

        `*` is the last message told of (RFC 3501 9, seq-number).
        """
        uids = self._uids
        if by_uid:
            return [(index + 1, uid) for index, uid in pick(uids, numbers.resolve(self.last_uid))]
        pairs: list[tuple[int, int]] = []
        for low, high in numbers.resolve(len(uids)):
            pairs.extend(enumerate(uids[low - 1 : high], low))
        return pairs

    def first_unseen(self) -> int | None:
        """Return the number of the first message that is not \\Seen (RFC 3501 6.3.1)."""
        if not self._gone:
            flags = self._known.flags
            return next((number for number, bits in enumerate(flags, 1) if not bits & SEEN), None)
        return next((number for number, uid in enumerate(self._uids, 1) if not self.flags(uid) & SEEN), None)

    # ------------------------------------------------------------ what is known of a message

    def _facts(self, uid: int) -> tuple[int, int, tuple[str, ...]]:
        for version in (self._latest, self._known):
            index = version.index(uid)
            if index >= 0:
                return version.flags[index], version.modseqs[index], version.keywords.get(uid, ())
        return self._gone[uid]

    def flags(self, uid: int) -> int:
        """Return a message's system flags as bits."""
        return self._facts(uid)[0]

    def modseq(self, uid: int) -> int:
        """Return a message's modification sequence (RFC 7162)."""
        return self._facts(uid)[1]

    def keywords(self, uid: int) -> tuple[str, ...]:
        """Return a message's keywords."""
        return self._facts(uid)[2]

    def is_recent(self, uid: int) -> bool:
        """Tell whether a message is \\Recent in this session."""
        return uid >= self._recent_from

    def flag_text(self, uid: int) -> bytes:
        """Return all flags as they stand inside the parentheses of FLAGS."""
        bits, _, keywords = self._facts(uid)
        return responses.flag_text(bits, keywords, recent=uid >= self._recent_from)

    def columns(self, version: Version) -> Known:
        """Return all that is known of the messages told of, flags as of `version` (not older than the view)."""
        uids = self._uids
        if uids is version.uids or uids == version.uids:
            return Known(uids, version.flags, version.modseqs, version.keywords, self._recent_from)
        self._latest = version
        flags, modseqs, keywords = array("B"), array("Q"), {}
        for uid in uids:
            bits, modseq, words = self._facts(uid)
            flags.append(bits)
            modseqs.append(modseq)
            if words:
                keywords[uid] = words
        return Known(uids, flags, modseqs, keywords, self._recent_from)

    # ------------------------------------------------------------ news

    def stored(
        self, *, uids: Sequence[int], modseqs: Sequence[int], version: Version, silent: bool
    ) -> list[tuple[int, int]]:
        """Note what the client's own STORE did, and return (number, UID) of those whose flags to answer.

        `uids` and `modseqs` are the store's answer; `version` has it. Of a silent STORE only those are
        answered that somebody else may have changed too since the client was last told (RFC 3501 6.4.6).
        """
        self._latest = version
        ours = dict(zip(uids, modseqs, strict=True))
        touched: set[int] = set()
        for step in version.steps_from(self._known):
            for uid in step.changed:
                if step.modseq is None or ours.get(uid) != step.modseq:
                    touched.add(uid)
        answered = []
        for uid, modseq in sorted(ours.items()):
            index = _position(self._uids, uid)
            if index < 0:
                continue
            self._answered[uid] = modseq
            if not silent or uid in touched:
                answered.append((index + 1, uid))
        return answered

    def update(self, version: Version, expunges: Expunges) -> Announcement:
        """Advance to `version` and return what to tell of it; what was told is not told again.

        With expunges forbidden the gone messages keep their numbers until they may be announced; arrivals
        and flags are announced in any case. Who came and went in between is never mentioned.
        """
        if version is self._known and not self._gone:
            self._answered.clear()
            return _NOTHING
        before = self._known.uids
        changed = self._advance(version)
        expunged: list[int] = []
        if self._gone and expunges is Expunges.ALLOWED:
            expunged = sorted((self.number(uid) for uid in self._gone), reverse=True)
            self._gone.clear()
        told = len(self._uids) - len(expunged)
        uids = version.uids
        if self._gone:
            # Whoever is gone was told of, so only arrivals can be missing, and they are at the end.
            uids = self._uids
            if version.uids is not before:
                uids = uids + version.uids[bisect_right(version.uids, self.last_uid) :]
        self._uids = uids
        exists = len(uids) if len(uids) > told else None
        recent = self.recent
        news = Announcement(expunged, exists)
        if recent != self._recent_told:
            news.recent = self._recent_told = recent
        news.changed = [(self.number(uid), uid) for uid in sorted(changed)]
        return news

    def _advance(self, version: Version) -> set[int]:
        """Go to `version`; gone messages go to `_gone`. Returns UIDs whose new flags the client does not know."""
        changed: set[int] = set()
        old = self._known
        for step in version.steps_from(old):
            for uid in step.vanished:
                if _position(self._uids, uid) >= 0 and uid not in self._gone:
                    self._gone[uid] = self._facts(uid)
            changed.update(uid for uid in step.changed if _position(self._uids, uid) >= 0)
        self._known = self._latest = version
        changed.difference_update(self._gone)
        changed = {uid for uid in changed if self._answered.get(uid) != self.modseq(uid)}
        self._answered.clear()
        return changed
