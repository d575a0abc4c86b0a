"""The only place that keeps columns of mailboxes for searching: header fields, dates and sizes, which never change.

A mailbox that is searched by the same field again has it in memory from then on, up to a bound, so that the next
search is a pass over one string. What arrives is added; what is gone is left out of the answer.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, compress
from sys import getsizeof
from typing import Final

import attrs

from sora.core import criteria as keys
from sora.core.ids import MailboxId
from sora.store.columns import NEVER, PARTLY, PRESENT, UNSURE, Fields, Name, Number, Numbers
from sora.store.interfaces import Messages
from sora.store.model import TRACE_FIELDS

KEPT_OCTETS: Final = 64 * 1_048_576
"""Octets of all columns of a process."""
KEPT_MESSAGES: Final = 50_000
"""Messages of a mailbox whose columns are kept; larger ones are searched by the database."""
_SOUGHT_MAX: Final = 10_000
"""Columns remembered as sought once."""
_PAGE: Final = 10_000
_HAS: Final = bytes(kind in (PRESENT, PARTLY) for kind in range(256))
_CUT: Final = bytes(kind in (UNSURE, PARTLY) for kind in range(256))
_FIELDS: Final = {
    keys.Field.FROM: "from",
    keys.Field.TO: "to",
    keys.Field.CC: "cc",
    keys.Field.BCC: "bcc",
    keys.Field.SUBJECT: "subject",
}
_NUMBERS: Final = {
    keys.DateOf.INTERNAL: Number.ARRIVED,
    keys.DateOf.SAVED: Number.SAVED,
    keys.DateOf.SENT: Number.SENT,
}
_DAY: Final = 86_400_000_000
_DAY_0: Final = date(1970, 1, 1).toordinal()
_MOMENT_0: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
Masks = tuple[int, int]
"""Which messages match, and which may: an octet of 0 or 1 each, the first the lowest."""


def named(step: keys.Step) -> Name | None:
    """Return the column that decides a step; None if none does."""
    match step:
        case keys.Text(field, _) if field in _FIELDS:
            return _FIELDS[field]
        case keys.Header(name, _) if name not in TRACE_FIELDS:
            return name
        case keys.Dated(of, _, _):
            return _NUMBERS[of]
        case keys.Arrived():
            return Number.ARRIVED
        case keys.Size():
            return Number.SIZE
    return None


@attrs.define
class _Texts:
    """A header field of all messages as one string; NUL, which no folded text holds, stands between."""

    uids: "array[int]" = attrs.field(factory=lambda: array("I"))
    kinds: bytes = b""
    joined: str = ""
    starts: list[int] = attrs.field(factory=lambda: [0])
    """Where each text begins, and where the next would."""

    def add(self, more: Fields) -> None:
        """Take in messages above the known ones."""
        self.uids.extend(more.uids)
        self.kinds += more.kinds
        self.joined += "\0".join([*more.texts, ""])
        lengths = accumulate([len(text) + 1 for text in more.texts], initial=self.starts[-1])
        self.starts[-1:] = lengths

    @property
    def octets(self) -> int:
        return getsizeof(self.joined) + 13 * len(self.uids)

    def masks(self, step: keys.Step) -> tuple[bytearray, bytes]:
        """Return which messages have the text, and which may have it in what was cut."""
        needle = step.needle if isinstance(step, keys.Text | keys.Header) else ""
        cut = self.kinds.translate(_CUT)
        if not needle:
            return bytearray(self.kinds.translate(_HAS)), cut
        found = bytearray(len(self.uids))
        joined, starts = self.joined, self.starts
        at = joined.find(needle)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            found[index] = 1
            at = joined.find(needle, starts[index + 1])
        return found, cut


@attrs.define
class _Values:
    """A number of all messages."""

    uids: "array[int]" = attrs.field(factory=lambda: array("I"))
    values: "array[int]" = attrs.field(factory=lambda: array("q"))

    def add(self, more: Numbers) -> None:
        """Take in messages above the known ones."""
        self.uids.extend(more.uids)
        self.values.extend(more.values)

    @property
    def octets(self) -> int:
        return 12 * len(self.uids)

    def masks(self, step: keys.Step) -> tuple[bytearray, bytes]:
        """Return which messages are in the range; nothing is left open."""
        low, high = _bounds(step)
        return bytearray([low <= value < high for value in self.values]), b""


def _bounds(step: keys.Step) -> tuple[float, float]:
    """Return the first value that matches, and the first that does not any more."""
    match step:
        case keys.Size(keys.Relation.LARGER, octets):
            return octets + 1, float("inf")
        case keys.Size(_, octets):
            return 0, octets
        case keys.Arrived(moment, later):
            at = (moment - _MOMENT_0) // _MICROSECOND
            return (at, float("inf")) if later else (float("-inf"), at + 1_000_000)
        case keys.Dated(of, relation, day):
            unit = 1 if of is keys.DateOf.SENT else _DAY
            start = (day.toordinal() - _DAY_0) * unit
            lowest: float = NEVER + 1 if of is keys.DateOf.SENT else float("-inf")
            match relation:
                case keys.Relation.BEFORE:
                    return lowest, start
                case keys.Relation.ON:
                    return start, start + unit
                case keys.Relation.SINCE:
                    return start, float("inf")
                case keys.Relation.LARGER:
                    return start + unit, float("inf")
    raise ValueError(f"{type(step).__name__} is no question of a number")


class KeptColumns:
    """The columns of mailboxes that searches come back to."""

    def __init__(self, messages: Messages, *, octets_max: int = KEPT_OCTETS) -> None:
        self._messages = messages
        self._octets_max = octets_max
        self._kept: OrderedDict[tuple[MailboxId, Name], _Texts | _Values] = OrderedDict()
        self._octets = 0
        self._sought: OrderedDict[tuple[MailboxId, Name], None] = OrderedDict()

    async def prepare(self, mailbox: MailboxId, steps: Sequence[keys.Step], told: Sequence[int]) -> bool:
        """Bring the columns of steps up to the last message told of; tells whether all are there.

        A column that is sought for the first time is not: the database answers once.
        """
        if not told or len(told) > KEPT_MESSAGES:
            return False
        names = {name for step in steps if (name := named(step)) is not None}
        first = [name for name in names if (mailbox, name) not in self._kept and (mailbox, name) not in self._sought]
        for name in first:
            self._sought[mailbox, name] = None
            if len(self._sought) > _SOUGHT_MAX:
                self._sought.popitem(last=False)
        if first:
            return False
        for name in names:
            await self._extend(mailbox, name, told)
        # Others may have pushed out what was there when this began.
        return all((mailbox, name) in self._kept for name in names)

    async def _extend(self, mailbox: MailboxId, name: Name, told: Sequence[int]) -> None:
        kept = self._kept.get((mailbox, name))
        if kept is not None and len(kept.uids) > 2 * len(told) + 1_000:
            self._drop((mailbox, name))
            kept = None
        if kept is not None and kept.uids and kept.uids[-1] >= told[-1]:
            self._kept.move_to_end((mailbox, name))
            return
        fresh: _Texts | _Values = _Values() if isinstance(name, Number) else _Texts()
        if kept is not None:
            # A copy: two that extend at once must not both add to one.
            fresh = attrs.evolve(kept, uids=kept.uids[:])
            if isinstance(fresh, _Values):
                fresh.values = fresh.values[:]
            else:
                fresh.starts = fresh.starts[:]
        after = fresh.uids[-1] if fresh.uids else 0
        while after < told[-1]:
            more = await self._messages.column(mailbox, name, after=after, uid_max=told[-1], limit=_PAGE)
            if not more.uids:
                break
            fresh.add(more)  # type: ignore[arg-type]
            after = more.uids[-1]
        self._drop((mailbox, name))
        self._kept[mailbox, name] = fresh
        self._octets += fresh.octets
        while self._octets > self._octets_max:
            self._drop(next(iter(self._kept)))

    def _drop(self, which: tuple[MailboxId, Name]) -> None:
        kept = self._kept.pop(which, None)
        if kept is not None:
            self._octets -= kept.octets

    def decide(self, mailbox: MailboxId, told: "array[int]") -> "Callable[[keys.Step], Masks | None]":
        """Return what decides a step for the messages told of; None for a step that is no column's, or not kept."""
        present: set[int] | None = None

        def masks(step: keys.Step) -> Masks | None:
            nonlocal present
            name = named(step)
            kept = self._kept.get((mailbox, name)) if name is not None else None
            if kept is None:
                return None
            found, cut = kept.masks(step)
            if kept.uids != told:
                if present is None:
                    present = set(told)
                chosen = [uid in present for uid in kept.uids]
                if sum(chosen) != len(told):
                    return None
                found = bytearray(compress(found, chosen))
                cut = bytes(compress(cut, chosen))
            yes = int.from_bytes(found, "little")
            return yes, yes | int.from_bytes(cut, "little")

        return masks
