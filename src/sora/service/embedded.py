"""The embedded PostgreSQL: initialised, started beside us, adopted after our crash, stopped with us.

It listens on a unix socket only, in a directory that nobody else may enter, which is why it asks for no
password. It is our child but in a session of its own, so that Ctrl-C reaches us alone. If we are killed it
lives on; the next start finds it by `postmaster.pid` and takes it over.
"""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypedDict

import attrs
import psycopg2
from psycopg2 import sql
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora.aio import Once, in_thread, sleep
from sora.core.errors import ConfigurationInvalid
from sora.service import embedded_home as homes
from sora.service.embedded_lock import StateLock

ROLE: Final = "sora"
SUPERUSER: Final = "postgres"
START_TIMEOUT: Final = 120.0
"""Seconds until the server must be ready; recovery after a crash belongs to it."""
STOP_TIMEOUT: Final = 60.0
"""Seconds a fast shutdown may take before an immediate one (which recovery at the next start makes good)."""
_POLL: Final = 0.05
_WATCH: Final = 0.5
_RESTART_FIRST: Final = 0.5
"""Seconds until the first attempt to start a server again that ended by itself; the pause doubles."""
_RESTART_LAST: Final = 30.0
_SOCKET_DIR_MAX: Final = 107 - len("/.s.PGSQL.5432")
_OUTPUT_MAX: Final = 65_536

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "jit": "off",
    # Each page's first change after a checkpoint is logged whole: mail at full speed would be a checkpoint every few
    # seconds. Segments that are kept need not be filled with zeros in somebody's commit.
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
}


class Embedded(TypedDict):
    """How to reach the embedded server: a unix socket and nothing else."""

    socket_dir: str
    user: str
    dbname: str


@attrs.frozen
class _Lock:
    """What `postmaster.pid` says."""

    pid: int
    socket_dir: str
    ready: bool


def running(state_dir: Path) -> Embedded | None:
    """Return how to reach the server of a state directory if it runs now; for commands beside the server."""
    home = homes.find_home(state_dir.absolute())
    lock = _read_lock(home / "data") if home is not None else None
    if home is None or lock is None or not _is_postmaster(lock.pid, home / "data") or not lock.ready:
        return None
    return Embedded(socket_dir=lock.socket_dir, user=ROLE, dbname=ROLE)


def postmaster(state_dir: Path) -> int | None:
    """Return the process number of the server of a state directory, if one runs."""
    home = homes.find_home(state_dir.absolute())
    lock = _read_lock(home / "data") if home is not None else None
    if home is None or lock is None or not _is_postmaster(lock.pid, home / "data"):
        return None
    return lock.pid


