"""A whole sora as processes, with all it needs, to be broken: PostgreSQL behind a proxy, an S3 with moods, twistd.

`Layout.OWN` is `[database]` and `[s3]`, both reached through this process; `Layout.EMBEDDED` is what a new user has.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from enum import Enum
from pathlib import Path
from typing import Any, Final

from twisted.internet.threads import deferToThread

from sora import aio
from sora.mail.mailboxes import DEFAULTS
from sora.postgres.settings import DatabaseSettings
from sora.postgres.store import open_store
from sora.sasl.passwords import hash_password
from sora.service.embedded import running
from tests.faults import clients
from tests.faults.chaos_s3 import ChaosServer, settings_of
from tests.faults.clients import Lost
from tests.faults.cut import Cut, Messages
from tests.integration import database
from tests.integration.clients.lab import die_with_parent, free_ports
from tests.integration.clients.programs import BIN, CHECKOUT, environment

LONG: Final = "" if os.environ.get("SORA_FAULTS_LONG") else "takes long; make faults runs it"
"""Why a long test is skipped: because `SORA_FAULTS_LONG` is not set."""
PASSWORD: Final = "a secret"
START_LIMIT: Final = 60.0
_PAUSE: Final = 0.03
CONFIGURATION = """
[process]
hostname = "localhost"
shutdown_timeout = "5s"
{workers}
[logging]
output = "{log}"

[embedded]
state = "{state}"

[auth]
bcrypt_cost = 10
throttle = false

[uploader]
wake_interval = "0.1s"
lease = "1s"
retry_interval = "0.1s"
retry_max = "1s"

[cleanup]
grace_period = "5s"
wake_interval = "1s"

[storage]
staging_max = "64kb"

[servers.imap]
addr = "127.0.0.1:{imap}"

[servers.lmtp]
addr = "127.0.0.1:{lmtp}"

"""
_DATABASE = """
[database]
hosts = ["127.0.0.1"]
port = {port}
name = "{name}"
sslmode = "disable"
allow_unsafe = true
pool_wait_max = "2s"
connect_timeout = "2s"

