"""The only place that orders messages in memory, and reads there what threads and kept columns are made of."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final

from sora.core.ordering import Order, SortKey, collated
from sora.store.columns import ABSENT, NEVER, PARTLY, PRESENT, UNSURE, Fields, Name, Number, Numbers
from sora.store.memory_state import StoredMessage
from sora.store.threads import BETWEEN, ThreadRows, bounded

_KEYS: Final[dict[SortKey, Callable[[StoredMessage], Any]]] = {
    SortKey.ARRIVAL: lambda message: message.internal_date,
    SortKey.DATE: lambda message: message.body.described.sent_at or message.internal_date,
    SortKey.SIZE: lambda message: message.size,
    SortKey.SUBJECT: lambda message: collated(message.body.described.base_subject),
    SortKey.FROM: lambda message: collated(message.body.described.sort_from),
    SortKey.TO: lambda message: collated(message.body.described.sort_to),
    SortKey.CC: lambda message: collated(message.body.described.sort_cc),
    SortKey.DISPLAYFROM: lambda message: collated(message.body.described.display_from),
    SortKey.DISPLAYTO: lambda message: collated(message.body.described.display_to),
}


def ordered(messages: Iterable[StoredMessage], order: Order) -> list[StoredMessage]:
    """Return messages in an order."""
    found = sorted(messages, key=lambda message: message.uid)
    for key, backwards in reversed(order):
        # Stable in both directions: equals stay as they are.
        found.sort(key=_KEYS[key], reverse=backwards)
    return found


def thread_rows(messages: Iterable[StoredMessage]) -> ThreadRows:
    """Read what threads are made of."""
    rows = ThreadRows(array("I"), [], [], [], [], [])
    sent, arrived, ids, subjects, marked = [], [], [], [], []
    for message in sorted(messages, key=lambda message: message.uid):
        one = message.body.described
        rows.uids.append(message.uid)
        sent.append(_microseconds(one.sent_at or message.internal_date))
        arrived.append(_microseconds(message.internal_date))
        ids.append(BETWEEN.join((one.message_id or "", *bounded(one.references))).encode("utf-8", "replace"))
        subjects.append(one.base_subject.encode("utf-8", "replace"))
        marked.append(one.subject.encode("utf-8", "replace") if one.subject.lower() != one.base_subject else b"")
    return ThreadRows(rows.uids, sent, arrived, ids, subjects, marked)


def column(messages: Sequence[StoredMessage], name: Name) -> Fields | Numbers:
    """Read a header field or a number of messages."""
    uids = array("I", [message.uid for message in messages])
    if isinstance(name, Number):
        return Numbers(uids, [_NUMBERS[name](message) for message in messages])
    texts = [message.body.described for message in messages]
    kinds = [
        (PRESENT if one.text_complete else PARTLY) if name in one.fields else (ABSENT if one.text_complete else UNSURE)
        for one in texts
    ]
    return Fields(uids, bytes(kinds), [one.fields.get(name, "") for one in texts])


def _sent_day(message: StoredMessage) -> int:
    day = message.body.described.sent_day
    return NEVER if day is None else day.toordinal() - _DAY_0


_DAY_0: Final = date(1970, 1, 1).toordinal()
_NUMBERS: Final[dict[Number, Callable[[StoredMessage], int]]] = {
    Number.ARRIVED: lambda message: _microseconds(message.internal_date),
    Number.SAVED: lambda message: _microseconds(message.save_date),
    Number.SENT: _sent_day,
    Number.SIZE: lambda message: message.size,
}


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