class EmbeddedPostgres:
    """One PostgreSQL server of our own, with its data in (or pointed at by) a state directory."""

    log = Logger()

    def __init__(
        self,
        state_dir: Path,
        *,
        reactor: Any,
        binaries: Path | None = None,
        account: str | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """Prepare; `binaries` is a `bin` directory, `account` who runs PostgreSQL when we are root.

        `on_lost` is called if the server ends without having been asked to.
        """
        self._state = state_dir.absolute()
        self._reactor = reactor
        self._explicit = binaries
        self._account_name = account
        self._on_lost = on_lost
        self._place: tuple[Path, homes.Account] | None = None
        self._restarting: Deferred[None] | None = None
        self._again: Once[None] = Once()
        self._lock = StateLock(self._state)
        self._pid: int | None = None
        self._child: _Child | None = None
        self._watch: Deferred[None] | None = None
        self._temporary: Path | None = None
        self._stopping = False

    @property
    def adopted(self) -> bool:
        """Whether the server was running already when we came."""
        return self._pid is not None and self._child is None

    async def start(self) -> Embedded:
        """Start or adopt the server and create role and database. Raises `ConfigurationInvalid` with what to do."""
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> Embedded:
        try:
            self._state.mkdir(mode=0o755, parents=True, exist_ok=True)
            await self._lock.take(self._reactor)
            account = homes.account_for(self._account_name)
            home = homes.make_home(self._state, account)
        except OSError as error:
            raise ConfigurationInvalid([f"state directory {self._state}: {error.strerror}"]) from None
        data = home / "data"
        self._place = (home, account)
        lock = await self._find(data)
        if lock is None:
            wanted = _data_version(data)
            binaries = homes.choose_binaries(home, account, self._explicit, wanted)
            if wanted is None:
                await self._initialise(home, binaries, account)
            lock = await self._launch(home, binaries, account)
        else:
            self._pid = lock.pid
            self.log.info("found our PostgreSQL still running, process {pid}", pid=lock.pid)
            lock = await self._ready(data)
            self._watch = Deferred.fromCoroutine(self._watch_adopted(data))
            self._watch.addErrback(_only_cancelled)
        await in_thread(self._reactor, self._reactor.getThreadPool(), _create_database, lock.socket_dir)
        return Embedded(socket_dir=lock.socket_dir, user=ROLE, dbname=ROLE)

    async def stop(self) -> None:
        """Shut the server down (fast shutdown) and wait for its end; harmless if it does not run."""
        self._stopping = True
        for work in (self._watch, self._restarting):
            if work is not None:
                work.cancel()
        if self._pid is not None:
            for number, patience in ((signal.SIGINT, STOP_TIMEOUT), (signal.SIGQUIT, 10.0)):
                if not self._signal(number) or await self._gone(patience):
                    break
                self.log.warn("PostgreSQL has not ended {seconds} s after {number}", seconds=patience, number=number)
            self._pid = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None
        self._lock.release()

    def abandon(self) -> None:
        """Tell the server to shut down (fast shutdown) and do not wait; for an end that must come at once."""
        self._stopping = True
        self._signal(signal.SIGINT)

    # ------------------------------------------------------------ starting

    async def _find(self, data: Path) -> _Lock | None:
        """Return the lock of a server that runs on our data; clears away what a dead one left behind.

        A lock file whose process number now belongs to somebody else would keep PostgreSQL from starting. It is
        removed only when no process works in the data directory any more.
        """
        lock = _read_lock(data)
        if lock is None or _is_postmaster(lock.pid, data):
            return lock
        if not _exists(lock.pid):
            return None
        for _ in range(int(10.0 / _POLL)):
            if not _processes_in(data):
                (data / "postmaster.pid").unlink(missing_ok=True)
                self.log.info("removed a stale lock file of process {pid}", pid=lock.pid)
                return None
            await sleep(self._reactor, _POLL)
        raise ConfigurationInvalid([f"processes {_processes_in(data)} of an earlier PostgreSQL still use {data}"])

    async def _initialise(self, home: Path, binaries: homes.Binaries, account: homes.Account) -> None:
        """Make a new cluster beside its place and move it there when it is complete."""
        draft = home / "data.new"
        output = ""
        for locale in ("C.UTF-8", "C"):
            shutil.rmtree(draft, ignore_errors=True)
            command = [binaries.initdb, "-D", str(draft), "-U", SUPERUSER, "-E", "UTF8", "-A", "trust", "-k"]
            command += [f"--locale={locale}", "--text-search-config=simple"]
            if binaries.major >= 17 and locale != "C":
                command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            child = self._spawn(account.command(home, command))
            try:
                code = await child.ended.wait()
            except BaseException:
                child.kill()
                await child.ended.wait()
                raise
            output = child.output.decode("utf-8", "replace")
            if code == 0:
                draft.rename(home / "data")
                self.log.info("made a PostgreSQL {major} cluster in {home}", major=binaries.major, home=home)
                return
        shutil.rmtree(draft, ignore_errors=True)
        raise ConfigurationInvalid([f"initdb failed in {home}: {_last_line(output)}"])

    async def _launch(self, home: Path, binaries: homes.Binaries, account: homes.Account) -> _Lock:
        data = home / "data"
        settings = {**_SETTINGS, "unix_socket_directories": str(self._socket_dir(home, account))}
        command = [binaries.postgres, "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._child = self._spawn(account.command(data, command), self._ended)
        self._pid = self._child.pid
        return await self._ready(data)

    def _socket_dir(self, home: Path, account: homes.Account) -> Path:
        """Return a directory that only the account may enter, with a path short enough for a socket's address."""
        run = home / "run"
        if len(os.fsencode(run)) <= _SOCKET_DIR_MAX and "," not in str(run):
            run.mkdir(mode=0o700, exist_ok=True)
        else:
            run = self._temporary = self._temporary or Path(tempfile.mkdtemp(prefix="sora-"))
        account.own(run)
        return run

    def _spawn(self, arguments: list[str], on_end: "Callable[[int], None] | None" = None) -> "_Child":
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        child = _Child(on_end)
        transport = self._reactor.spawnProcess(child, arguments[0], arguments, env=environment, path="/")
        child.pid = transport.pid
        return child

    async def _ready(self, data: Path) -> _Lock:
        """Wait until `postmaster.pid` says that connections are accepted."""
        deadline = self._reactor.seconds() + START_TIMEOUT
        while self._reactor.seconds() < deadline:
            lock = _read_lock(data)
            if lock is not None and lock.ready and lock.pid == self._pid:
                return lock
            if self._child is not None and self._child.ended.done:
                output = self._child.output.decode("utf-8", "replace")
                raise ConfigurationInvalid([f"PostgreSQL did not start: {_last_line(output)} (see {data / 'log'})"])
            if self._child is None and self._pid is not None and not _exists(self._pid):
                raise ConfigurationInvalid([f"the PostgreSQL that was found running in {data} has ended; start again"])
            await sleep(self._reactor, _POLL)
        raise ConfigurationInvalid([f"PostgreSQL was not ready after {START_TIMEOUT:.0f} s; see {data / 'log'}"])

    # ------------------------------------------------------------ while it runs, and its end

    async def _watch_adopted(self, data: Path) -> None:
        while self._pid is not None:
            await sleep(self._reactor, _WATCH)
            if self._pid is not None and not _is_postmaster(self._pid, data):
                self._ended(-1)

    def _ended(self, code: int) -> None:
        if self._pid is None:
            return
        self._pid = None
        if not self._stopping:
            self.log.critical("the embedded PostgreSQL has ended by itself, status {code}", code=code)
            if self._place is not None and self._restarting is None:
                self._again = Once()
                self._restarting = Deferred.fromCoroutine(self._restart(*self._place))
                self._restarting.addErrback(_only_cancelled)
            if self._on_lost is not None:
                self._on_lost()

    async def restarted(self) -> None:
        """Return once a server that ended by itself runs again; at once if none did."""
        if self._restarting is not None:
            await self._again.wait()

    async def _restart(self, home: Path, account: homes.Account) -> None:
        """Start the server again, later and later, until it stays or we are told to stop."""
        pause = _RESTART_FIRST
        while not self._stopping:
            await sleep(self._reactor, pause)
            pause = min(pause * 2, _RESTART_LAST)
            try:
                lock = await self._find(home / "data")
                if lock is None:
                    wanted = _data_version(home / "data")
                    binaries = homes.choose_binaries(home, account, self._explicit, wanted)
                    lock = await self._launch(home, binaries, account)
                self._pid = lock.pid
            except ConfigurationInvalid as error:
                self.log.critical("the embedded PostgreSQL does not start: {error}", error=error)
                continue
            self.log.info("the embedded PostgreSQL runs again, process {pid}", pid=self._pid)
            self._restarting = None
            self._again.fire(None)
            return

    def _signal(self, number: int) -> bool:
        try:
            if self._pid is not None:
                os.kill(self._pid, number)
                return True
        except ProcessLookupError:
            pass
        return False

    async def _gone(self, patience: float) -> bool:
        pid = self._pid
        deadline = self._reactor.seconds() + patience
        while pid is not None and self._pid is not None and self._reactor.seconds() < deadline:
            if self._child.ended.done if self._child is not None else not _exists(pid):
                return True
            await sleep(self._reactor, _POLL)
        return self._pid is None


class _Child(ProcessProtocol):
    """A process of ours: its output, up to a bound, and its end."""

    def __init__(self, on_end: "Callable[[int], None] | None" = None) -> None:
        self.pid = -1
        self.output = b""
        self.ended: Once[int] = Once()
        self._on_end = on_end

    def kill(self) -> None:
        """End it and what it started: it leads a session of its own as soon as it has begun."""
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)

    def outReceived(self, data: bytes) -> None:
        self.output = (self.output + data)[-_OUTPUT_MAX:]

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        code = status.exitCode if status.exitCode is not None else -(status.signal or 1)
        self.ended.fire(code)
        if self._on_end is not None:
            self._on_end(code)


# ---------------------------------------------------------------- what the data directory tells


def _data_version(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text("ascii").strip())
    except (FileNotFoundError, ValueError):
        return None


def _read_lock(data: Path) -> _Lock | None:
    """Read `postmaster.pid`: process, directory, start, port, socket directory, address, memory, status."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        pid = int(lines[0])
    except (OSError, IndexError, ValueError):
        return None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Lock(pid, lines[4].strip() if len(lines) > 4 else "", ready)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_postmaster(pid: int, data: Path) -> bool:
    """Tell whether a process works in the data directory; PostgreSQL's all do. Without /proc: whether it exists."""
    if not Path("/proc/self/cwd").exists():
        return _exists(pid)
    try:
        return Path(f"/proc/{pid}/cwd").stat().st_ino == data.stat().st_ino and not _is_zombie(pid)
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    return ") Z " in Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")


def _processes_in(data: Path) -> list[int]:
    if not Path("/proc/self/cwd").exists():
        return []
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _is_postmaster(int(entry), data)]


def _only_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)  # type: ignore[no-untyped-call]


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (telling or lines or ["it said nothing"])[-1].strip()


def _create_database(socket_dir: str) -> None:
    """Create our role and database if they are not there. Runs in a thread."""
    connection = psycopg2.connect(host=socket_dir, port=5432, user=SUPERUSER, dbname="postgres", connect_timeout=30)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(ROLE)))
    finally:
        connection.close()