"""


class Layout(Enum):
    """Where mail is kept."""

    OWN = "own"
    EMBEDDED = "embedded"


class World:
    """One server with its surroundings in a temporary directory."""

    def __init__(
        self,
        reactor: Any,
        *,
        layout: Layout = Layout.OWN,
        workers: int = 2,
        added: str = "",
        state: Path | None = None,
        descriptors: int = 0,
        wrong_clock: bool = False,
    ) -> None:
        """Prepare; `added` tables go into the configuration, `descriptors` is how many files a process may open.

        With `wrong_clock` the server's idea of the time of day can be set, where libfaketime is installed.
        """
        self.reactor = reactor
        self.layout = layout
        self.directory = Path(tempfile.mkdtemp(prefix="sora-faults-"))
        self.directory.chmod(0o755)
        self.state = state or self.directory / "state"
        self.config = self.directory / "sora.toml"
        self.log = self.directory / "log"
        self.log.touch()
        self.imap, self.lmtp = free_ports(2)
        self.process: subprocess.Popen[bytes] | None = None
        self.postgres: database.Server | None = None
        self.cut: Cut | None = None
        self.s3: ChaosServer | None = None
        self._workers, self._added, self._descriptors = workers, added, descriptors
        self._wrong_clock = wrong_clock
        self._name = ""

    # ------------------------------------------------------------ life

    async def start(self, *users: str) -> None:
        """Start everything and make accounts, all with `PASSWORD`."""
        await self.prepare()
        await self.start_server()
        store = open_store(self.settings, self.reactor)
        await store.start()
        try:
            secret = hash_password(PASSWORD, cost=10)
            for user in users:
                await store.accounts.create(user, secret, DEFAULTS)
        finally:
            await store.stop()

    async def prepare(self) -> None:
        """Start what the server needs and write its configuration."""
        self.set_clock("+0")
        text = CONFIGURATION.format(
            workers=f"workers = {self._workers}\n",
            **{"log": self.log, "state": self.state, "imap": self.imap, "lmtp": self.lmtp},
        )
        if self.layout is Layout.OWN:
            self.postgres = await deferToThread(database.Server, synchronous_commit="on", autovacuum="on")
            self._name = self.postgres.create()
            self.cut = Cut(self.reactor, str(self.postgres.directory / f".s.PGSQL.{database.PORT}"), framing=Messages)
            self.cut.start()
            self.s3 = ChaosServer(self.reactor)
            text += _DATABASE.format(port=self.cut.port, name=self._name) + settings_of(self.s3)
        self.config.write_text(text + self._added)

    async def stop(self) -> None:
        """End everything and remove the directory."""
        postmaster = self.postmaster() if self.layout is Layout.EMBEDDED else None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            await self._ended(20.0)
        if postmaster is not None and _exists(postmaster):
            os.kill(postmaster, signal.SIGQUIT)
        for one in (self.cut, self.s3):
            if one is not None:
                await one.stop()
        if self.postgres is not None:
            await deferToThread(self.postgres.stop)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def settings(self) -> DatabaseSettings:
        """Return how the tests reach the database, beside the proxy."""
        if self.postgres is not None:
            return self.postgres.settings(self._name)
        place = running(self.state)
        if place is None:
            raise Lost("the embedded PostgreSQL does not run")
        return DatabaseSettings(socket_dir=place["socket_dir"], user=place["user"], name=place["dbname"])

    # ------------------------------------------------------------ the server

    def set_clock(self, difference: str) -> None:
        """Set the clock that the server's processes see, but not the one that counts from the start of the machine.

        `difference` is from the true time: `+2d`, `-1h`, `+0`.
        """
        # In one step: the processes read it whenever they ask for the time.
        following = self.directory / "clock.next"
        following.write_text(difference + "\n")
        following.replace(self.directory / "clock")

    async def start_server(self) -> None:
        """Start twistd and wait until it serves."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "twistd"), "--nodaemon", "--pidfile=", "sora", "--config", str(self.config)],
                cwd=CHECKOUT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._limited,  # noqa: PLW1509  calls nothing that takes a lock
            )
        await self.served()

    async def served(self, limit: float = START_LIMIT, user: str = "") -> None:
        """Wait until mail is taken and, for a user, shown. Raises `Lost`."""
        deadline = time.monotonic() + limit
        while True:
            try:
                session = await clients.lmtp(self.reactor, self.lmtp)
                if (
                    user
                    and await session.say(b"MAIL FROM:<>") + await session.say(b"RCPT TO:<%b>" % user.encode()) != 500
                ):
                    raise Lost("RCPT is refused")
                session.close()
                if user:
                    reader = await clients.imap(self.reactor, self.imap, user, PASSWORD)
                    ok = (await reader.command("EXAMINE INBOX")).ok
                    reader.close()
                    if not ok:
                        raise Lost("EXAMINE is refused")
                return
            except Lost as error:
                ended = self.process is None or self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise Lost(f"no service: {error}\n{self.log.read_text('utf-8', 'replace')[-3000:]}") from None
                await aio.sleep(self.reactor, _PAUSE)

    def _limited(self) -> None:
        die_with_parent()
        if self._descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))

    def _environment(self) -> dict[str, str]:
        """Return a program's environment; where Python looks for modules is as it is for us."""
        path = os.environ.get("PYTHONPATH")
        found = environment(self.directory) | ({"PYTHONPATH": path} if path else {})
        if self._wrong_clock:
            found |= {
                "LD_PRELOAD": str(faketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self.directory / "clock"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return found

    def starve(self, spare: int) -> None:
        """Let each of the server's processes have `spare` octets of address space more than it has now."""
        for pid in self.processes():
            size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
            resource.prlimit(pid, resource.RLIMIT_AS, (size + spare, hard))

    def feed(self) -> None:
        """Let the server's processes have all the memory they want again."""
        for pid in self.processes():
            _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
            resource.prlimit(pid, resource.RLIMIT_AS, (hard, hard))

    def processes(self) -> list[int]:
        """Return the server's processes, the started one first; PostgreSQL's are not among them."""
        if self.process is None or self.process.poll() is not None:
            return []
        found, parents = [self.process.pid], _parents()
        for one in found:
            found += [pid for pid, (parent, name) in parents.items() if parent == one and name != "postgres"]
        return found

    async def kill(self, pids: list[int]) -> None:
        """SIGKILL processes of the server and wait until they are gone."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None and self.process.pid in pids:
            await self._ended(10.0)
        await self.gone(pids, 10.0)

    async def gone(self, pids: list[int], limit: float) -> bool:
        """Wait until processes have ended; tells whether they have."""
        deadline = time.monotonic() + limit
        while any(_exists(pid) for pid in pids):
            if time.monotonic() > deadline:
                return False
            await aio.sleep(self.reactor, _PAUSE)
        return True

    async def _ended(self, limit: float) -> None:
        deadline = time.monotonic() + limit
        while self.process is not None and self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
            await aio.sleep(self.reactor, _PAUSE)

    # ------------------------------------------------------------ PostgreSQL

    def postmaster(self) -> int:
        """Return PostgreSQL's first process."""
        place = self.postgres.directory if self.postgres is not None else Path(str(self.settings.socket_dir)).parent
        return int((place / "data" / "postmaster.pid").read_text().splitlines()[0])

    async def kill_postgres(self) -> None:
        """SIGKILL PostgreSQL and, if it is ours, start it again; the embedded one is the server's to start."""
        if self.postgres is None:
            os.kill(self.postmaster(), signal.SIGKILL)
            return
        await deferToThread(self.postgres.halt, signal.SIGKILL)

    async def start_postgres(self, former: int) -> None:
        """Start PostgreSQL again, or wait until the server has; what is left of the former may take a moment to end."""
        for attempt in range(200):
            try:
                if self.postgres is not None:
                    await deferToThread(self.postgres.start)
                    return
                if running(self.state) is not None and self.postmaster() != former:
                    return
            except (RuntimeError, OSError, IndexError):
                if attempt == 199:
                    raise
            await aio.sleep(self.reactor, 0.05)
        raise Lost("PostgreSQL does not come back")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement beside the program, blocking."""
        import psycopg2

        settings = self.settings
        connection = psycopg2.connect(host=settings.socket_dir, user=settings.user, dbname=settings.name)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description is not None else []
        finally:
            connection.close()

    # ------------------------------------------------------------ what it says

    async def check(self) -> list[str]:
        """Run `sora-admin check` and return its findings."""
        command = [str(BIN / "sora-admin"), "check", "--json", "--config", str(self.config)]
        done = await deferToThread(self._run, command)
        lines = done.stdout.splitlines()
        if done.returncode not in (0, 1) or not lines:
            return [f"check ended with status {done.returncode}: {done.stderr[-500:]}"]
        return lines[:-1] if done.returncode else []

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=self._environment(), cwd=CHECKOUT
        )


def faketime() -> Path | None:
    """Return the library that shows a process another time of day (Debian's libfaketime), or None without it."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def _parents() -> dict[int, tuple[int, str]]:
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = entry.read_text().partition("(")[2].rpartition(")")
            found[int(entry.parent.name)] = int(rest.split()[1]), name
    return found


def _exists(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
