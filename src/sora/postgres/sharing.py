"""Rights in mailboxes in PostgreSQL; the tables and what follows from them are in `deltas/0010_sharing.sql`."""

# ruff: noqa: S608  the pieces are constants of this folder

from collections.abc import Iterable
from typing import Any, Final

import psycopg2

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import AccountExists, NoSuchAccount, NoSuchMailbox
from sora.core.ids import AccountId, MailboxId
from sora.core.quota import NO_LIMITS, Limits
from sora.core.rights import Edit, Grant, Rights, canonical, parse
from sora.postgres.rows import MAILBOX_COLUMNS, MAILBOX_WIDTH, PRIVATE_COLUMNS, mailbox, strip
from sora.postgres.statement import Statement
from sora.postgres.work import Database, Transaction
from sora.store.grants import ANYONE, GROUP, Entry, Seen, Visible

_SEEN: Final = Statement("SELECT * FROM seen_as(%(reader)s, %(owner)s, %(name)s)")
_VISIBLE: Final = Statement(f"""
SELECT {MAILBOX_COLUMNS}, v.address, v.granted
  FROM visible_to(%(reader)s) AS v JOIN mailboxes AS b ON b.id = v.mailbox_id
""")
_VISIBLE_PRIVATE: Final = Statement(f"""
SELECT {PRIVATE_COLUMNS.format(reader="%(reader)s")}, v.address, v.granted
  FROM visible_to(%(reader)s) AS v JOIN mailboxes AS b ON b.id = v.mailbox_id
""")
_ENTRIES: Final = Statement("""
SELECT coalesce(a.address, '$' || o.name || '@' || o.domain, 'anyone') AS identifier, g.rights, g.negative
  FROM grants AS g
  LEFT JOIN addresses AS a ON a.account_id = g.account_id AND a.is_primary
  LEFT JOIN groups AS o ON o.id = g.group_id
 WHERE g.mailbox_id = %(mailbox)s ORDER BY coalesce(a.address, '$' || o.name || '@' || o.domain, 'anyone'), g.negative
""")
_DOMAIN_OF_BOX: Final = Statement("SELECT domain_of(account_id) FROM mailboxes WHERE id = %(mailbox)s")
_ACCOUNT: Final = Statement("""
SELECT a.account_id FROM addresses AS a JOIN accounts AS x ON x.id = a.account_id AND x.status <> 'deleted'
  JOIN addresses AS p ON p.account_id = a.account_id AND p.is_primary
 WHERE a.address = %(address)s AND split_part(p.address, '@', 2) = %(domain)s
""")
_GROUP: Final = Statement("SELECT id FROM groups WHERE name = %(name)s AND domain = %(domain)s")
_SET: Final = Statement("""
SELECT set_grant(%(mailbox)s, %(account)s, %(group)s, %(negative)s, %(edit)s, %(rights)s, %(entries_max)s)
""")
_CREATE_COMMON: Final = Statement("""
SELECT create_common(%(domain)s, %(name)s, %(creator)s, %(rights)s, %(mailboxes_max)s, %(mailboxes_default)s)
""")
_CREATE_GROUP: Final = Statement("INSERT INTO groups (domain, name) VALUES (%(domain)s, %(name)s) RETURNING id")
_DELETE_GROUP: Final = Statement("DELETE FROM groups WHERE domain = %(domain)s AND name = %(name)s RETURNING id")
_JOIN: Final = Statement("""
INSERT INTO group_members (group_id, account_id) VALUES (%(group)s, %(account)s) ON CONFLICT DO NOTHING
""")
_PART: Final = Statement("DELETE FROM group_members WHERE group_id = %(group)s AND account_id = %(account)s")
_GROUPS: Final = Statement("""
SELECT '$' || g.name || '@' || g.domain,
       ARRAY(SELECT a.address FROM group_members AS m
               JOIN addresses AS a ON a.account_id = m.account_id AND a.is_primary
              WHERE m.group_id = g.id ORDER BY a.address)
  FROM groups AS g WHERE %(domain)s::text IS NULL OR g.domain = %(domain)s ORDER BY g.name, g.domain
""")


