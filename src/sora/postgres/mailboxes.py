"""Mailboxes and subscriptions in PostgreSQL, and what a view of a mailbox is made and refreshed from."""

# ruff: noqa: S608  the pieces are constants of this folder

from typing import Any, Final

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.postgres.batch import Batches
from sora.postgres.binary import OctetStatement
from sora.postgres.rows import (
    AS_OCTETS,
    MAILBOX_COLUMNS,
    MAILBOX_WIDTH,
    PACKED,
    as_octets,
    columns,
    mailbox,
    numbers,
    strip,
)
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.model import Actor, Changes, Listing, MailboxRow, NewMailbox, Opened

_LISTING: Final = Statement(f"""
SELECT m.*, s.name
  FROM (SELECT {MAILBOX_COLUMNS} FROM mailboxes AS b WHERE b.account_id = %(account)s) AS m
  FULL JOIN (SELECT name FROM subscriptions WHERE account_id = %(account)s) AS s ON s.name = m.name
 ORDER BY coalesce(m.name, s.name)
""")
_FIND: Final = Statement(f"""
SELECT {MAILBOX_COLUMNS} FROM mailboxes AS b WHERE b.account_id = %(account)s AND b.name = %(name)s
""")
_BY_ID: Final = Statement(f"SELECT {MAILBOX_COLUMNS} FROM mailboxes AS b WHERE b.id = %(mailbox)s")
# One statement is one snapshot: the row and the messages are of the same moment. The claim of \Recent is the
# only thing that waits for writers, and only if there is something to claim.
_OPEN: Final = OctetStatement(f"""
WITH box AS (
    SELECT {MAILBOX_COLUMNS}, b.recent_from FROM mailboxes AS b
     WHERE b.account_id = %(account)s AND b.name = %(name)s
), claimed AS (
    UPDATE mailboxes AS b SET recent_from = b.uid_next, recent = 0
      FROM box WHERE b.id = box.id AND %(claim)s AND b.recent_from < b.uid_next
)
SELECT {AS_OCTETS}, packed.*
  FROM box CROSS JOIN LATERAL (
       SELECT {PACKED} FROM (
              SELECT uid, flags, modseq, keywords FROM messages WHERE mailbox_id = box.id ORDER BY uid) AS m) AS packed
""")
_CHANGED: Final = f"""
WITH box AS (
    SELECT {MAILBOX_COLUMNS}, b.recent_from, b.changed_modseq, asked.n, lost.it OR lost.forgotten AS whole,
           CASE WHEN lost.it OR lost.forgotten THEN 0 ELSE asked.since END AS since,
           CASE WHEN lost.it THEN b.lost_from ELSE asked.since END AS gone_since
      FROM {{asked}}
      JOIN mailboxes AS b ON b.id = asked.mailbox
     CROSS JOIN LATERAL (SELECT asked.since > b.lost_from AND asked.since < b.lost_to,
                                asked.since < b.forgotten_modseq) AS lost (it, forgotten)
){{claim}}
SELECT int4send(box.n::integer), {AS_OCTETS}, packed.*, gone.octets,
       CASE WHEN box.whole THEN '\\x01'::bytea ELSE '' END
  FROM box CROSS JOIN LATERAL (
       SELECT {PACKED} FROM (
              SELECT uid, flags, modseq, keywords FROM messages
               WHERE mailbox_id = box.id AND modseq > box.since AND box.highest_modseq > box.since
                 AND uid >= (SELECT arrivals_from(box.id, box.since, box.changed_modseq))
               ORDER BY uid) AS m) AS packed
  CROSS JOIN LATERAL (
       SELECT coalesce(string_agg(uid_octets(uid), '' ORDER BY uid), '') AS octets FROM tombstones
        WHERE mailbox_id = box.id AND modseq > box.gone_since) AS gone
"""
_CHANGES: Final = OctetStatement(
    _CHANGED.format(
        asked="""unnest(%(mailboxes)s::bigint[], %(sinces)s::bigint[])
           WITH ORDINALITY AS asked (mailbox, since, n)""",
        claim="",
    )
)
_CHANGES_CLAIMED: Final = OctetStatement(
    _CHANGED.format(
        asked="(VALUES (%(mailbox)s::bigint, %(since)s::bigint, 1)) AS asked (mailbox, since, n)",
        claim=""", claimed AS (
    UPDATE mailboxes AS b SET recent_from = b.uid_next, recent = 0
      FROM box WHERE b.id = box.id AND b.recent_from < b.uid_next
)""",
    )
)
ASKED_FIRST: Final = (
    (_OPEN, {"account": 0, "name": "INBOX", "claim": True}),
    (_CHANGES, {"mailboxes": "{0}", "sinces": "{0}"}),
    (_LISTING, {"account": 0}),
)
_REFRESHES_MAX: Final = 64
"""Views refreshed by one statement."""
_SUBSCRIBE: Final = Statement("""
WITH had AS (
    SELECT count(*) AS n, count(*) FILTER (WHERE name = %(name)s) AS same
      FROM subscriptions WHERE account_id = %(account)s
), added AS (
    INSERT INTO subscriptions (account_id, name)
    SELECT %(account)s, %(name)s FROM had WHERE n < %(max)s AND same = 0
    ON CONFLICT DO NOTHING
)
SELECT n >= %(max)s AND same = 0 FROM had
""")
_UNSUBSCRIBE: Final = Statement("DELETE FROM subscriptions WHERE account_id = %(account)s AND name = %(name)s")


