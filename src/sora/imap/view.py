"""The only place for message sequence numbers: what one client has been told of a mailbox, and what is new to it.

A `SessionView` is a `Version` of the mailbox and the messages that the client still counts although they are
gone: the numbers change only when EXPUNGE is announced (RFC 3501 7.4.1), never in answer to FETCH, STORE or
SEARCH (RFC 3501 5.5), and until then what was known of the gone ones is answered (RFC 2180 4.1.2).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import compress
from typing import Final

import attrs

from sora.core.flags import SEEN, Change
from sora.core.uidset import UidSet, runs
from sora.imap import responses, targets
from sora.imap.targets import Targets
from sora.imap.version import Keywords, Version, position, together, where


class Expunges(Enum):
    """Whether the command in progress lets the numbers of messages change."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"


@attrs.frozen
class Known:
    """A session's messages as columns, ascending by UID; not to be changed."""

    uids: "array[int]"
    flags: "array[int]"
    modseqs: "array[int]"
    keywords: Keywords
    recent_from: int


@attrs.define
class Announcement:
    """What to tell a client, in this order; false if there is nothing."""

    expunged: Sequence[int] = ()
    """Sequence numbers, highest first, so that each is right after those before it."""
    vanished: Sequence[int] = ()
    """The UIDs of the same messages, ascending, for VANISHED instead of EXPUNGE (RFC 7162 3.2.10)."""
    exists: int | None = None
    recent: int | None = None
    changed: Sequence[tuple[int, int]] = ()
    """(sequence number after the expunges, UID) of messages with other flags, ascending."""

    def __bool__(self) -> bool:
        return bool(self.expunged or self.changed) or self.exists is not None or self.recent is not None


_NOTHING: Final = Announcement()
_MANY: Final = 8
"""From one in so many messages on it is cheaper to make a table of all than to look for each."""
_TEXTS: Final = [responses.flag_text(bits) for bits in range(256)]
_RECENT_TEXTS: Final = [responses.flag_text(bits, recent=True) for bits in range(256)]
_UNSEEN: Final = bytes(0 if bits & SEEN else 1 for bits in range(256))


def _comparable(bits: int, modseq: int, keywords: Iterable[str]) -> tuple[int, frozenset[str]]:
    return bits, frozenset(word.lower() for word in keywords)


@attrs.frozen
class OwnStore:
    """A STORE as its client sees it: what it asked for, and the modseqs that the messages have now."""

    uids: Sequence[int]
    modseqs: Sequence[int]
    change: Change
    bits: int
    keywords: tuple[str, ...] = ()

    def plain(self, *versions: Version) -> bool:
        """Tell whether no keyword has a part in it."""
        return not self.keywords and not any(version.keywords for version in versions)

    @property
    def masks(self) -> tuple[int, int]:
        """The system flags that it keeps, and those that it adds."""
        match self.change:
            case Change.REPLACE:
                return 0, self.bits
            case Change.ADD:
                return -1, self.bits
            case Change.REMOVE:
                return ~self.bits, 0

    def effect(self, bits: int, modseq: int, keywords: Iterable[str]) -> tuple[int, frozenset[str]]:
        """Return what it makes of flags if nobody else changes them; keywords lower-cased."""
        named = frozenset(word.lower() for word in self.keywords)
        before = frozenset(word.lower() for word in keywords)
        match self.change:
            case Change.REPLACE:
                return self.bits, named
            case Change.ADD:
                return bits | self.bits, before | named
            case Change.REMOVE:
                return bits & ~self.bits, before - named


_FORGOTTEN: Final = (0, 0, ())
_WRITTEN_OUT: Final = 10_000
"""From so many messages on pairs are not kept."""
_NEVER: Final = 1 << 32
"""Above every UID."""


