"""A sora server as a new user starts it, on free ports with a state of its own, for real programs to talk to.

One server per trial process, started by the first test that needs it. `SORA_LAB_CONFIG` names a TOML file with
tables (such as `[database]` and `[s3]`) that are added to the configuration, to run the same tests on other storage;
`SORA_LAB_MESSAGES` is how many messages the programs move instead of the few that suffice for a test.
"""

import atexit
import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import attrs
from twisted.trial import unittest

from tests.integration.clients.programs import BIN, CHECKOUT, environment, run

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
LIMIT = 600.0
ACCOUNTS_AT_ONCE = 16
PORTS = range(20_000, 32_000)
_PAUSE = 0.02
_PR_SET_PDEATHSIG = 1
_COMPLAINT = re.compile(r"\S+ (?:error|critical) |Traceback|\S+Error\b")

CONFIGURATION = """
[embedded]
state = "{state}"

[auth]
bcrypt_cost = 10

[servers.imap]
addr = "127.0.0.1:{imap}"

[servers.imaps]
type = "imap"
addr = "127.0.0.1:{imaps}"
tls = true

[servers.lmtp]
addr = "127.0.0.1:{lmtp}"

[shared_mailboxes]
enabled = true
"""


def messages_wanted(few: int) -> int:
    """Return how many messages to move: `few`, or what `SORA_LAB_MESSAGES` says."""
    return int(os.environ.get("SORA_LAB_MESSAGES", few))


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on.

    Drawn at random from below those that systems give to clients: whoever else starts servers now draws others.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(PORTS)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def wait_until_listening(port: int, process: "subprocess.Popen[Any]", log: Path, limit: float = START_TIMEOUT) -> None:
    """Wait until a port answers. Raises `RuntimeError` with the log if the process ends or time is up."""
    deadline = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"port {port} does not answer:\n{log.read_text('utf-8', 'replace')}") from None
            time.sleep(_PAUSE)


def die_with_parent() -> None:
    """Ask Linux to end a child when the tests are killed and cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@attrs.frozen
class Account:
    """Someone who has mail here."""

    address: str
    password: str


class Lab:
    """A server process; usable as a context manager."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="sora-lab-"))
        # PostgreSQL runs as somebody else when we are root, and has to reach its directory.
        self.directory.chmod(0o755)
        self.state = self.directory / "state"
        self.state.mkdir()
        self.config = self.directory / "sora.toml"
        self.log = self.directory / "log"
        self.imap, self.imaps, self.lmtp = free_ports(3)
        added = os.environ.get("SORA_LAB_CONFIG")
        self.config.write_text(
            CONFIGURATION.format(state=self.state, imap=self.imap, imaps=self.imaps, lmtp=self.lmtp)
            + (Path(added).read_text() if added else "")
        )
        self._unused: list[Account] = []
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Lab":
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def certificate(self) -> Path:
        """The certificate that the server made for itself."""
        return next(self.state.rglob("tls-cert.pem"))

    def start(self) -> None:
        """Start the server and wait until all its ports answer."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(BIN / "twistd"), "--nodaemon", "--pidfile=", "--logger", "sora.observe.log.observer"),
                    *("sora", "--config", str(self.config)),
                ],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C at the terminal is for trial; the server is stopped by us, after the tests.
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  calls nothing that takes a lock
            )
        for port in (self.imap, self.imaps, self.lmtp):
            wait_until_listening(port, self._process, self.log)

    def stop(self) -> int:
        """Ask the server to end, as a supervisor does, and return its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def remove(self) -> None:
        """Stop the server and remove its directory."""
        if os.getpid() != self._owner:
            return
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def admin(self, *arguments: str, stdin: str = "") -> str:
        """Run `sora-admin` beside the server and return what it prints."""
        return run(str(BIN / "sora-admin"), *arguments, stdin=stdin, timeout=LIMIT).stdout

    def account(self) -> Account:
        """Return an account that nobody has used yet."""
        if not self._unused:
            password, token = secrets.token_urlsafe(9), secrets.token_hex(4)
            made = [Account(f"user{number}-{token}@example.org", password) for number in range(ACCOUNTS_AT_ONCE)]
            module = "tests.integration.clients.make_accounts"
            addresses = [account.address for account in made]
            run(str(BIN / "python"), "-m", module, str(self.config), password, *addresses)
            self._unused = made[::-1]
        return self._unused.pop()


def need(programs: tuple[str, ...]) -> None:
    """Skip the test if a program is not installed."""
    for program in programs:
        if shutil.which(program, path=environment()["PATH"]) is None:
            raise unittest.SkipTest(f"{program} is not installed")


_shared: list[Lab] = []


def shared_lab() -> Lab:
    """Return the trial process's server, started now if it is the first time."""
    if not _shared:
        lab = Lab()
        atexit.register(lab.remove)
        lab.start()
        _shared.append(lab)
    return _shared[0]


class ClientTestCase(unittest.SynchronousTestCase):
    """A test with one account, a directory of its own, and the programs it names; skipped where one is missing."""

    programs: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        need(self.programs)
        made = tempfile.TemporaryDirectory(prefix="sora-client-", ignore_cleanup_errors=True)
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        self.lab = shared_lab()
        self.account = self.lab.account()
        self.addCleanup(self._assert_no_complaints, self.lab.log.stat().st_size)

    def _assert_no_complaints(self, start: int) -> None:
        """Fail if the server logged a mistake of its own while this test ran, whatever the program made of it."""
        lines = self.lab.log.read_bytes()[start:].decode("utf-8", "replace").splitlines()
        self.assertEqual([line for line in lines if _COMPLAINT.match(line)], [])

    def run_program(self, *command: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run a program with the test's directory as its home."""
        return run(*command, home=self.directory, **options)
