"""Messages in PostgreSQL: reading columns, changing flags, copying, moving, expunging."""

from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core import limits
from sora.core.criteria import Criteria
from sora.core.ids import EmailId, MailboxId, ModSeq, ThreadId, Uid
from sora.postgres.arrivals import Arrivals
from sora.postgres.mailboxes import actor_parameters
from sora.postgres.rows import body_ref, columns, numbers
from sora.postgres.search import search
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.model import Actor, Copied, FetchRow, FlagChange, FlagsStored, Found, Inserted, Named, NewMessage, Want

# What each wish reads: columns, and how many they are. `trace` comes once, for either of its wishes.
_COLUMNS: Final[dict[Want, tuple[str, ...]]] = {
    Want.DATES: ("m.internal_date", "m.save_date"),
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


def _fetched(row: "tuple[Any, ...]", want: Want) -> FetchRow:
    fetched = FetchRow(uid=Uid(row[0]), email=EmailId(row[1]), thread=ThreadId(row[2]))
    at = 3
    if want & _TRACED:
        fetched.trace = bytes(row[3])
        at = 4
    if want & Want.DATES:
        fetched.internal_date, fetched.save_date = row[at], row[at + 1]
        at += 2
    if want & Want.SIZE:
        fetched.size = row[at]
        at += 1
    if want & Want.ENVELOPE:
        fetched.envelope = bytes(row[at])
        at += 1
    if want & Want.STRUCTURE:
        fetched.structure = bytes(row[at])
        at += 1
    if want & Want.BODY:
        fetched.body = bytes(row[at])
        at += 1
    if want & Want.HEADER:
        fetched.header = None if row[at] is None else bytes(row[at])
        at += 1
    if want & Want.PREVIEW:
        fetched.preview = row[at]
        at += 1
    if want & Want.BYTES:
        fetched.ref = body_ref(row[at:])
    return fetched


class PostgresMessages:
    """`store.interfaces.Messages` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._arrivals = Arrivals(database)

    def insert(self, messages: Sequence[NewMessage]) -> "Deferred[list[Inserted | Exception]]":
        """Insert messages: deliveries of many senders at once, or one APPEND.

        All that can be stored are committed together, with those of other calls of the same moment; a
        member that cannot has its error in its place. Cancelling does not undo it.
        """
        return self._arrivals.insert(messages)

    @deferred
    async def fetch(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> list[FetchRow]:
        """Read columns of messages, ascending by UID; messages that are gone are absent."""
        rows = await self._database.fetch(_page(want), {"mailbox": mailbox, "uids": integers(uids)})
        return [_fetched(row, want) for row in rows]

    @deferred
    async def store(self, mailbox: MailboxId, changes: Sequence[FlagChange]) -> list[FlagsStored]:
        """Change flags; several changes are applied in their order, atomically.

        Raises `NoSuchMailbox`, `LimitReached` (too many keywords).
        """
        rows = await self._database.call(
            "store_flags",
            {
                "mailbox": mailbox,
                "uids": integers(uid for change in changes for uid in change.uids),
                "counts": integers(len(change.uids) for change in changes),
                "changes": [change.change.value for change in changes],
                "bits": integers(change.flags for change in changes),
                "words": [" ".join(change.keywords) for change in changes],
                "unchanged": integers(change.unchanged_since for change in changes),
                "keywords_max": limits.KEYWORDS_MAX,
                "message_keywords_max": limits.KEYWORDS_PER_MESSAGE_MAX,
            },
        )
        highest, changed = (ModSeq(rows[-1][0]), rows[-1][6]) if rows else (ModSeq(0), False)
        return [
            FlagsStored(
                modseq=highest, columns=columns(*row[1:5]), changed=changed, refused=tuple(numbers(row[5], "I"))
            )
            for row in rows
        ]

    def copy(self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named) -> "Deferred[Copied]":
        """Copy messages, all or none; UIDs that are gone are left out.

        Raises `NoSuchMailbox`, `UidsExhausted`, `LimitReached`.
        """
        return self._transfer(source, uids, target, None)

    def move(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, actor: Actor
    ) -> "Deferred[Copied]":
        """Move messages atomically; also within one mailbox (new UIDs). Raises as `copy`."""
        return self._transfer(source, uids, target, actor)

    @deferred
    async def _transfer(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, actor: Actor | None
    ) -> Copied:
        named = target if isinstance(target, Named) else None
        rows = await self._database.call(
            "transfer_messages",
            {
                "source": source,
                "uids": integers(uids),
                "target": None if named else target,
                "target_account": named.account if named else None,
                "target_name": named.name if named else None,
                "moving": actor is not None,
                "keywords_max": limits.KEYWORDS_MAX,
                **actor_parameters(actor or _NOBODY),
            },
        )
        uid_validity, octets, first, mailbox, left = rows[0]
        moved = tuple(numbers(octets, "I"))
        return Copied(
            uid_validity=uid_validity,
            source=moved,
            target=tuple(range(first, first + len(moved))),
            mailbox=mailbox,
            left=left,
        )

    @deferred
    async def expunge(
        self, mailbox: MailboxId, uids: Sequence[int] | None, actor: Actor
    ) -> "tuple[ModSeq, array[int]]":
        """Turn messages that are \\Deleted (of those named, or all) into tombstones; returns modseq and their UIDs."""
        rows = await self._database.call(
            "expunge_messages",
            {"mailbox": mailbox, "uids": None if uids is None else integers(uids), **actor_parameters(actor)},
        )
        return ModSeq(rows[0][0]), numbers(rows[0][1], "I")

    def search(self, mailbox: MailboxId, criteria: Criteria, *, recent_from: Uid, uid_max: int) -> "Deferred[Found]":
        """Evaluate criteria exactly over messages with UID up to `uid_max`; `Numbers` were replaced by `Uids`."""
        return search(self._database, mailbox, criteria, recent_from=recent_from, uid_max=uid_max)