class SessionView:
    """What one client has been told, by UID and by sequence number (from 1).

    Methods that take a UID raise `KeyError` if the client was not told of it.
    """

    __slots__ = (
        "_answered",
        "_gone",
        "_known",
        "_latest",
        "_recent_from",
        "_recent_told",
        "_settled",
        "_uids",
        "saved",
    )

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
        self._settled = version.modseq
        self._answered: dict[int, int] = {}
        """UIDs whose flags at this modseq the client knows from its own STORE."""
        self._recent_from = recent_from
        self._recent_told = self.recent
        self.saved: Sequence[int] = ()
        """What `$` stands for, ascending UIDs (RFC 5182); those expunged meanwhile are not left out."""

    def forget_recent(self) -> None:
        """Call nothing \\Recent from now on: the client speaks IMAP4rev2 (RFC 9051 E)."""
        self._recent_from = _NEVER
        self._recent_told = 0

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

    @property
    def waiting(self) -> bool:
        """Whether messages are gone that the client must still count."""
        return bool(self._gone)

    @property
    def settled(self) -> int:
        """The modseq up to which the client has been told everything, expunges too (RFC 7162 3.2)."""
        return self._settled

    def number(self, uid: int) -> int:
        """Return the sequence number of a UID."""
        index = position(self._uids, uid)
        if index < 0:
            raise KeyError(uid)
        return index + 1

    def has(self, uid: int) -> bool:
        """Tell whether the client was told of a UID."""
        return position(self._uids, uid) >= 0

    def uid_at(self, number: int) -> int:
        """Return the UID of a sequence number. Raises `KeyError`."""
        if not 0 < number <= len(self._uids):
            raise KeyError(number)
        return self._uids[number - 1]

    def resolve(self, numbers: UidSet, *, by_uid: bool) -> Targets:
        """Return the messages in the set, as (sequence number, UID), ascending; others are left out.

        `*` is the last message told of (RFC 3501 9, seq-number).
        """
        if numbers.saved:
            at = [number - 1 for number in self.numbers(self.told(self.saved))]
            return Targets(self._uids, ((low, high + 1) for low, high in runs(at)))
        if by_uid:
            return targets.by_uid(self._uids, numbers.resolve(self.last_uid))
        return targets.by_number(self._uids, numbers.resolve(len(self._uids)))

    def changed_since(self, among: Targets, modseq: int) -> Targets:
        """Return those of the messages whose modseq is greater (RFC 7162 3.1.4.1)."""
        latest = self._latest
        if self._uids is not latest.uids:
            at = [number - 1 for number, uid in among if self.modseq(uid) > modseq]
            return Targets(self._uids, ((index, index + 1) for index in at))
        if latest.modseq <= modseq:
            return Targets(self._uids, ())
        found: list[tuple[int, int]] = []
        for start, stop in among.runs:
            newer = array("I", compress(range(start, stop), map(modseq.__lt__, latest.modseqs[start:stop])))
            found += [(low, high + 1) for low, high in runs(newer)]
        return Targets(self._uids, found)

    def numbers(self, uids: Sequence[int]) -> list[int]:
        """Return the sequence numbers of UIDs, all of which the client was told of."""
        known = self._uids
        if (found := together(known, uids)) is not None:
            return list(range(found.start + 1, found.stop + 1))
        if not uids or len(uids) * _MANY < len(known):
            return [bisect_left(known, uid) + 1 for uid in uids]
        low, high = bisect_left(known, min(uids)), bisect_right(known, max(uids))
        places = dict(zip(known[low:high], range(low + 1, high + 1), strict=True))
        return [places[uid] for uid in uids]

    def told(self, uids: Sequence[int]) -> list[int]:
        """Return those of the UIDs that the client was told of, in their order."""
        if together(self._uids, uids) is not None:
            return list(uids)
        if len(uids) * _MANY < len(self._uids):
            return [uid for uid in uids if self.has(uid)]
        known = set(self._uids)
        return [uid for uid in uids if uid in known]

    def first_unseen(self) -> int | None:
        """Return the number of the first message that is not \\Seen (RFC 3501 6.3.1)."""
        if not self._gone:
            return (self._known.flags.tobytes().translate(_UNSEEN).find(b"\1") + 1) or None
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

    def flag_texts(self, pairs: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return `flag_text` of each (sequence number, UID)."""
        latest, first = self._latest, self._recent_from
        if self._uids is not latest.uids:
            return [self.flag_text(uid) for _, uid in pairs]
        # In step with the version the number says where a message stands in the columns.
        flags, keywords = latest.flags, latest.keywords
        if keywords:
            text, none = responses.flag_text, ()
            return [text(flags[n - 1], keywords.get(uid, none), recent=uid >= first) for n, uid in pairs]
        if self.last_uid < first:
            return [_TEXTS[flags[number - 1]] for number, _ in pairs]
        return [(_RECENT_TEXTS if uid >= first else _TEXTS)[flags[number - 1]] for number, uid in pairs]

    def modseqs(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """Return `modseq` of each (sequence number, UID)."""
        latest = self._latest
        if self._uids is not latest.uids:
            return [self.modseq(uid) for _, uid in pairs]
        modseqs = latest.modseqs
        return [modseqs[number - 1] for number, _ in pairs]

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

    def stored(self, own: "OwnStore", *, version: Version, silent: bool) -> list[tuple[int, int]]:
        """Note what the client's own STORE did, and return (number, UID) of those whose flags to answer.

        `version` has the change. Of a silent STORE only those are answered whose flags are not what the
        client must believe them to be: others have changed them too (RFC 3501 6.4.6).
        """
        self._latest = version
        if silent and self._uids is version.uids is self._known.uids and own.plain(self._known, version):
            return self._stored_in_step(own, version)
        answered = []
        for uid, modseq in sorted(zip(own.uids, own.modseqs, strict=True)):
            index = position(self._uids, uid)
            if index < 0:
                continue
            if not silent or own.effect(*self._believed(uid)) != _comparable(*self._facts(uid)):
                answered.append((index + 1, uid))
            self._answered[uid] = modseq
        return answered

    def _stored_in_step(self, own: "OwnStore", version: Version) -> list[tuple[int, int]]:
        """Do what `stored` does, silently, with the numbers for indexes and the flags for all that is known."""
        uids, told, now = self._uids, self._known.flags, version.flags
        kept, added = own.masks
        answered: list[tuple[int, int]] = []
        if (places := together(uids, own.uids)) is not None:
            here = slice(places.start, places.stop)
            believed = bytes([bits & kept & 255 | added for bits in range(256)])
            if told[here].tobytes().translate(believed) == now[here].tobytes():
                self._answered.update(zip(own.uids, own.modseqs, strict=True))
                return answered
        for uid, modseq in sorted(zip(own.uids, own.modseqs, strict=True)):
            index = position(uids, uid)
            if index >= 0:
                if told[index] & kept | added != now[index]:
                    answered.append((index + 1, uid))
                self._answered[uid] = modseq
        return answered

    def _believed(self, uid: int) -> tuple[int, int, tuple[str, ...]]:
        """Return the flags that the client was last told, with the modseq of then."""
        index = self._known.index(uid)
        if index < 0:
            return self._gone[uid]
        return self._known.flags[index], self._known.modseqs[index], self._known.keywords.get(uid, ())

    def update(self, version: Version, expunges: Expunges) -> Announcement:
        """Advance to `version` and return what to tell of it; what was told is not told again.

        With expunges forbidden the gone messages keep their numbers until they may be announced; arrivals
        and flags are announced in any case. Who came and went in between is never mentioned.
        """
        if version is self._known and not self._gone:
            self._answered.clear()
            return _NOTHING
        before = self._known.uids
        changed = self._advance(version, keep=expunges is Expunges.FORBIDDEN)
        expunged: list[int] = []
        vanished: list[int] = []
        if expunges is Expunges.ALLOWED and self._gone:
            vanished = sorted(self._gone)
            expunged = self.numbers(vanished)[::-1]
            self._gone.clear()
        if not self._gone:
            self._settled = version.modseq
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
        news = Announcement(expunged, vanished, exists)
        if recent != self._recent_told:
            news.recent = self._recent_told = recent
        news.changed = self._numbered(changed)
        return news

    def _numbered(self, uids: set[int]) -> Sequence[tuple[int, int]]:
        """Return (number, UID) of messages told of, ascending; of very many they are made where they are used."""
        if len(uids) < _WRITTEN_OUT:
            return [(self.number(uid), uid) for uid in sorted(uids)]
        places = array("I", compress(range(len(self._uids)), map(uids.__contains__, self._uids)))
        return Targets(self._uids, ((low, high + 1) for low, high in runs(places)))

    def _advance(self, version: Version, *, keep: bool) -> set[int]:
        """Go to `version`; gone messages go to `_gone`. Returns UIDs whose new flags the client does not know.

        `keep`: what was known of the gone ones will be asked for until they are announced.
        """
        changed: set[int] = set()
        old = self._known
        for step in version.steps_from(old):
            for uid, at in zip(step.vanished, where(self._uids, step.vanished), strict=True):
                if at >= 0 and uid not in self._gone:
                    self._gone[uid] = self._facts(uid) if keep else _FORGOTTEN
            places = where(self._uids, step.changed)
            changed.update([uid for uid, at in zip(step.changed, places, strict=True) if at >= 0])
        self._known = self._latest = version
        if changed and self._gone:
            changed.difference_update(self._gone)
        if self._answered and changed:
            answered, modseqs, ordered = self._answered, version.modseqs, sorted(changed)
            places = where(version.uids, ordered)
            changed = {uid for uid, at in zip(ordered, places, strict=True) if answered.get(uid) != modseqs[at]}
        self._answered.clear()
        return changed
