"""Migrations: once, by one node at a time, and never by a program that is too old."""

from unittest import mock

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.aio import gather, sleep
from sora.core.errors import Busy, ConfigurationInvalid, DatabaseUnavailable
from sora.postgres import migrate
from sora.postgres.migrate import Delta
from sora.postgres.settings import DatabaseSettings
from tests.integration.database import server

ALL = [delta.version for delta in migrate.deltas()]
STEPS = [Delta(1, 1, "CREATE TABLE one (x int)"), Delta(2, 1, "CREATE TABLE two (x int)")]


class MigrateTests(unittest.TestCase):
    """An empty database becomes one that sora can use."""

    def setUp(self) -> None:
        name = server().create()
        self.addCleanup(server().drop, name)
        self.settings: DatabaseSettings = server().settings(name)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return server().execute(self.settings.name, statement)

    async def run_with(self, steps: list[Delta]) -> list[int]:
        with mock.patch.object(migrate, "deltas", lambda: steps):
            return await migrate.migrate(self.settings, reactor)

    async def test_an_empty_database_gets_all_deltas_and_a_second_run_none(self) -> None:
        self.assertEqual(await migrate.migrate(self.settings, reactor), ALL)
        self.assertEqual(await migrate.migrate(self.settings, reactor), [])
        self.assertEqual([row[0] for row in self.sql("SELECT version FROM schema_version ORDER BY 1")], ALL)

    async def test_every_table_says_what_a_row_is(self) -> None:
        await migrate.migrate(self.settings, reactor)
        silent = self.sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            " AND obj_description(oid, 'pg_class') IS NULL"
        )
        self.assertEqual(silent, [])

    async def test_two_nodes_at_once_migrate_once(self) -> None:
        nodes = [Deferred.fromCoroutine(migrate.migrate(self.settings, reactor)) for _ in range(2)]
        self.assertEqual(sorted(await gather(nodes)), [[], ALL])

    async def test_a_delta_that_fails_leaves_nothing_and_the_next_run_continues(self) -> None:
        broken = [STEPS[0], Delta(2, 1, "CREATE TABLE two (x int); SELECT 1 / 0")]
        with self.assertRaises(psycopg2.errors.DivisionByZero):
            await self.run_with(broken)
        self.assertEqual(self.sql("SELECT to_regclass('one')::text, to_regclass('two')::text"), [("one", None)])
        self.assertEqual(await self.run_with(STEPS), [2])

    async def test_a_node_killed_in_a_delta_is_followed_by_one_that_continues(self) -> None:
        running = Deferred.fromCoroutine(self.run_with([STEPS[0], Delta(2, 1, "SELECT pg_sleep(30)")]))
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not self.sql(kill):
            await sleep(reactor, 0.01)
        with self.assertRaises(DatabaseUnavailable):
            await running
        self.assertEqual(await self.run_with(STEPS), [2])

    async def test_a_node_that_takes_too_long_makes_the_others_give_up(self) -> None:
        other = server().connect(self.settings.name)
        self.addCleanup(other.close)
        other.cursor().execute("SELECT pg_advisory_lock(%s)", (migrate._LOCK,))
        with self.assertRaises(Busy):
            await migrate.migrate(self.settings, reactor, wait_max=0.05)

    async def test_a_program_too_old_for_the_database_is_refused_in_one_sentence(self) -> None:
        await self.run_with([*STEPS, Delta(3, 3, "SELECT 1")])
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.run_with(STEPS)
        self.assertEqual(len(caught.exception.complaints), 1)
        self.assertIn("needs a sora that knows 3", str(caught.exception))

    async def test_an_older_program_may_use_a_newer_database_that_says_so(self) -> None:
        await self.run_with([*STEPS, Delta(3, 1, "SELECT 1")])
        self.assertEqual(await self.run_with(STEPS), [])

    async def test_uidvalidity_starts_at_the_time_of_the_migration(self) -> None:
        await migrate.migrate(self.settings, reactor)
        rows = self.sql("SELECT nextval('uid_validities') - extract(epoch FROM now())")
        self.assertLess(abs(rows[0][0]), 60)


class DeltaTests(unittest.SynchronousTestCase):
    """The files themselves."""

    def test_versions_have_no_gaps_and_compat_never_exceeds_them(self) -> None:
        deltas = migrate.deltas()
        self.assertEqual([delta.version for delta in deltas], list(range(1, len(deltas) + 1)))
        self.assertEqual([delta.version for delta in deltas if delta.compat_version > delta.version], [])
