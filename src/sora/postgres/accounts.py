"""Accounts, addresses and credentials in PostgreSQL. Lookups of one reactor turn are one statement."""

# ruff: noqa: S608  the pieces are constants of this folder

from collections.abc import Sequence
from typing import Final

import psycopg2
from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core.errors import AccountExists, NoSuchAccount
from sora.core.ids import AccountId, MailboxId
from sora.postgres.batch import Batches
from sora.postgres.rows import strip
from sora.postgres.statement import Statement
from sora.postgres.work import Database
from sora.store.model import AccountRow, AccountStatus, Credential, Login, NewMailbox, Recipient

_LOGIN: Final = Statement("""
SELECT a.address, x.id, p.address, x.status, c.ids, c.hashes,
       NOT EXISTS (SELECT FROM mailboxes WHERE account_id = x.id AND name <> 'INBOX')
  FROM addresses AS a
  JOIN accounts AS x ON x.id = a.account_id
  JOIN addresses AS p ON p.account_id = a.account_id AND p.is_primary
  CROSS JOIN LATERAL (
       SELECT array_agg(id ORDER BY id) AS ids, array_agg(hash ORDER BY id) AS hashes
         FROM credentials WHERE account_id = x.id) AS c
 WHERE a.address = ANY (%(addresses)s::text[])
""")
ASKED_FIRST: Final = ((_LOGIN, {"addresses": [""]}),)
_RECIPIENTS: Final = Statement("""
SELECT a.address, x.id, p.address, x.status, b.id
  FROM addresses AS a
  JOIN accounts AS x ON x.id = a.account_id
  JOIN addresses AS p ON p.account_id = a.account_id AND p.is_primary
  JOIN mailboxes AS b ON b.account_id = x.id AND b.name = 'INBOX'
 WHERE a.address = ANY (%(addresses)s::text[]) AND x.status <> 'deleted'
""")
_ROWS: Final = """
SELECT x.id, p.address,
       ARRAY(SELECT address FROM addresses WHERE account_id = x.id AND NOT is_primary ORDER BY address),
       x.status, x.created_at, t.mailboxes, t.messages, t.size
  FROM addresses AS p
  JOIN accounts AS x ON x.id = p.account_id
  CROSS JOIN LATERAL (
       SELECT count(*) AS mailboxes, coalesce(sum(messages), 0) AS messages, coalesce(sum(size), 0)::bigint AS size
         FROM mailboxes WHERE account_id = x.id) AS t
"""
_LISTED: Final = Statement(
    _ROWS
    + """
 WHERE p.is_primary AND p.address > %(after)s
   AND (%(domain)s::text IS NULL OR split_part(p.address, '@', 2) = %(domain)s)
 ORDER BY p.address LIMIT %(limit)s
"""
)
_ONE: Final = Statement(
    _ROWS
    + """
 WHERE p.is_primary AND p.account_id = (SELECT account_id FROM addresses WHERE address = %(address)s)
"""
)
_CREATE: Final = Statement("""
WITH account AS (
    INSERT INTO accounts DEFAULT VALUES RETURNING id
), named AS (
    INSERT INTO addresses (address, account_id, is_primary)
    SELECT address, account.id, n = 1 FROM account, unnest(%(addresses)s::text[]) WITH ORDINALITY AS u (address, n)
), opened AS (
    INSERT INTO credentials (account_id, hash) SELECT id, %(hash)s FROM account
), boxes AS (
    INSERT INTO mailboxes (account_id, name, special_use)
    SELECT account.id, name, use
      FROM account, unnest(%(names)s::text[], %(uses)s::text[]) WITH ORDINALITY AS u (name, use, n) ORDER BY n
), subscribed AS (
    INSERT INTO subscriptions (account_id, name)
    SELECT account.id, name FROM account, unnest(%(subscribed)s::text[]) AS u (name)
)
SELECT id FROM account
""")
_SET_PASSWORD: Final = Statement("""
WITH gone AS (DELETE FROM credentials WHERE account_id = %(account)s)
INSERT INTO credentials (account_id, hash) SELECT id, %(hash)s FROM accounts WHERE id = %(account)s RETURNING id
""")
_REPLACE_HASH: Final = Statement("""
UPDATE credentials SET hash = %(new)s WHERE id = %(credential)s AND hash = %(old)s
""")
_ADD_ALIAS: Final = Statement("""
INSERT INTO addresses (address, account_id, is_primary) SELECT %(address)s, id, false FROM accounts
 WHERE id = %(account)s RETURNING account_id
""")
_REMOVE_ALIAS: Final = Statement("""
DELETE FROM addresses WHERE address = %(address)s AND account_id = %(account)s AND NOT is_primary RETURNING address
""")
_SET_STATUS: Final = Statement("""
UPDATE accounts SET status = %(status)s,
       deleted_at = CASE WHEN %(status)s = 'deleted' THEN coalesce(deleted_at, now()) END
 WHERE id = %(account)s RETURNING id
""")
_BATCH_MAX: Final = 200