class PostgresGrants:
    """`store.grants.Grants` on PostgreSQL."""

    def __init__(self, database: Database, *, quota: Limits = NO_LIMITS) -> None:
        self._database = database
        self._quota = quota

    @deferred
    async def seen(self, reader: AccountId, owner: str | None, name: str) -> Seen:
        """Find a mailbox by its owner's local part (None: of the domain itself) and name. Raises `NoSuchMailbox`."""
        named = {"reader": reader, "owner": None if owner is None else strip(owner), "name": strip(name)}
        rows = await self._database.fetch(_SEEN, named)
        if not rows:
            raise NoSuchMailbox("the mailbox does not exist")
        box, account, address, granted = rows[0]
        return Seen(MailboxId(box), AccountId(account), address, name, _grants(granted))

    @deferred
    async def visible(self, reader: AccountId, *, own_seen: bool = False) -> list[Visible]:
        """List the mailboxes of others that some grant concerns the reader in."""
        rows = await self._database.fetch(_VISIBLE_PRIVATE if own_seen else _VISIBLE, {"reader": reader})
        return [Visible(mailbox(row), row[MAILBOX_WIDTH], _grants(row[MAILBOX_WIDTH + 1])) for row in rows]

    @deferred
    async def entries(self, mailbox_: MailboxId) -> list[Entry]:
        """Read a mailbox's list, ascending by identifier, positive rights first; the owner is not in it."""
        rows = await self._database.fetch(_ENTRIES, {"mailbox": mailbox_})
        return [Entry(row[0], Grant(parse(row[1]), negative=row[2])) for row in rows]

    @deferred
    async def grant(self, mailbox_: MailboxId, identifier: str, edit: Edit, rights: Rights, *, negative: bool) -> None:
        """Change the rights of a canonical identifier. Raises as the interface says."""

        async def change(transaction: Transaction) -> None:
            domains = await transaction.fetch(_DOMAIN_OF_BOX, {"mailbox": mailbox_})
            if not domains:
                raise NoSuchMailbox("the mailbox does not exist")
            account = group = None
            if identifier.startswith(GROUP):
                group = await _group(transaction, identifier, domains[0][0])
            elif identifier != ANYONE:
                account = await _account(transaction, identifier, domains[0][0])
            parameters = {
                "mailbox": mailbox_,
                "account": account,
                "group": group,
                "negative": negative,
                "edit": edit.value,
                "rights": canonical(rights),
                "entries_max": limits.ACL_ENTRIES_MAX,
            }
            await transaction.fetch(_SET, parameters)

        await self._database.transact(change)

    @deferred
    async def create_common(self, domain: str | None, name: str, rights: Rights, creator: AccountId | None) -> None:
        """Create a mailbox that belongs to a domain. Raises `MailboxExists`, `LimitReached`, `OverQuota`."""
        parameters = {
            "domain": domain,
            "name": name,
            "creator": creator,
            "rights": canonical(rights),
            "mailboxes_max": limits.MAILBOXES_MAX,
            "mailboxes_default": self._quota.mailboxes,
        }
        await self._database.change(_CREATE_COMMON, parameters)

    @deferred
    async def create_group(self, group: str) -> None:
        """Create a group, written `$name@domain`. Raises `AccountExists`."""
        try:
            await self._database.change(_CREATE_GROUP, _named(group))
        except psycopg2.errors.UniqueViolation:
            raise AccountExists("the group exists") from None

    @deferred
    async def delete_group(self, group: str) -> None:
        """Delete a group with all that was granted to it. Raises `NoSuchAccount`."""
        if not await self._database.change(_DELETE_GROUP, _named(group)):
            raise NoSuchAccount("no such group")

    @deferred
    async def join(self, group: str, address: str, *, member: bool) -> None:
        """Make an account of the group's domain a member, or none. Raises `NoSuchAccount`."""

        async def change(transaction: Transaction) -> None:
            domain = _named(group)["domain"]
            parameters = {
                "group": await _group(transaction, group, domain),
                "account": await _account(transaction, address, domain),
            }
            await transaction.fetch(_JOIN if member else _PART, parameters)

        await self._database.transact(change)

    @deferred
    async def groups(self, domain: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
        """List groups with their members' addresses, both ascending."""
        rows = await self._database.fetch(_GROUPS, {"domain": domain})
        return [(row[0], tuple(row[1])) for row in rows]


def _grants(granted: Iterable[Any]) -> tuple[Grant, ...]:
    return tuple(Grant(parse(rights), negative=negative) for rights, negative in granted)


def _named(group: str) -> dict[str, str]:
    name, _, domain = group.removeprefix(GROUP).rpartition("@")
    return {"name": strip(name), "domain": strip(domain)}


async def _group(transaction: Transaction, group: str, domain: str) -> int:
    named = _named(group)
    rows = await transaction.fetch(_GROUP, named)
    if not rows or named["domain"] != domain:
        raise NoSuchAccount("no such group")
    return int(rows[0][0])


async def _account(transaction: Transaction, address: str, domain: str) -> int:
    rows = await transaction.fetch(_ACCOUNT, {"address": strip(address), "domain": domain})
    if not rows:
        raise NoSuchAccount("no such account")
    return int(rows[0][0])
