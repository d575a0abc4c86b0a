"""Mailboxes and subscriptions in PostgreSQL, and what a view of a mailbox is made and refreshed from."""

# ruff: noqa: S608  the pieces are constants of this folder

from collections.abc import Sequence
from typing import Any, Final

import attrs

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.core.quota import NO_LIMITS
from sora.core.quota import Limits as QuotaLimits
from sora.postgres.adapter import Rows
from sora.postgres.batch import Batches
from sora.postgres.rows import (
    MAILBOX_COLUMNS,
    MAILBOX_WIDTH,
    PRIVATE_COLUMNS,
    as_octets,
    columns,
    mailbox,
    numbers,
    strip,
)
from sora.postgres.statement import Statement, integers
from sora.postgres.views import (
    CHANGES,
    CHANGES_ALONE,
    CHANGES_PRIVATE,
    CHANGES_PRIVATE_ALONE,
    OPEN,
    OPEN_PRIVATE,
)
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
_FIND_PRIVATE: Final = Statement(f"""
SELECT {PRIVATE_COLUMNS.format(reader="%(reader)s")} FROM mailboxes AS b
 WHERE b.account_id = %(account)s AND b.name = %(name)s
""")
_CREATE: Final = Statement(f"""
SELECT {MAILBOX_COLUMNS}
  FROM create_mailbox(%(account)s, %(name)s, %(use)s, %(subscribed)s, %(mailboxes_max)s, %(mailboxes_default)s)
       AS made (id)
 CROSS JOIN LATERAL mailbox_now(made.id) AS b
""")
ASKED_FIRST: Final = (
    (OPEN, {"account": 0, "name": "INBOX", "claim": True, "vanished": None}),
    (CHANGES, {"mailboxes": "{0}", "sinces": "{0}"}),
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

    def __init__(self, database: Database, *, quota: QuotaLimits = NO_LIMITS) -> None:
        self._database = database
        self._quota = quota
        self._refreshes: Batches[tuple[MailboxId, ModSeq], Changes | None] = Batches(
            self._refresh, reactor=database.pool.reactor, in_flight_max=2, count_max=_REFRESHES_MAX
        )
        self._private: Batches[tuple[MailboxId, ModSeq, AccountId], Changes | None] = Batches(
            self._refresh_private, reactor=database.pool.reactor, in_flight_max=2, count_max=_REFRESHES_MAX
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
    async def find(self, account: AccountId, name: str, *, reader: AccountId | None = None) -> MailboxRow:
        """Read one mailbox. Raises `NoSuchMailbox`."""
        asked = {"account": account, "name": name}
        if reader is None:
            rows = await self._database.fetch(_FIND, asked)
        else:
            rows = await self._database.fetch(_FIND_PRIVATE, {**asked, "reader": reader})
        if not rows:
            raise NoSuchMailbox("the mailbox does not exist")
        return mailbox(rows[0])

    @deferred
    async def create(self, account: AccountId, mailbox_: NewMailbox) -> MailboxRow:
        """Create a mailbox and its missing parents. Raises `MailboxExists`, `SpecialUseTaken`, `LimitReached`."""
        asked = {
            "account": account,
            "name": mailbox_.name,
            "use": mailbox_.special_use,
            "subscribed": mailbox_.subscribed,
            "mailboxes_max": limits.MAILBOXES_MAX,
            "mailboxes_default": self._quota.mailboxes,
        }
        row = mailbox((await self._database.change(_CREATE, asked))[0])
        # The statement does not see the subscription that it made.
        return attrs.evolve(row, subscribed=row.subscribed or mailbox_.subscribed)

    @deferred
    async def furnish(self, account: AccountId, mailboxes: Sequence[NewMailbox]) -> None:
        """Create mailboxes of one level, unless the account has any besides INBOX; what is there stays as it is."""
        await self._database.call(
            "furnish_account",
            {
                "account": account,
                "names": [one.name for one in mailboxes],
                "uses": [one.special_use for one in mailboxes],
                "subscribed": [one.subscribed for one in mailboxes],
                "mailboxes_default": self._quota.mailboxes,
            },
        )

    @deferred
    async def set_special_use(self, mailbox_: MailboxId, use: str | None) -> None:
        """Give a mailbox a special use, or take it away. Raises `NoSuchMailbox`, `SpecialUseTaken`."""
        await self._database.call("set_special_use", {"mailbox": mailbox_, "use": use})

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
    async def open(
        self,
        account: AccountId,
        name: str,
        *,
        claim_recent: bool,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> Opened:
        """Read a mailbox with all its messages' UIDs and flags. Raises `NoSuchMailbox`.

        `claim_recent` (SELECT, not EXAMINE): later sessions will not be told that these are \\Recent.
        `vanished_since`: read also which UIDs left after this modseq.
        """
        # A lost answer claims \Recent for nobody: no harm, so that this may be repeated like any read.
        asked = {"account": account, "name": name, "claim": claim_recent, "vanished": vanished_since}
        if reader is None:
            rows = await self._database.fetch(OPEN, asked)
        else:
            rows = await self._database.fetch(OPEN_PRIVATE, {**asked, "reader": reader})
        if not rows:
            raise NoSuchMailbox("the mailbox does not exist")
        row = rows[0]
        found, recent_from, reach = as_octets(row[0])
        return Opened(
            mailbox=found,
            columns=columns(*row[1:5]),
            recent_from=recent_from,
            reach=reach,
            earlier=None if vanished_since is None else numbers(row[5], "I"),
        )

    @deferred
    async def changes(
        self,
        mailbox_: MailboxId,
        since: ModSeq,
        *,
        claim_recent: bool = False,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> Changes:
        """Read what changed after `since`, together with what other views ask at the moment.

        Raises `NoSuchMailbox` if it was deleted. The others as for `open`; who asks for them asks alone.
        """
        if claim_recent or vanished_since is not None:
            asked = {"mailbox": mailbox_, "since": since, "claim": claim_recent, "vanished": vanished_since}
            if reader is None:
                rows = await self._database.fetch(CHANGES_ALONE, asked)
            else:
                rows = await self._database.fetch(CHANGES_PRIVATE_ALONE, {**asked, "reader": reader})
            found = _changes(rows[0], earlier=vanished_since is not None) if rows else None
        elif reader is None:
            found = await self._refreshes.add((mailbox_, since))
        else:
            found = await self._private.add((mailbox_, since, reader))
        if found is None:
            raise NoSuchMailbox("the mailbox was deleted")
        return found

    @deferred
    async def _refresh(self, asked: "list[tuple[MailboxId, ModSeq]]") -> list[Changes | None]:
        parameters = {
            "mailboxes": integers(mailbox for mailbox, _ in asked),
            "sinces": integers(since for _, since in asked),
        }
        return _numbered(await self._database.fetch(CHANGES, parameters), len(asked))

    @deferred
    async def _refresh_private(self, asked: "list[tuple[MailboxId, ModSeq, AccountId]]") -> list[Changes | None]:
        parameters = {
            "mailboxes": integers(mailbox for mailbox, _, _ in asked),
            "sinces": integers(since for _, since, _ in asked),
            "readers": integers(reader for _, _, reader in asked),
        }
        return _numbered(await self._database.fetch(CHANGES_PRIVATE, parameters), len(asked))


def _numbered(rows: "Rows", count: int) -> list[Changes | None]:
    """Return the answers to requests 1 to `count`; None where the mailbox is gone."""
    found = {int.from_bytes(row[0], "big"): row for row in rows}
    return [_changes(found[number]) if number in found else None for number in range(1, count + 1)]


def _changes(row: "tuple[Any, ...]", *, earlier: bool = False) -> Changes:
    found, recent_from, reach = as_octets(row[1])
    return Changes(
        mailbox=found,
        columns=columns(*row[2:6]),
        vanished=numbers(row[6], "I"),
        recent_from=recent_from,
        whole=bool(row[7]),
        reach=reach,
        earlier=numbers(row[8], "I") if earlier else None,
    )