class PostgresAccounts:
    """`store.interfaces.Accounts` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        reactor = database.pool.reactor
        self._logins: Batches[str, Login | None] = Batches(
            self._send_logins, reactor=reactor, in_flight_max=2, count_max=_BATCH_MAX
        )
        self._resolutions: Batches[Sequence[str], dict[str, Recipient]] = Batches(
            self._send_recipients, reactor=reactor, in_flight_max=2, count_max=_BATCH_MAX
        )

    def login(self, address: str) -> "Deferred[Login | None]":
        """Find the account that an address opens, with its credentials; deleted accounts included."""
        return self._logins.add(strip(address))

    @deferred
    async def _send_logins(self, addresses: list[str]) -> list[Login | None]:
        rows = await self._database.fetch(_LOGIN, {"addresses": list(dict.fromkeys(addresses))})
        found = {
            row[0]: Login(
                AccountId(row[1]),
                row[2],
                AccountStatus(row[3]),
                tuple(Credential(id, hash) for id, hash in zip(row[4] or (), row[5] or (), strict=True)),
                bare=row[6],
            )
            for row in rows
        }
        return [found.get(address) for address in addresses]

    def recipients(self, addresses: Sequence[str]) -> "Deferred[dict[str, Recipient]]":
        """Resolve addresses (aliases too); unknown and deleted ones are absent from the answer."""
        return self._resolutions.add([strip(address) for address in addresses])

    @deferred
    async def _send_recipients(self, asked: list[Sequence[str]]) -> list[dict[str, Recipient]]:
        every = list({address: None for addresses in asked for address in addresses})
        rows = await self._database.fetch(_RECIPIENTS, {"addresses": every})
        found = {row[0]: Recipient(AccountId(row[1]), row[2], AccountStatus(row[3]), MailboxId(row[4])) for row in rows}
        return [{address: found[address] for address in addresses if address in found} for addresses in asked]

    @deferred
    async def create(
        self, address: str, password_hash: str, mailboxes: Sequence[NewMailbox], *, aliases: Sequence[str] = ()
    ) -> AccountId:
        """Create an account with its first mailboxes. Raises `AccountExists` if any address is taken."""
        if len({address, *aliases}) != 1 + len(aliases):
            raise AccountExists("an address is named twice")
        uses = _with_parents(mailboxes)
        try:
            rows = await self._database.change(
                _CREATE,
                {
                    "addresses": [address, *aliases],
                    "hash": password_hash,
                    "names": list(uses),
                    "uses": list(uses.values()),
                    "subscribed": [mailbox.name for mailbox in mailboxes if mailbox.subscribed],
                },
            )
        except psycopg2.errors.UniqueViolation:
            raise AccountExists("an address is taken") from None
        return AccountId(rows[0][0])

    @deferred
    async def rows(self, *, after: str = "", limit: int = 1000, domain: str | None = None) -> list[AccountRow]:
        """List accounts, ascending by address, those after `after`; deleted ones included."""
        rows = await self._database.fetch(_LISTED, {"after": after, "limit": limit, "domain": domain})
        return [_account(row) for row in rows]

    @deferred
    async def row(self, address: str) -> AccountRow:
        """Read one account by any of its addresses. Raises `NoSuchAccount`."""
        rows = await self._database.fetch(_ONE, {"address": strip(address)})
        if not rows:
            raise NoSuchAccount("no account has this address")
        return _account(rows[0])

    @deferred
    async def set_password(self, account: AccountId, password_hash: str) -> None:
        """Replace all credentials of the account by one."""
        if not await self._database.change(_SET_PASSWORD, {"account": account, "hash": password_hash}):
            raise NoSuchAccount("the account does not exist")

    @deferred
    async def replace_hash(self, credential: int, old_hash: str, new_hash: str) -> None:
        """Store a stronger hash of the same secret, unless it changed meanwhile."""
        await self._database.change(_REPLACE_HASH, {"credential": credential, "old": old_hash, "new": new_hash})

    @deferred
    async def add_alias(self, account: AccountId, address: str) -> None:
        """Give the account another address. Raises `AccountExists`."""
        try:
            rows = await self._database.change(_ADD_ALIAS, {"account": account, "address": address})
        except psycopg2.errors.UniqueViolation:
            raise AccountExists("the address is taken") from None
        if not rows:
            raise NoSuchAccount("the account does not exist")

    @deferred
    async def remove_alias(self, account: AccountId, address: str) -> None:
        """Take an address that is not the primary one away. Raises `NoSuchAccount`."""
        if not await self._database.change(_REMOVE_ALIAS, {"account": account, "address": address}):
            raise NoSuchAccount("the account has no such alias")

    @deferred
    async def set_status(self, account: AccountId, status: AccountStatus) -> None:
        """Suspend, reactivate or delete; deletion is completed by the collector after the grace."""
        if not await self._database.change(_SET_STATUS, {"account": account, "status": status.value}):
            raise NoSuchAccount("the account does not exist")


def _with_parents(mailboxes: Sequence[NewMailbox]) -> dict[str, str | None]:
    """Return the special use of each mailbox and of each missing parent, parents first."""
    uses: dict[str, str | None] = {}
    for mailbox in mailboxes:
        levels = mailbox.name.split("/")
        for depth in range(1, len(levels)):
            uses.setdefault("/".join(levels[:depth]), None)
        uses[mailbox.name] = mailbox.special_use
    return uses


def _account(row: "tuple[object, ...]") -> AccountRow:
    id, address, aliases, status, created_at, mailboxes, messages, size = row
    return AccountRow(
        id=AccountId(id),  # type: ignore[arg-type]
        address=address,  # type: ignore[arg-type]
        aliases=tuple(aliases),  # type: ignore[arg-type]
        status=AccountStatus(status),
        created_at=created_at,  # type: ignore[arg-type]
        mailboxes=mailboxes,  # type: ignore[arg-type]
        messages=messages,  # type: ignore[arg-type]
        size=size,  # type: ignore[arg-type]
    )
