"""The seam to PostgreSQL: connections that die, hang, are cancelled, run out, or come back in a transaction."""

import contextlib
import os
import signal
import socket
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.trial import unittest

from sora.aio import deferred, sleep
from sora.core.errors import Busy, CommitUnknown, DatabaseUnavailable
from sora.postgres import pool
from sora.postgres.adapter import Connection
from sora.postgres.places import resolve
from sora.postgres.pool import Pool
from sora.postgres.settings import DatabaseSettings
from sora.postgres.statement import Statement
from sora.postgres.work import Database, Transaction
from tests.integration.database import DatabaseTests, server

SERIALIZATION = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
SLEEPERS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event = 'PgSleep' AND state = 'active'"
)


def _go_on(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


class AdapterTests(DatabaseTests):
    """One pool on one database."""

    pool_max = 2

    @property
    def database(self) -> Database:
        return self.store.database

    @property
    def pool(self) -> Pool:
        return self.store.pool

    async def until(self, what: Any) -> None:
        """Wait until something observable holds; the test's own timeout is the limit."""
        while not what():
            await sleep(reactor, 0.01)

    def kill(self, pattern: str = "%") -> None:
        """End the store's pooled server processes, as an administrator would."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'sora' AND query NOT LIKE 'LISTEN%%' AND query LIKE %s"
            " AND pid <> pg_backend_pid()",
            (pattern,),
        )

    async def test_a_server_that_answers_nothing_is_given_up(self) -> None:
        self.patch(pool, "_LOOK_EVERY", 0.05)
        store = await self.open(pool_max=1, silence_max=0.3)
        for statement in ("read", "change"):
            rows = await store.database.fetch("SELECT pg_backend_pid()")
            os.kill(rows[0][0], signal.SIGSTOP)
            self.addCleanup(_go_on, rows[0][0])
            if statement == "read":
                # Reading is tried again, on another connection.
                self.assertNotEqual(await store.database.fetch("SELECT pg_backend_pid()"), rows)
            else:
                with self.assertRaises(CommitUnknown):
                    await store.database.change("DELETE FROM bodies")
        self.assertEqual(store.pool.counters.lost, 2)

    async def test_an_sql_error_is_raised_and_the_connection_goes_on(self) -> None:
        with self.assertRaises(psycopg2.errors.DivisionByZero):
            await self.database.fetch("SELECT 1 / 0")
        self.assertEqual(await self.database.fetch("SELECT 1"), [(1,)])
        self.assertEqual(self.pool.counters.lost, 0)

    async def test_a_parameter_psycopg2_cannot_send_is_an_error_and_the_connection_goes_on(self) -> None:
        with self.assertRaises(ValueError):
            await self.database.fetch("SELECT %(x)s", {"x": "a\0b"})
        self.assertEqual((await self.database.fetch("SELECT 1"), self.pool.in_use), ([(1,)], 0))

    async def test_eight_megabytes_go_there_and_back(self) -> None:
        data = os.urandom(8 << 20)
        rows = await self.database.fetch("SELECT %(data)s::bytea", {"data": psycopg2.Binary(data)})
        self.assertEqual(bytes(rows[0][0]), data)

    async def test_a_killed_idle_connection_is_replaced_unnoticed(self) -> None:
        await self.database.fetch("SELECT 1")
        self.kill()
        self.assertEqual(await self.database.fetch("SELECT 2"), [(2,)])
        await self.until(lambda: self.pool.counters.lost >= 1)

    async def test_a_read_whose_connection_is_killed_is_tried_once_more(self) -> None:
        reading = self.database.fetch("SELECT 3 FROM pg_sleep(0.5)")
        await self.until(lambda: self.sql(SLEEPERS)[0][0] > 0)
        self.kill("%pg_sleep%")
        self.assertEqual(await reading, [(3,)])

    async def test_d5_a_change_whose_connection_is_killed_is_of_unknown_outcome_and_not_repeated(self) -> None:
        changing = self.database.change("SELECT 3 FROM pg_sleep(30)")
        await self.until(lambda: self.sql(SLEEPERS)[0][0] > 0)
        trips = self.pool.counters.round_trips
        self.kill("%pg_sleep%")
        with self.assertRaises(CommitUnknown):
            await changing
        self.assertEqual(self.pool.counters.round_trips, trips)

    async def test_d6_a_cancelled_statement_is_cancelled_in_the_server_and_its_connection_is_used_again(self) -> None:
        await self.database.fetch("SELECT 1")
        waiting = self.database.fetch("SELECT pg_sleep(30)")
        await self.until(lambda: self.sql(SLEEPERS)[0][0] > 0)
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await self.until(lambda: self.pool.in_use == 0)
        self.assertEqual(self.sql(SLEEPERS), [(0,)])
        self.assertEqual((self.pool.counters.cancelled, self.pool.counters.lost), (1, 0))
        self.assertEqual(await self.database.fetch("SELECT 1"), [(1,)])

    async def test_d6_a_transaction_that_an_error_left_open_is_rolled_back_before_anyone_else_comes(self) -> None:
        with self.assertRaises(psycopg2.errors.DivisionByZero):
            await self.pool.run(lambda c: c.query("BEGIN; CREATE TABLE t (x int); SELECT 1 / 0"))
        await self.pool.run(lambda c: c.query("BEGIN; CREATE TABLE t (x int)"))
        await self.until(lambda: self.pool.in_use == 0)
        self.assertEqual(self.pool.counters.rolled_back, 2)
        self.assertEqual(self.sql("SELECT to_regclass('t')"), [(None,)])
        self.assertEqual(
            self.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), [(0,)]
        )

    async def test_d6_a_cancelled_transaction_is_rolled_back(self) -> None:
        async def body(transaction: Transaction) -> None:
            await transaction.fetch("CREATE TABLE t (x int)")
            await transaction.fetch("SELECT pg_sleep(30)")

        working = self.database.transact(body)
        await self.until(lambda: self.sql(SLEEPERS)[0][0] > 0)
        working.cancel()
        with self.assertRaises(CancelledError):
            await working
        await self.until(lambda: self.pool.in_use == 0)
        self.assertEqual(self.sql("SELECT to_regclass('t')"), [(None,)])

    async def test_who_waits_too_long_for_a_connection_is_told_that_we_are_busy(self) -> None:
        store = await self.open(pool_max=1, pool_wait_max=0.1)
        holding = store.database.fetch("SELECT pg_sleep(30)")
        with self.assertRaises(Busy):
            await store.database.fetch("SELECT 1")
        holding.cancel()
        with self.assertRaises(CancelledError):
            await holding
        await self.until(lambda: store.pool.in_use == 0)
        self.assertEqual(await store.database.fetch("SELECT 1"), [(1,)])

    async def test_a_full_queue_refuses_at_once(self) -> None:
        store = await self.open(pool_max=1, pool_queue_max=1)
        first, second = (store.database.fetch("SELECT pg_sleep(0.1)") for _ in range(2))
        with self.assertRaises(Busy):
            await store.database.fetch("SELECT 1")
        await gatherResults([first, second])

    async def test_who_waits_is_served_in_the_order_of_arrival_and_may_leave_the_queue(self) -> None:
        store = await self.open(pool_max=1)
        order: list[int] = []
        waits = [store.database.fetch("SELECT 1").addCallback(lambda _, n=n: order.append(n)) for n in range(5)]
        waits[2].addErrback(lambda failure: failure.trap(CancelledError))
        waits[2].cancel()
        await gatherResults(waits)
        self.assertEqual(order, [0, 1, 3, 4])

    async def test_no_more_connections_are_opened_than_allowed(self) -> None:
        await gatherResults([self.database.fetch("SELECT pg_sleep(0.01)") for _ in range(20)])
        self.assertLessEqual(len(self.pool.connections), 2)
        self.assertEqual(self.pool.in_use, 0)

    async def test_dead_connections_leave_nothing_in_the_reactor_and_no_descriptor(self) -> None:
        await gatherResults([self.database.fetch("SELECT pg_sleep(0.02)") for _ in range(2)])
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            self.kill()
            await self.database.fetch("SELECT 1")
        await self.until(lambda: self.pool.counters.lost >= 3 and len(os.listdir("/proc/self/fd")) <= before)
        watched = [one for one in reactor.getReaders() if isinstance(one, Connection)]
        self.assertEqual([one for one in watched if not one.alive], [])

    async def test_a_statement_is_prepared_once_on_each_connection(self) -> None:
        store = await self.open(pool_max=1)
        statement = Statement("SELECT %(x)s::integer + %(x)s::integer, '%%'")
        for number in (1, 2):
            self.assertEqual(await store.database.fetch(statement, {"x": number}), [(2 * number, "%")])
        names = await store.database.fetch("SELECT name FROM pg_prepared_statements")
        self.assertEqual(names, [(statement.name,)])
        self.assertEqual(store.pool.counters.round_trips, 3)

    async def test_prepared_names_that_were_forgotten_do_no_harm(self) -> None:
        store = await self.open(pool_max=1)
        statement = Statement("SELECT %(x)s::integer")
        await store.database.fetch(statement, {"x": 1})
        await store.database.fetch("DEALLOCATE ALL")
        self.assertEqual(await store.database.change(statement, {"x": 2}), [(2,)])
        self.assertEqual(await store.database.fetch(statement, {"x": 3}), [(3,)])

    async def test_interactions_may_be_coroutines_and_are_rolled_back_on_errors(self) -> None:
        async def create(cursor: Any, fail: bool) -> str:
            await cursor.execute("CREATE TABLE t (x int)")
            if fail:
                raise RuntimeError("no")
            return "done"

        with self.assertRaises(RuntimeError):
            await self.pool.runInteraction(create, True)
        self.assertEqual(self.sql("SELECT to_regclass('t')"), [(None,)])
        self.assertEqual(await self.pool.runInteraction(create, False), "done")
        self.assertEqual(await self.pool.runQuery("SELECT count(*) FROM t"), [(0,)])
        await self.pool.runOperation("DROP TABLE t")

    async def test_a_transaction_is_run_again_after_a_serialization_failure_and_ends_once(self) -> None:
        runs, ended = [], []

        async def body(transaction: Transaction) -> int:
            runs.append(1)
            await transaction.fetch("CREATE TABLE IF NOT EXISTS t (x int)")
            if len(runs) < 3:
                await transaction.fetch(SERIALIZATION)
            return len(runs)

        self.assertEqual(await self.database.transact(body, after_commit=ended.append), 3)
        self.assertEqual(ended, [3])
        self.sql("DROP TABLE t")

    async def test_d5_a_commit_whose_answer_is_lost_is_of_unknown_outcome(self) -> None:
        async def body(transaction: Transaction) -> None:
            await transaction.fetch("CREATE TEMPORARY TABLE t (x int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
            await transaction.fetch(
                "CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'"
            )
            await transaction.fetch(
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION pg_temp.slow()"
            )
            await transaction.fetch("INSERT INTO t VALUES (1)")

        ended: list[None] = []
        working = self.database.transact(body, after_commit=ended.append)
        await self.until(lambda: self.sql("SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"))
        self.kill("COMMIT")
        with self.assertRaises(CommitUnknown):
            await working
        self.assertEqual(ended, [])

    async def test_a_statement_over_its_time_is_ended(self) -> None:
        store = await self.open(statement_timeout=0.1)
        with self.assertRaises(Busy):
            await store.database.fetch("SELECT pg_sleep(30)")

    async def test_a_server_that_went_away_is_told_at_once_and_found_again(self) -> None:
        server().halt()
        try:
            for _ in range(3):
                with self.assertRaises(DatabaseUnavailable):
                    await self.database.fetch("SELECT 1")
        finally:
            server().start()
        answered = False
        while not answered:
            try:
                answered = await self.database.fetch("SELECT 1") == [(1,)]
            except DatabaseUnavailable:
                await sleep(reactor, 0.02)
        await self.until(lambda: self.store.feed.connected)
        self.flushLoggedErrors(DatabaseUnavailable)


class OpeningTests(DatabaseTests):
    """Finding a server."""

    async def rows(self, **changed: Any) -> Any:
        settings = server().settings(self.settings.name, **changed)
        pool = Pool(settings, reactor)
        try:
            await pool.start()
            return await pool.query("SELECT 1")
        finally:
            await pool.stop()

    async def test_the_next_host_is_tried_when_one_does_not_answer(self) -> None:
        directory = str(server().directory)
        self.assertEqual(await self.rows(socket_dir=None, hosts=("/nowhere", directory)), [(1,)])

    async def test_a_server_that_takes_no_writes_is_not_used(self) -> None:
        self.sql(f"ALTER DATABASE {self.settings.name} SET default_transaction_read_only = on")
        self.addCleanup(server().execute, "postgres", f"ALTER DATABASE {self.settings.name} RESET ALL")
        with self.assertRaisesRegex(DatabaseUnavailable, "read-only"):
            await self.rows()

    async def test_a_host_that_accepts_and_says_nothing_is_given_up(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            before = len(reactor.getReaders())
            with self.assertRaisesRegex(DatabaseUnavailable, "in time"):
                await self.rows(
                    socket_dir=None, hosts=("127.0.0.1",), port=silent.getsockname()[1], connect_timeout=0.1
                )
            self.assertEqual(len(reactor.getReaders()), before)

    async def test_a_wrong_database_is_named_in_the_error(self) -> None:
        with self.assertRaisesRegex(DatabaseUnavailable, "does not exist"):
            await Pool(server().settings("nobody_made_this"), reactor).start()


class _Resolver:
    """A name resolver that knows one name."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses
        self.nameResolver = self

    def resolveHostName(self, receiver: Any, host: str) -> None:  # noqa: N802
        receiver.resolutionBegan(None)
        for address in self.addresses.get(host, []):
            receiver.addressResolved(type("Address", (), {"host": address}))
        receiver.resolutionComplete()


class PlaceTests(unittest.SynchronousTestCase):
    """Names are resolved by Twisted, never by libpq."""

    @deferred
    async def resolved(self, host: str) -> list[dict[str, str]]:
        return await resolve(host, _Resolver({"db.example.org": ["192.0.2.1", "2001:db8::1"]}))

    def test_a_name_becomes_its_addresses_and_stays_for_the_certificate(self) -> None:
        self.assertEqual(
            self.successResultOf(self.resolved("db.example.org")),
            [
                {"host": "db.example.org", "hostaddr": "192.0.2.1"},
                {"host": "db.example.org", "hostaddr": "2001:db8::1"},
            ],
        )

    def test_sockets_and_addresses_are_left_alone(self) -> None:
        self.assertEqual(self.successResultOf(self.resolved("/run/postgresql")), [{"host": "/run/postgresql"}])
        self.assertEqual(
            self.successResultOf(self.resolved("192.0.2.7")), [{"host": "192.0.2.7", "hostaddr": "192.0.2.7"}]
        )

    def test_a_name_without_address_is_unavailable(self) -> None:
        self.failureResultOf(self.resolved("unknown.example.org"), DatabaseUnavailable)

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("secret", repr(DatabaseSettings(password="secret")))
