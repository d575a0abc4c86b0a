"""U4: a migration that is killed at any of its steps is continued by the next start, and only once.

The proxy shows each step: a program that is killed leaves what a connection that ends leaves, and PostgreSQL does not
know the one from the other. One real SIGKILL of a real server shows that.
"""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora import aio
from sora.core.errors import SoraError
from sora.postgres import migrate
from sora.postgres.settings import DatabaseSettings
from sora.postgres.store import open_store
from tests.faults.cut import HOST, Act, Cut, Messages, Side, Strike
from tests.faults.world import LONG, World
from tests.integration.database import PORT, server

VERSIONS = [delta.version for delta in migrate.deltas()]
RECORD = rb"INSERT INTO schema_version"


class MigrationTests(unittest.TestCase):
    """An empty database behind the proxy."""

    timeout = 120

    def setUp(self) -> None:
        self.name = server().create()
        self.addCleanup(server().drop, self.name)
        self.cut = Cut(reactor, f"{server().directory}/.s.PGSQL.{PORT}", framing=Messages)
        self.cut.start()
        self.addCleanup(self.cut.stop)

    def through(self) -> DatabaseSettings:
        """Return how the program reaches the database through the proxy."""
        return server().settings(self.name, socket_dir=None, hosts=(HOST,), port=self.cut.port)

    def applied(self) -> list[int]:
        """Return the deltas that the database has."""
        if server().execute(self.name, "SELECT to_regclass('schema_version')") == [(None,)]:
            return []
        return [row[0] for row in server().execute(self.name, "SELECT version FROM schema_version ORDER BY 1")]

    async def cut_at(self, strike: Strike) -> None:
        """Migrate and have it cut short."""
        self.cut.add(strike)
        with self.assertRaises(SoraError):
            await migrate.migrate(self.through(), reactor)
        self.assertTrue(strike.struck.done)
        self.cut.clear()

    async def test_u4_cut_before_and_after_each_commit_it_continues_where_it_was(self) -> None:
        for number, version in enumerate(VERSIONS):
            # Everything of the step is done, but it is not committed.
            await self.cut_at(Strike(Act.CUT, Side.ASKED, rb"^COMMIT"))
            self.assertEqual(self.applied(), VERSIONS[:number], version)
            # It is committed, and the program does not hear of it.
            await self.cut_at(Strike(Act.CUT, Side.ANSWERED, rb"^COMMIT"))
            self.assertEqual(self.applied(), VERSIONS[: number + 1], version)
        self.assertEqual(await migrate.migrate(self.through(), reactor), [])
        await self.works()

    async def test_u4_cut_in_the_middle_of_each_step_it_begins_the_step_again(self) -> None:
        for number, version in enumerate(VERSIONS):
            await self.cut_at(Strike(Act.CUT, Side.ANSWERED, RECORD))
            self.assertEqual(self.applied(), VERSIONS[:number], version)
            await self.cut_at(Strike(Act.CUT, Side.ASKED, RECORD, skip=1 if number + 1 < len(VERSIONS) else 0))
            if number + 1 == len(VERSIONS):
                break
            self.assertEqual(self.applied(), VERSIONS[: number + 1], version)
        self.assertEqual(await migrate.migrate(self.through(), reactor), VERSIONS[-1:])
        await self.works()

    async def works(self) -> None:
        """See that the result is a database like any other."""
        store = open_store(server().settings(self.name), reactor)
        await store.start()
        try:
            self.assertEqual(await store.audit.findings(), [])
            self.assertIsNone(await store.accounts.login("anna@example.org"))
        finally:
            await store.stop()


class KilledServerTests(unittest.TestCase):
    """A real server, killed while it migrates."""

    timeout = 120
    if LONG:
        skip = LONG

    def setUp(self) -> "Deferred[None]":
        self.world = World(reactor, workers=0)
        self.addCleanup(lambda: aio.start(self.world.stop()))
        return aio.start(self.world.prepare())

    async def test_u4_a_server_killed_in_a_migration_is_started_again(self) -> None:
        assert self.world.cut is not None
        for skip in (2, 5):
            strike = self.world.cut.add(Strike(Act.STALL, Side.ANSWERED, RECORD, skip=skip))
            starting: Any = aio.start(self.world.start_server())
            starting.addErrback(lambda _: None)
            await strike.struck.wait()
            await self.world.kill(self.world.processes())
            self.world.cut.sever()
            self.world.cut.clear()
            await starting
        await self.world.start_server()
        self.assertEqual([row[0] for row in self.world.sql("SELECT version FROM schema_version ORDER BY 1")], VERSIONS)
        self.assertEqual(await self.world.check(), [])
