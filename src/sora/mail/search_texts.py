"""The only place that asks indexes of texts: which messages may have what BODY and TEXT seek.

An index only ever leaves out; what it leaves is looked at as if there were none. A mailbox is given one when it is
searched by its texts for the second time.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from itertools import compress
from typing import Final

import attrs

from sora.core import criteria as keys
from sora.core import limits, signatures
from sora.core.ids import MailboxId
from sora.store.text_index import Rows, TextIndexes

_SOUGHT_MAX: Final = 10_000
"""Mailboxes remembered as sought once."""
_INDEXED: Final = (keys.Field.BODY, keys.Field.TEXT)
_OPPOSITE: Final = bytes.maketrans(b"\0\1", b"\1\0")


@attrs.frozen
class Possible:
    """Which messages of an index may have a text; all that are not in the index may."""

    uids: "array[int]"
    may: bytes
    """An octet of 0 or 1 for each."""

    def masks(self, told: "array[int]") -> tuple[int, int]:
        """Return what `search_view.judge` asks of a step: none surely matches, and who may."""
        count = len(self.uids)
        if told[:count] == self.uids:
            may = self.may + b"\1" * (len(told) - count)
        else:
            absent = set(compress(self.uids, self.may.translate(_OPPOSITE)))
            may = bytes([uid not in absent for uid in told])
        return 0, int.from_bytes(may, "little")


class SoughtTexts:
    """The indexes of the mailboxes that are searched by their texts."""

    def __init__(self, indexes: TextIndexes, *, segment: int = limits.TEXT_SEGMENT) -> None:
        """`segment` is how many messages a segment has."""
        self._indexes = indexes
        self._segment = segment
        self._once: OrderedDict[MailboxId, None] = OrderedDict()

    async def possible(self, mailbox: MailboxId, steps: Sequence[keys.Step], count: int) -> dict[keys.Step, Possible]:
        """Ask the index of a mailbox of so many messages what it can tell of steps."""
        places: dict[keys.Step, tuple[int, ...]] = {}
        for step in steps:
            if (
                isinstance(step, keys.Text)
                and step.field in _INDEXED
                and len(places) < limits.TEXT_SOUGHT_MAX
                and (some := signatures.sought(step.needle))
            ):
                places[step] = some
        if not places or count < self._segment:
            return {}
        segments = await self._indexes.read(
            mailbox, [place for some in places.values() for place in some], want=self._again(mailbox)
        )
        if not segments:
            return {}
        uids = array("I")
        for segment in segments:
            uids.extend(segment.uids)
        found, start = {}, 0
        for step, some in places.items():
            may = [_possible(segment, start, start + len(some)) for segment in segments]
            found[step] = Possible(uids, b"".join(may))
            start += len(some)
        return found

    def _again(self, mailbox: MailboxId) -> bool:
        """Tell whether the mailbox was searched by its texts before."""
        again = mailbox in self._once
        self._once[mailbox] = None
        self._once.move_to_end(mailbox)
        if len(self._once) > _SOUGHT_MAX:
            self._once.popitem(last=False)
        return again


def _possible(segment: Rows, start: int, end: int) -> bytes:
    count = len(segment.uids)
    width = signatures.row_octets(count)
    rows = [segment.rows[at * width : (at + 1) * width] for at in range(start, end)]
    return signatures.common(rows, count)
