"""The only place where found messages are put in order or in threads, and where orders and threads are kept.

What messages are ordered and threaded by never changes, so an order of a whole mailbox holds until something arrives,
whoever asks; what was found is then picked out of it. All that is kept is bounded and may be thrown away at any time.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from sora.core.errors import LimitReached
from sora.core.ids import MailboxId
from sora.core.limits import IMAP_THREAD_MESSAGES_MAX
from sora.core.ordering import Order
from sora.imap import thread
from sora.imap.search_commands import Algorithm
from sora.mime.base_subject import is_reply
from sora.store.interfaces import Messages
from sora.store.threads import BETWEEN, ThreadRows

KEPT_ORDERED: Final = 1_000_000
"""Messages in kept orders, four octets each."""
KEPT_THREADED: Final = 50_000
"""Messages whose references are kept: about 300 octets each."""
_WHOLE: Final = 4
"""If one message in so many is sought, all are ordered, and the order is kept."""
_PAGE: Final = 5_000
"""Messages read at once for threads."""
_AT_ONCE: Final = 2_000
"""Messages that are threaded on the spot; more are in a thread."""
_BETWEEN: Final = BETWEEN.encode()
_ALGORITHMS: Final[dict[Algorithm, Callable[[thread.Columns], thread.Forest]]] = {
    Algorithm.ORDEREDSUBJECT: thread.ordered_subject,
    Algorithm.REFERENCES: thread.references,
    Algorithm.REFS: thread.refs,
}


@attrs.frozen
class _Kept:
    """An order of all messages of a mailbox."""

    last: int
    """Up to which UID."""
    uids: "array[int]"
    told: Sequence[int] | None
    """The very column of UIDs that it is the order of, if it was all that a session knew."""


@attrs.define
class _Known:
    """What is known of the messages of a mailbox, in the order of their UIDs; ids and subjects as numbers."""

    uids: "array[int]" = attrs.field(factory=lambda: array("I"))
    columns: thread.Columns = attrs.field(factory=lambda: thread.Columns([], [], [], [], [], []))
    ids: dict[bytes, int] = attrs.field(factory=lambda: {b"": 0})
    subjects: dict[bytes, int] = attrs.field(factory=lambda: {b"": 0})
    last: tuple[Algorithm, Sequence[int], Sequence[int], bytes] | None = None
    """The last answer: how, of which UIDs, called what."""

    def add(self, rows: ThreadRows) -> None:
        """Take in messages with UIDs above all known ones."""
        ids, subjects, columns = self.ids, self.subjects, self.columns
        own, references = [], []
        for text in rows.ids:
            mine, *others = text.split(_BETWEEN)
            own.append(ids.setdefault(mine, len(ids)))
            references.append(tuple([ids.setdefault(other, len(ids)) for other in others]))
        self.uids.extend(rows.uids)
        columns.own = [*columns.own, *own]
        columns.references = [*columns.references, *references]
        columns.sent = [*columns.sent, *rows.sent]
        columns.arrived = [*columns.arrived, *rows.arrived]
        columns.subjects = [*columns.subjects, *(subjects.setdefault(one, len(subjects)) for one in rows.subjects)]
        columns.replies = [*columns.replies, *(is_reply(one.decode("utf-8", "replace")) for one in rows.marked)]

    def chosen(self, uids: Sequence[int]) -> tuple[list[int], thread.Columns]:
        """Return those of the UIDs that are known, and their columns."""
        if len(uids) == len(self.uids) and list(self.uids) == list(uids):
            return list(uids), self.columns
        places = dict(zip(self.uids, range(len(self.uids)), strict=True))
        found = [uid for uid in uids if uid in places]
        at = [places[uid] for uid in found]
        every = attrs.astuple(self.columns, recurse=False)
        return found, thread.Columns(*([column[one] for one in at] for column in every))


class Orders:
    """Orders and threads of what was found.

    `background` runs a function in a thread (`partial(aio.in_thread, reactor, pool)`): threading very many takes long.
    """

    def __init__(
        self, messages: Messages, *, background: "Callable[[Callable[[Any], Any], Any], Deferred[Any]] | None" = None
    ) -> None:
        self._messages = messages
        self._background = background
        self._orders: OrderedDict[tuple[MailboxId, Order], _Kept] = OrderedDict()
        self._ordered = 0
        self._known: OrderedDict[MailboxId, _Known] = OrderedDict()
        self._threaded = 0

    # ------------------------------------------------------------ orders

    async def order(self, mailbox: MailboxId, keys: Order, uids: Sequence[int], *, told: Sequence[int]) -> list[int]:
        """Put found UIDs in order; `told` are all that the session knows. Raises `LimitReached`."""
        if len(uids) < 2:
            return list(uids)
        last = told[-1]
        kept = self._orders.get((mailbox, keys))
        if kept is not None and kept.last >= last:
            self._orders.move_to_end((mailbox, keys))
        elif len(uids) * _WHOLE < len(told) or len(told) > KEPT_ORDERED:
            return list(await self._messages.order(mailbox, keys, uids, uid_max=last))
        else:
            everything = await self._messages.order(mailbox, keys, None, uid_max=last)
            exact = told if len(told) == len(everything) and sorted(everything) == list(told) else None
            kept = _Kept(last, everything, exact)
            self._keep_order((mailbox, keys), kept)
        if kept.told is told and len(uids) == len(told):
            return list(kept.uids)
        sought = set(uids)
        return [uid for uid in kept.uids if uid in sought]

    def _keep_order(self, which: tuple[MailboxId, Order], kept: "_Kept") -> None:
        before = self._orders.pop(which, None)
        self._ordered += len(kept.uids) - (len(before.uids) if before is not None else 0)
        self._orders[which] = kept
        while self._ordered > KEPT_ORDERED:
            _, oldest = self._orders.popitem(last=False)
            self._ordered -= len(oldest.uids)

    # ------------------------------------------------------------ threads

    async def threads(
        self, mailbox: MailboxId, how: Algorithm, uids: Sequence[int], labels: Sequence[int], *, told: Sequence[int]
    ) -> bytes:
        """Return the threads of found UIDs as THREAD writes them, each message by its label.

        Raises `LimitReached` if there are too many.
        """
        if not uids:
            return b""
        if len(uids) > IMAP_THREAD_MESSAGES_MAX:
            raise LimitReached(f"threads of more than {IMAP_THREAD_MESSAGES_MAX} messages")
        known = await self._known_of(mailbox, uids, told)
        if known.last is not None and known.last[0] is how and known.last[1] == uids and known.last[2] == labels:
            return known.last[3]
        found, columns = known.chosen(uids)
        names = (
            labels
            if len(found) == len(uids)
            else [name for uid, name in zip(uids, labels, strict=True) if uid in set(found)]
        )

        def make(columns: thread.Columns) -> bytes:
            return thread.written(_ALGORITHMS[how](columns), names)

        if self._background is None or len(found) <= _AT_ONCE:
            text = make(columns)
        else:
            text = await self._background(make, columns)
        known.last = how, uids, labels, text
        return text

    async def _known_of(self, mailbox: MailboxId, uids: Sequence[int], told: Sequence[int]) -> _Known:
        """Return what is known of the found messages: of the whole mailbox if it may be kept."""
        known = self._known.get(mailbox)
        whole = len(told) <= KEPT_THREADED and (known is not None or len(uids) * _WHOLE >= len(told))
        if not whole:
            return await self._read(mailbox, _Known(), uids, told[-1])
        if known is None or known.uids[-1:] != array("I", told[-1:]):
            # Two who read at once must not both add to one.
            fresh = (
                _Known()
                if known is None
                else attrs.evolve(known, uids=known.uids[:], columns=attrs.evolve(known.columns))
            )
            known = await self._read(mailbox, fresh, None, told[-1])
            self._keep_known(mailbox, known)
        else:
            self._known.move_to_end(mailbox)
        return known

    async def _read(self, mailbox: MailboxId, known: _Known, uids: Sequence[int] | None, uid_max: int) -> _Known:
        after = known.uids[-1] if known.uids else 0
        while after < uid_max:
            rows = await self._messages.threading(mailbox, uids, after=after, uid_max=uid_max, limit=_PAGE)
            if not rows.uids:
                break
            known.add(rows)
            after = rows.uids[-1]
        return known

    def _keep_known(self, mailbox: MailboxId, known: _Known) -> None:
        before = self._known.pop(mailbox, None)
        self._threaded += len(known.uids) - (len(before.uids) if before is not None else 0)
        self._known[mailbox] = known
        while self._threaded > KEPT_THREADED and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._threaded -= len(oldest.uids)
