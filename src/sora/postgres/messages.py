"""Messages in PostgreSQL: reading columns, copying, moving, expunging; arrivals and flags have files of their own."""

from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from twisted.internet.defer import Deferred

from sora.aio import deferred, sleep
from sora.core import limits
from sora.core.criteria import Criteria
from sora.core.ids import AccountId, EmailId, MailboxId, ModSeq, ThreadId, Uid
from sora.core.ordering import Order
from sora.core.quota import NO_LIMITS
from sora.core.quota import Limits as QuotaLimits
from sora.core.uidset import PIECE
from sora.postgres import columns, listing, ordering, whole
from sora.postgres.arrivals import Arrivals
from sora.postgres.flags import Flags
from sora.postgres.mailboxes import actor_parameters
from sora.postgres.rows import body_ref, numbers
from sora.postgres.search import search, search_many
from sora.postgres.statement import Statement, integers, runs_of
from sora.postgres.work import Database
from sora.store.columns import Fields, Name, Numbers
from sora.store.model import (
    Actor,
    Copied,
    FetchRow,
    FlagChange,
    FlagsStored,
    Found,
    Inserted,
    Listed,
    Named,
    NewMessage,
    Sight,
    Want,
)
from sora.store.threads import ThreadRows

# What each wish reads: columns, and how many they are. `trace` comes once, for either of its wishes.
_COLUMNS: Final[dict[Want, tuple[str, ...]]] = {
    Want.INTERNAL_DATE: ("m.internal_date",),
    Want.SAVE_DATE: ("m.save_date",),
    Want.SIZE: ("m.size",),
    Want.ENVELOPE: ("b.envelope",),
    Want.STRUCTURE: ("b.structure",),
    Want.BODY: ("b.body",),
    Want.HEADER: ("b.header",),
    Want.PREVIEW: ("b.preview",),
    Want.BYTES: ("b.id", "b.hash", "b.size AS body_size", "b.object_key", "b.stored"),
}
_OF_BODY: Final = Want.ENVELOPE | Want.STRUCTURE | Want.BODY | Want.HEADER | Want.PREVIEW | Want.BYTES
_TRACED: Final = Want.HEADER | Want.BYTES
_NOBODY: Final = Actor(None, "", "", "")


@cache
def _page(want: Want) -> Statement:
    chosen = ["m.uid", "m.email_id", "m.thread_id"]
    if want & _TRACED:
        chosen.append("m.trace")
    for one, names in _COLUMNS.items():
        if one & want:
            chosen.extend(names)
    join = " JOIN bodies AS b ON b.id = m.body_id" if want & _OF_BODY else ""
    return Statement(
        f"SELECT {', '.join(chosen)} FROM messages AS m{join}"  # noqa: S608  constants
        " WHERE m.mailbox_id = %(mailbox)s AND m.uid = ANY (%(uids)s::bigint[]) ORDER BY m.uid"
    )


_OCTETS: Final = frozenset(("trace", "envelope", "structure", "body", "header"))


@cache
def _places(want: Want) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...], int | None]:
    """Return where a page's rows have plain values, octets, and the reference to a body.

    Worked out once for each wish: a look at a `Flag` costs as much as ten columns.
    """
    names = ["uid", "email", "thread"]
    if want & _TRACED:
        names.append("trace")
    for one, columns_ in _COLUMNS.items():
        if one & want and one is not Want.BYTES:
            names.extend(column.partition(".")[2] for column in columns_)
    places = [(name, at) for at, name in enumerate(names)][3:]
    plain = tuple(place for place in places if place[0] not in _OCTETS)
    octets = tuple(place for place in places if place[0] in _OCTETS)
    return plain, octets, len(names) if want & Want.BYTES else None


def _fetched(rows: "Sequence[tuple[Any, ...]]", want: Want) -> list[FetchRow]:
    plain, octets, ref = _places(want)
    found = []
    for row in rows:
        fetched = FetchRow(uid=Uid(row[0]), email=EmailId(row[1]), thread=ThreadId(row[2]))
        for name, at in plain:
            setattr(fetched, name, row[at])
        for name, at in octets:
            value = row[at]
            if value is not None:
                setattr(fetched, name, bytes(value))
        if ref is not None:
            fetched.ref = body_ref(row[ref:])
        found.append(fetched)
    return found


