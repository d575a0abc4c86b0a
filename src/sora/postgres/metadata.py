"""Annotations in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Final

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import LimitReached
from sora.core.ids import AccountId, MailboxId
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.annotations import TOO_MUCH, Depth

_READ: Final = Statement("""
SELECT DISTINCT a.entry, a.value
  FROM annotations AS a JOIN unnest(%(entries)s::text[]) AS n (name)
    ON a.entry = n.name
       OR (%(depth)s <> '0' AND starts_with(a.entry, n.name || '/')
           AND (%(depth)s = 'infinity' OR position('/' IN substr(a.entry, length(n.name) + 2)) = 0))
 WHERE coalesce(a.mailbox_id, 0) = coalesce(%(mailbox)s::bigint, 0) AND coalesce(a.account_id, 0) IN (0, %(reader)s)
 ORDER BY a.entry
""")
_READ_MANY: Final = Statement("""
WITH named AS MATERIALIZED (
    SELECT a.mailbox_id, a.entry, a.value FROM annotations AS a
     WHERE coalesce(a.mailbox_id, 0) = ANY (%(mailboxes)s::bigint[]) AND coalesce(a.account_id, 0) IN (0, %(reader)s)
       AND EXISTS (SELECT FROM unnest(%(entries)s::text[]) AS n (name)
                    WHERE a.entry = n.name
                       OR (%(depth)s <> '0' AND starts_with(a.entry, n.name || '/')
                           AND (%(depth)s = 'infinity'
                                OR position('/' IN substr(a.entry, length(n.name) + 2)) = 0)))
), whole AS (SELECT sum(octet_length(entry) + octet_length(value)) > %(octets_max)s AS too_much FROM named)
SELECT named.* FROM named, whole WHERE NOT too_much
UNION ALL
SELECT NULL, NULL, NULL FROM whole WHERE too_much
""")
_WRITE: Final = Statement("""
SELECT annotate(%(mailbox)s, %(reader)s, %(entries)s::text[], %(vals)s::bytea[], %(entries_max)s, %(octets_max)s)
""")


class PostgresAnnotations:
    """`store.annotations.Annotations` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @deferred
    async def read(
        self, mailbox: MailboxId | None, reader: AccountId, entries: Sequence[str], depth: Depth
    ) -> dict[str, bytes]:
        """Read the named entries, and what is below them, of a mailbox or (None) of the server, ascending."""
        parameters = {"mailbox": mailbox, "reader": reader, "entries": list(entries), "depth": depth.value}
        return {row[0]: bytes(row[1]) for row in await self._database.fetch(_READ, parameters)}

    @deferred
    async def read_many(
        self, mailboxes: Sequence[MailboxId], reader: AccountId, entries: Sequence[str], depth: Depth = Depth.NOTHING
    ) -> dict[MailboxId, dict[str, bytes]]:
        """Read the named entries, and what is below them, of several mailboxes; those without any are absent.

        Raises `LimitReached`.
        """
        parameters = {
            "mailboxes": integers(mailboxes),
            "reader": reader,
            "entries": list(entries),
            "depth": depth.value,
            "octets_max": limits.METADATA_READ_MAX,
        }
        found: dict[MailboxId, dict[str, bytes]] = {}
        for mailbox, entry, value in await self._database.fetch(_READ_MANY, parameters):
            if mailbox is None:
                raise LimitReached(TOO_MUCH)
            found.setdefault(MailboxId(mailbox), {})[entry] = bytes(value)
        return found

    @deferred
    async def write(self, mailbox: MailboxId | None, reader: AccountId, values: Mapping[str, bytes | None]) -> None:
        """Set entries all or none; None removes one. Raises `NoSuchMailbox`, `TooManyAnnotations`."""
        parameters = {
            "mailbox": mailbox,
            "reader": reader,
            "entries": list(values),
            "vals": list(values.values()),
            "entries_max": limits.METADATA_ENTRIES_MAX,
            "octets_max": limits.METADATA_OCTETS_MAX,
        }
        await self._database.change(_WRITE, parameters)
