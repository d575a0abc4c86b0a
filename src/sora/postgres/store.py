"""The one object that holds everything of one database: `store.interfaces.Store` on PostgreSQL."""

from typing import Any

from sora.postgres.accounts import PostgresAccounts
from sora.postgres.audit import PostgresAudit
from sora.postgres.bodies import PostgresBodies
from sora.postgres.feed import PostgresFeed
from sora.postgres.mailboxes import PostgresMailboxes
from sora.postgres.messages import PostgresMessages
from sora.postgres.pool import Pool
from sora.postgres.settings import DatabaseSettings
from sora.postgres.work import Database


class PostgresStore:
    """Everything of one migrated database; `start` opens the pool and the feed, `stop` closes both."""

    def __init__(self, pool: Pool, feed: PostgresFeed) -> None:
        self.pool = pool
        self.feed = feed
        self.database = Database(pool)
        self.accounts = PostgresAccounts(self.database)
        self.mailboxes = PostgresMailboxes(self.database)
        self.messages = PostgresMessages(self.database)
        self.bodies = PostgresBodies(self.database)
        self.audit = PostgresAudit(self.database)

    async def start(self) -> None:
        """Connect. Raises `DatabaseUnavailable` if no writable server answers."""
        await self.pool.start()
        await self.feed.start()

    async def stop(self) -> None:
        """Let statements in flight finish, then close every connection."""
        await self.feed.stop()
        await self.pool.stop()


def open_store(settings: DatabaseSettings, reactor: Any) -> PostgresStore:
    """Build a store for a database that `migrate.migrate` has prepared; nothing connects before `start`."""
    return PostgresStore(Pool(settings, reactor), PostgresFeed(settings, reactor))