class PostgresMessages:
    """`store.interfaces.Messages` on PostgreSQL."""

    def __init__(
        self, database: Database, *, flags_wait_for_disk: bool = False, quota: QuotaLimits = NO_LIMITS
    ) -> None:
        self._database = database
        self._quota = quota
        self._arrivals = Arrivals(database, quota=quota)
        self._flags = Flags(database, wait_for_disk=flags_wait_for_disk)

    def insert(self, messages: Sequence[NewMessage]) -> "Deferred[list[Inserted | Exception]]":
        """Insert messages: deliveries of many senders at once, or one APPEND.

        All that can be stored are committed together, with those of other calls of the same moment; a
        member that cannot has its error in its place. Cancelling does not undo it. What someone with a \\Seen of his
        own has seen already goes by itself, all or none.
        """
        if any(message.seen_by is not None for message in messages):
            return self.insert_whole(messages).addCallback(list)
        return self._arrivals.insert(messages)

    @deferred
    async def insert_whole(self, messages: Sequence[NewMessage]) -> list[Inserted]:
        """Insert messages in one transaction, all or none; raises why one of them cannot be."""
        return await whole.insert(self._database, messages, self._arrivals.defaults)

    @deferred
    async def replace(self, source: MailboxId, uid: int, message: NewMessage, actor: Actor) -> Inserted:
        """Insert a message and turn another one into a tombstone, both or neither.

        Raises `NoSuchMessage`, and why the new one cannot be stored.
        """
        who = actor_parameters(actor)
        return await whole.replace(self._database, (source, uid), message, who, self._arrivals.defaults)

    @deferred
    async def fetch(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> list[FetchRow]:
        """Read columns of messages, ascending by UID; messages that are gone are absent."""
        rows = await self._database.fetch(_page(want), {"mailbox": mailbox, "uids": integers(uids)})
        return _fetched(rows, want)

    @deferred
    async def listing(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> Listed:
        """Read as `fetch` does what is within `Want.LISTED`, as columns."""
        return await listing.read(self._database, mailbox, uids, want)

    def store(
        self, mailbox: MailboxId, changes: Sequence[FlagChange], *, reader: AccountId | None = None
    ) -> "Deferred[list[FlagsStored]]":
        """Change flags; several changes are applied in their order, atomically.

        Goes together with what other sessions change at the moment. Raises `NoSuchMailbox`, `LimitReached`
        (too many keywords).
        """
        return self._flags.store(mailbox, changes, reader)

    def copy(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, *, sight: Sight | None = None
    ) -> "Deferred[Copied]":
        """Copy messages, all or none; UIDs that are gone are left out.

        Raises `NoSuchMailbox`, `UidsExhausted`, `LimitReached`.
        """
        return self._transfer(source, uids, target, None, sight)

    def move(
        self,
        source: MailboxId,
        uids: Sequence[int],
        target: MailboxId | Named,
        actor: Actor,
        *,
        sight: Sight | None = None,
    ) -> "Deferred[Copied]":
        """Move messages atomically; also within one mailbox (new UIDs). Raises as `copy`."""
        return self._transfer(source, uids, target, actor, sight)

    @deferred
    async def _transfer(
        self,
        source: MailboxId,
        uids: Sequence[int],
        target: MailboxId | Named,
        actor: Actor | None,
        sight: Sight | None,
    ) -> Copied:
        named = target if isinstance(target, Named) else None
        arguments = {
            "source": source,
            "runs": await self._runs_of(uids),
            "target": None if named else target,
            "target_account": named.account if named else None,
            "target_name": named.name if named else None,
            "moving": actor is not None,
            "keywords_max": limits.KEYWORDS_MAX,
            **actor_parameters(actor or _NOBODY),
            "storage_default": self._quota.storage,
            "messages_default": self._quota.messages,
        }
        if sight is None:
            rows = await self._database.call("transfer_messages", arguments)
        else:
            whose = {"reader": sight.reader, "here": sight.here, "there": sight.there, "keeps": sight.kept}
            rows = await self._database.call("transfer_messages_as", {**whose, **arguments})
        uid_validity, octets, first, mailbox, left = rows[0]
        moved = numbers(octets, "I")
        return Copied(
            uid_validity=uid_validity,
            source=moved,
            target=range(first, first + len(moved)),
            mailbox=mailbox,
            left=left,
        )

    async def _runs_of(self, uids: Sequence[int]) -> str:
        """Write UIDs, ascending, as `runs_of` does, so many at a time: a COPY may name every message there is."""
        pieces = [runs_of(uids[:PIECE])[1:-1]]
        for start in range(PIECE, len(uids), PIECE):
            await sleep(self._database.pool.reactor, 0)
            pieces.append(runs_of(uids[start : start + PIECE])[1:-1])
        return "{" + ",".join(pieces) + "}"

    @deferred
    async def expunge(
        self, mailbox: MailboxId, uids: Sequence[int] | None, actor: Actor
    ) -> "tuple[ModSeq, array[int]]":
        """Turn messages that are \\Deleted (of those named, or all) into tombstones; returns modseq and their UIDs."""
        rows = await self._database.call(
            "expunge_messages",
            {"mailbox": mailbox, "runs": None if uids is None else runs_of(uids), **actor_parameters(actor)},
        )
        return ModSeq(rows[0][0]), numbers(rows[0][1], "I")

    def search(
        self,
        mailbox: MailboxId,
        criteria: Criteria,
        *,
        recent_from: Uid,
        uid_max: int,
        reader: AccountId | None = None,
        among: Sequence[int] | None = None,
    ) -> "Deferred[Found]":
        """Evaluate criteria exactly over messages with UID up to `uid_max`; `Numbers` were replaced by `Uids`."""
        return search(
            self._database,
            mailbox,
            criteria,
            recent_from=recent_from,
            uid_max=uid_max,
            reader=reader,
            among=among,
        )

    def search_many(
        self, mailboxes: Sequence[MailboxId], criteria: Criteria, *, reader: AccountId | None = None
    ) -> "Deferred[dict[MailboxId, Found]]":
        """Evaluate criteria over all messages of each mailbox, in one statement."""
        return search_many(self._database, mailboxes, criteria, reader=reader)

    @deferred
    async def column(self, mailbox: MailboxId, name: Name, *, after: int, uid_max: int, limit: int) -> Fields | Numbers:
        """Read what never changes of the first `limit` messages above `after`: a header field, or a number."""
        return await columns.read(self._database, mailbox, name, after=after, uid_max=uid_max, limit=limit)

    @deferred
    async def order(
        self, mailbox: MailboxId, order: Order, uids: Sequence[int] | None, *, uid_max: int
    ) -> "array[int]":
        """Return UIDs up to `uid_max`, of those named or all, in an order without RELEVANCY."""
        return await ordering.order(self._database, mailbox, order, uids, uid_max=uid_max)

    @deferred
    async def threading(
        self, mailbox: MailboxId, uids: Sequence[int] | None, *, after: int, uid_max: int, limit: int
    ) -> ThreadRows:
        """Read what threads are made of: of the first `limit` messages above `after`, all or those named."""
        return await ordering.threading(self._database, mailbox, uids, after=after, uid_max=uid_max, limit=limit)
