"""The one object that holds everything of one database: `store.interfaces.Store` on PostgreSQL."""

from typing import Any

from sora.core.quota import NO_LIMITS, Limits
from sora.postgres.accounts import PostgresAccounts
from sora.postgres.audit import PostgresAudit
from sora.postgres.bodies import PostgresBodies
from sora.postgres.feed import PostgresFeed
from sora.postgres.mailboxes import PostgresMailboxes
from sora.postgres.messages import PostgresMessages
from sora.postgres.metadata import PostgresAnnotations
from sora.postgres.opening import SECURED
from sora.postgres.pool import Pool
from sora.postgres.quota import PostgresQuotas
from sora.postgres.rehearsal import rehearse
from sora.postgres.replica import ReplicatedMessages
from sora.postgres.settings import DatabaseSettings
from sora.postgres.sharing import PostgresGrants
from sora.postgres.text_index import PostgresTextIndexes
from sora.postgres.work import Database


class PostgresStore:
    """Everything of one migrated database; `start` opens the pool and the feed, `stop` closes both."""

    def __init__(
        self,
        pool: Pool,
        feed: PostgresFeed,
        *,
        standby: Pool | None = None,
        flags_wait_for_disk: bool = False,
        quota: Limits = NO_LIMITS,
    ) -> None:
        """Join them; `standby` serves what may be read from a server that lags behind.

        `flags_wait_for_disk`: whether a change of flags is acknowledged only once the disk has it; `quota`: what
        accounts may hold that have no quota of their own.
        """
        self.pool = pool
        self.standby = standby
        self.feed = feed
        self.database = Database(pool)
        self.accounts = PostgresAccounts(self.database)
        self.mailboxes = PostgresMailboxes(self.database, quota=quota)
        self.messages = PostgresMessages(self.database, flags_wait_for_disk=flags_wait_for_disk, quota=quota)
        if standby is not None:
            self.messages = ReplicatedMessages(
                self.database, Database(standby), flags_wait_for_disk=flags_wait_for_disk, quota=quota
            )
        self.bodies = PostgresBodies(self.database)
        self.audit = PostgresAudit(self.database)
        self.quotas = PostgresQuotas(self.database, quota)
        self.annotations = PostgresAnnotations(self.database)
        self.text_indexes = PostgresTextIndexes(self.database)
        self.grants = PostgresGrants(self.database, quota=quota)

    async def start(self) -> None:
        """Connect. Raises `DatabaseUnavailable` if no writable server answers."""
        await self.pool.start()
        await self.feed.start()
        if self.standby is not None:
            # While it cannot be reached, the primary serves.
            await self.standby.start(required=False)

    async def rehearse(self) -> None:
        """Make the first sessions' statements as quick as all others'."""
        await rehearse(self.pool)

    async def stop(self) -> None:
        """Let statements in flight finish, then close every connection."""
        await self.feed.stop()
        if self.standby is not None:
            await self.standby.stop()
        await self.pool.stop()


def open_store(
    settings: DatabaseSettings,
    reactor: Any,
    *,
    reading: DatabaseSettings | None = None,
    flags_wait_for_disk: bool = False,
    quota: Limits = NO_LIMITS,
) -> PostgresStore:
    """Build a store for a database that `migrate.migrate` has prepared; nothing connects before `start`.

    `reading` is the read endpoint: a standby of the same database.
    """
    standby = Pool(reading, reactor) if reading is not None else None
    return PostgresStore(
        Pool(settings, reactor, check=SECURED),
        PostgresFeed(settings, reactor),
        standby=standby,
        flags_wait_for_disk=flags_wait_for_disk,
        quota=quota,
    )
