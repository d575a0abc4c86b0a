"""The servers that are measured: how one is described, and this project's own, on a throw-away state directory."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.processes import Tree

HOST = "127.0.0.1"
PASSWORD = "correct-horse"  # noqa: S105  of throw-away accounts
USERS = 64
_START = 60.0


class Unavailable(Exception):
    """Raised when a server is not installed or does not start; says why."""


def user(number: int) -> str:
    """Return the address of a user, from 1 to `USERS`."""
    return f"user{number:03d}@example.org"


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Server:
    """A mail server that the benchmark starts and ends: one child process with all below it."""

    name = ""
    groups: dict[str, str] = {}
    rest = "server"
    quiet = 0.5
    """Seconds without work after which it has nothing left to do."""

    def __init__(self, directory: Path) -> None:
        """Prepare; everything is kept in the directory."""
        self.directory = directory
        self.version = ""
        self.imap_port, self.lmtp_port = free_ports(2)
        self.prepared: set[str] = set()
        """What workloads have put into this server already."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def imap(self) -> tuple[str, int]:
        """Where it speaks IMAP."""
        return HOST, self.imap_port

    @property
    def lmtp(self) -> tuple[str, int]:
        """Where it speaks LMTP."""
        return HOST, self.lmtp_port

    @property
    def tree(self) -> Tree:
        """Its processes."""
        assert self._process is not None  # noqa: S101  for the type
        return Tree(self._process.pid, self.groups, self.rest)

    def start(self) -> None:
        """Start it with its users and wait until it answers. Raises `Unavailable`."""
        raise NotImplementedError

    def again(self, *, cold: bool) -> None:
        """Start it again; cold: with none of its own caches."""
        raise NotImplementedError

    def launch(self, command: Sequence[str]) -> None:
        """Run the server's program and wait for both ports."""
        with (self.directory / "output.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True
            )
        deadline = time.monotonic() + _START
        for address in (self.imap, self.lmtp):
            while True:
                with contextlib.suppress(OSError), socket.create_connection(address, timeout=5) as sock:
                    if sock.recv(1):
                        break
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(f"{self.name} did not start: {self._last_words()}")
                time.sleep(0.05)

    def _last_words(self) -> str:
        return (self.directory / "output.log").read_text("utf-8", "replace")[-800:]

    def stop(self) -> None:
        """End it: politely, and by force after a while."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_SORA = """
[process]
hostname = "mx.example.org"
[logging]
level = "warn"
[embedded]
state = "{state}"
[auth]
bcrypt_cost = 10
cache_ttl = "1h"
[uploader]
wake_interval = "1s"
[servers.imap]
addr = "{host}:{imap}"
[servers.lmtp]
addr = "{host}:{lmtp}"
"""


class Sora(Server):
    """This project's server on its embedded PostgreSQL, whose settings are durable, and a directory of bodies."""

    name = "sora"
    groups = {"postgres": "postgres"}
    rest = "python"
    quiet = 1.75  # more than the uploader's wake_interval

    def __init__(self, directory: Path, settings: str = "") -> None:
        """Prepare; `settings` is TOML that is put after the benchmark's own."""
        super().__init__(directory)
        self._settings = settings

    def start(self) -> None:
        """Start it on an empty state directory and create the users."""
        state = self.directory / "state"
        state.mkdir()
        # PostgreSQL, which does not run as root, must be able to enter.
        for path in (self.directory, state):
            path.chmod(0o755)
        text = _SORA.format(state=state, host=HOST, imap=self.imap_port, lmtp=self.lmtp_port)
        self._config.write_text(text + self._settings, "utf-8")
        self._start()
        command = [sys.executable, "-m", "bench.accounts", str(self._config)]
        made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
        if made.returncode:
            self.stop()
            raise Unavailable(f"sora's users could not be created: {made.stderr[-800:]}")
        self.version = made.stdout.strip()

    @property
    def _config(self) -> Path:
        return self.directory / "sora.toml"

    def _start(self) -> None:
        twistd = [sys.executable, "-m", "twisted", "--log-level=warn"]
        if (script := Path(sys.executable).with_name("twistd")).exists():
            twistd = [str(script), "--nodaemon", "--pidfile=", f"--logfile={self.directory / 'twistd.log'}"]
        self.launch([*twistd, "sora", "--config", str(self._config)])

    def again(self, *, cold: bool) -> None:
        """Restart server and PostgreSQL; cold: without the local cache of bodies."""
        self.stop()
        if cold:
            shutil.rmtree(self.directory / "state" / "cache", ignore_errors=True)
        self._start()


def number_of_cores() -> int:
    """Return how many processors may be used."""
    return len(os.sched_getaffinity(0))