def actor_parameters(actor: Actor) -> dict[str, object]:
    """Return who does something, as the SQL functions want it."""
    return {
        "who_account": actor.account,
        "who_address": strip(actor.address),
        "protocol": strip(actor.protocol),
        "session": strip(actor.session),
    }


class PostgresMailboxes:
    """`store.interfaces.Mailboxes` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refreshes: Batches[tuple[MailboxId, ModSeq], Changes | None] = Batches(
            self._refresh, reactor=database.pool.reactor, in_flight_max=2, count_max=_REFRESHES_MAX
        )

    @deferred
    async def listing(self, account: AccountId) -> Listing:
        """Read all mailboxes with counters, and all subscriptions."""
        rows = await self._database.fetch(_LISTING, {"account": account})
        return Listing(
            mailboxes=tuple(mailbox(row) for row in rows if row[0] is not None),
            subscriptions=tuple(row[MAILBOX_WIDTH] for row in rows if row[MAILBOX_WIDTH] is not None),
        )

    @deferred
    async def find(self, account: AccountId, name: str) -> MailboxRow:
        """Read one mailbox. Raises `NoSuchMailbox`."""
        rows = await self._database.fetch(_FIND, {"account": account, "name": name})
        if not rows:
            raise NoSuchMailbox("the mailbox does not exist")
        return mailbox(rows[0])

    @deferred
    async def create(self, account: AccountId, mailbox_: NewMailbox) -> MailboxRow:
        """Create a mailbox and its missing parents. Raises `MailboxExists`, `LimitReached`."""
        made = await self._database.call(
            "create_mailbox",
            {
                "account": account,
                "name": mailbox_.name,
                "use": mailbox_.special_use,
                "subscribed": mailbox_.subscribed,
                "mailboxes_max": limits.MAILBOXES_MAX,
            },
        )
        rows = await self._database.fetch(_BY_ID, {"mailbox": made[0][0]})
        if not rows:
            raise NoSuchMailbox("the mailbox was deleted at once")
        return mailbox(rows[0])

    @deferred
    async def delete(self, account: AccountId, name: str, actor: Actor) -> MailboxId:
        """Delete a mailbox; its messages become tombstones. Raises `NoSuchMailbox`, `MailboxHasChildren`.

        Announced with modseq 0: sessions that have it selected must end it.
        """
        rows = await self._database.call(
            "delete_mailbox", {"account": account, "name": name, **actor_parameters(actor)}
        )
        return MailboxId(rows[0][0])

    @deferred
    async def rename(self, account: AccountId, old: str, new: str) -> None:
        """Rename a mailbox and all below it; missing parents of `new` are created; subscriptions stay by name.

        Raises `NoSuchMailbox`, `MailboxExists`, `MailboxNameInvalid` (below itself, or too long).
        """
        await self._database.call(
            "rename_mailbox",
            {
                "account": account,
                "old": old,
                "new": new,
                "mailboxes_max": limits.MAILBOXES_MAX,
                "octets_max": limits.MAILBOX_NAME_MAX,
            },
        )

    @deferred
    async def rename_inbox(self, account: AccountId, new: str, actor: Actor) -> None:
        """Create `new` and move all messages of INBOX into it (RFC 3501 6.3.5)."""
        await self._database.call(
            "rename_inbox",
            {
                "account": account,
                "new": new,
                "mailboxes_max": limits.MAILBOXES_MAX,
                "keywords_max": limits.KEYWORDS_MAX,
                **actor_parameters(actor),
            },
        )

    @deferred
    async def subscribe(self, account: AccountId, name: str) -> None:
        """Subscribe to a name, whether or not it exists. Raises `LimitReached`."""
        rows = await self._database.change(
            _SUBSCRIBE, {"account": account, "name": name, "max": limits.SUBSCRIPTIONS_MAX}
        )
        if rows[0][0]:
            raise LimitReached("too many subscriptions")

    @deferred
    async def unsubscribe(self, account: AccountId, name: str) -> None:
        """Unsubscribe from a name; harmless if not subscribed."""
        await self._database.change(_UNSUBSCRIBE, {"account": account, "name": name})

    @deferred
    async def open(self, account: AccountId, name: str, *, claim_recent: bool) -> Opened:
        """Read a mailbox with all its messages' UIDs and flags. Raises `NoSuchMailbox`.

        `claim_recent` (SELECT, not EXAMINE): later sessions will not be told that these are \\Recent.
        """
        # A lost answer claims \Recent for nobody: no harm, so that this may be repeated like any read.
        rows = await self._database.fetch(_OPEN, {"account": account, "name": name, "claim": claim_recent})
        if not rows:
            raise NoSuchMailbox("the mailbox does not exist")
        row = rows[0]
        found, recent_from = as_octets(row[0])
        return Opened(mailbox=found, columns=columns(*row[1:5]), recent_from=recent_from)

    @deferred
    async def changes(self, mailbox_: MailboxId, since: ModSeq, *, claim_recent: bool = False) -> Changes:
        """Read what changed after `since`, together with what other views ask at the moment.

        Raises `NoSuchMailbox` if it was deleted. `claim_recent` as for `open`; who claims asks alone.
        """
        if claim_recent:
            rows = await self._database.fetch(_CHANGES_CLAIMED, {"mailbox": mailbox_, "since": since})
            found = _changes(rows[0]) if rows else None
        else:
            found = await self._refreshes.add((mailbox_, since))
        if found is None:
            raise NoSuchMailbox("the mailbox was deleted")
        return found

    @deferred
    async def _refresh(self, asked: "list[tuple[MailboxId, ModSeq]]") -> list[Changes | None]:
        parameters = {
            "mailboxes": integers(mailbox for mailbox, _ in asked),
            "sinces": integers(since for _, since in asked),
        }
        rows = await self._database.fetch(_CHANGES, parameters)
        found = {int.from_bytes(row[0], "big"): row for row in rows}
        return [_changes(found[number]) if number in found else None for number in range(1, len(asked) + 1)]


def _changes(row: "tuple[Any, ...]") -> Changes:
    found, recent_from = as_octets(row[1])
    return Changes(
        mailbox=found,
        columns=columns(*row[2:6]),
        vanished=numbers(row[6], "I"),
        recent_from=recent_from,
        whole=bool(row[7]),
    )
