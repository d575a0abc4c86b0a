"""Quotas in PostgreSQL: read, set, and domains counted; what enforces them is in `deltas/0009_quota.sql`."""

from typing import Any, Final

from sora.aio import deferred
from sora.core.errors import NoSuchAccount
from sora.core.ids import AccountId
from sora.core.quota import Limits, Usage
from sora.postgres.statement import Statement
from sora.postgres.work import Database

_USAGE: Final = """
SELECT o.storage_max, o.messages_max, o.mailboxes_max, u.storage, u.messages, u.mailboxes
  FROM quotas_over(ARRAY[%(account)s::bigint], %(storage)s, %(messages)s, %(mailboxes)s) AS o
  JOIN accounts AS x ON x.id = o.account
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(b.size), 0)::bigint AS storage, coalesce(sum(b.messages), 0)::bigint AS messages,
              count(*) AS mailboxes FROM mailboxes AS b WHERE b.account_id = o.account) AS u
"""
_READ: Final = Statement(_USAGE)
_SET: Final = Statement("""
INSERT INTO quotas (account_id, storage_max, messages_max, mailboxes_max)
SELECT id, %(storage)s, %(messages)s, %(mailboxes)s FROM accounts WHERE id = %(account)s
    ON CONFLICT (account_id) DO UPDATE SET storage_max = excluded.storage_max, messages_max = excluded.messages_max,
                                           mailboxes_max = excluded.mailboxes_max
""")
_UNSET: Final = Statement("DELETE FROM quotas WHERE account_id = %(account)s")
_DOMAIN: Final = Statement("""
SELECT storage_max, messages_max, NULL::bigint, storage, messages, mailboxes FROM domain_quotas
 WHERE domain = %(domain)s
""")
_SET_DOMAIN: Final = Statement("""
INSERT INTO domain_quotas (domain, storage_max, messages_max) VALUES (%(domain)s, %(storage)s, %(messages)s)
    ON CONFLICT (domain) DO UPDATE SET storage_max = excluded.storage_max, messages_max = excluded.messages_max,
                                       counted_at = NULL
""")
_UNSET_DOMAIN: Final = Statement("DELETE FROM domain_quotas WHERE domain = %(domain)s")
_COUNT: Final = Statement("SELECT count_domains(%(older)s)")


class PostgresQuotas:
    """`store.quotas.Quotas` on PostgreSQL."""

    def __init__(self, database: Database, defaults: Limits) -> None:
        self._database = database
        self._defaults = {
            "storage": defaults.storage,
            "messages": defaults.messages,
            "mailboxes": defaults.mailboxes,
        }

    @deferred
    async def usage(self, account: AccountId) -> Usage:
        """Read what an account holds and may hold. Raises `NoSuchAccount`."""
        rows = await self._database.fetch(_READ, {"account": account, **self._defaults})
        if not rows:
            raise NoSuchAccount("the account does not exist")
        return _read(rows[0])

    @deferred
    async def limit(self, account: AccountId, limits: Limits | None) -> Usage:
        """Give an account limits of its own, or with None the defaults again. Raises `NoSuchAccount`."""
        if limits is None:
            await self._database.change(_UNSET, {"account": account})
        else:
            await self._database.change(_SET, {"account": account, **_parameters(limits)})
        return await self.usage(account)

    @deferred
    async def domain(self, domain: str) -> Usage:
        """Read what a domain may hold and held when it was counted last; no limits if it has none."""
        rows = await self._database.fetch(_DOMAIN, {"domain": domain})
        return _read(rows[0]) if rows else Usage()

    @deferred
    async def limit_domain(self, domain: str, limits: Limits | None) -> Usage:
        """Give a domain limits, or with None take them away; counts it."""
        if limits is None:
            await self._database.change(_UNSET_DOMAIN, {"domain": domain})
        else:
            await self._database.change(_SET_DOMAIN, {"domain": domain, **_parameters(limits)})
            await self.count_domains(older=0.0)
        return await self.domain(domain)

    @deferred
    async def count_domains(self, *, older: float) -> int:
        """Count the domains that have limits and were not counted for `older` seconds; returns how many."""
        rows = await self._database.change(_COUNT, {"older": older})
        return int(rows[0][0])


def _parameters(limits: Limits) -> dict[str, int | None]:
    return {"storage": limits.storage, "messages": limits.messages, "mailboxes": limits.mailboxes}


def _read(row: "tuple[Any, ...]") -> Usage:
    storage_max, messages_max, mailboxes_max, storage, messages, mailboxes = row
    limits = Limits(storage=storage_max, messages=messages_max, mailboxes=mailboxes_max)
    return Usage(limits=limits, storage=storage, messages=messages, mailboxes=mailboxes)
