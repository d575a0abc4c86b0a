"""The servers that are measured: how one is described, and this project's own, on a throw-away state directory."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import evict
from bench.processes import Tree

HOST = "127.0.0.1"
PASSWORD = "correct-horse"  # noqa: S105  of throw-away accounts
USERS = 64
"""Users that there are from the start; workloads of crowds add more."""
_STAYED_MAX = 0.01
"""Share of a server's pages that may stay in the page cache of a cold start."""
_START = 60.0


class Unavailable(Exception):
    """Raised when a server is not installed or does not start; says why."""


class Skipped(Exception):
    """Raised by a workload that does not fit a server; says why."""


def user(number: int) -> str:
    """Return the address of a user, from 1 on."""
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
    crowd = 10_000
    """Connections in IDLE that it is asked to hold at most."""

    def __init__(self, directory: Path) -> None:
        """Prepare; everything is kept in the directory."""
        self.directory = directory
        self.version = ""
        self.imap_port, self.lmtp_port, self.imaps_port = free_ports(3)
        self.prepared: set[str] = set()
        """What workloads have put into this server already."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def imap(self) -> tuple[str, int]:
        """Where it speaks IMAP."""
        return HOST, self.imap_port

    @property
    def imaps(self) -> tuple[str, int]:
        """Where it speaks IMAP over TLS."""
        return HOST, self.imaps_port

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

    def run(self) -> None:
        """Start its program on what is kept."""
        raise NotImplementedError

    def forget(self) -> None:
        """Remove the caches and indexes that it can make again."""

    def add_users(self, first: int, last: int) -> None:
        """Create the users of these numbers, both included."""
        raise NotImplementedError

    def as_begun(self) -> bool:
        """Undo what a workload changed in how it is run, or that it ended; return whether it had to be started."""
        if self.runs:
            return False
        self.run()
        return True

    @property
    def runs(self) -> bool:
        """Whether its program has not ended."""
        return self._process is not None and self._process.poll() is None

    def again(self, *, cold: bool = False) -> None:
        """Start it again; cold: without caches and indexes of its own, and with all its files only on disk.

        Raises `Unavailable`, also if the kernel keeps more of the files in memory than a hundredth.
        """
        self.stop()
        if cold:
            self.forget()
            stayed, pages = evict(self.directory)
            if stayed > _STAYED_MAX * pages:
                raise Unavailable(f"{stayed} of {pages} pages of {self.name}'s files stayed in the page cache")
        self.run()

    def again_forgetful(self) -> None:
        """Start it again without caches and indexes of its own; files stay in the kernel's page cache."""
        self.stop()
        self.forget()
        self.run()

    def launch(self, command: Sequence[str]) -> None:
        """Run the server's program and wait for both ports."""
        with (self.directory / "output.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True
            )
        deadline = time.monotonic() + _START
        for address, greets in ((self.imap, True), (self.lmtp, True), (self.imaps, False)):
            while True:
                with contextlib.suppress(OSError), socket.create_connection(address, timeout=5) as sock:
                    if not greets or sock.recv(1):
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


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate and its key, the same kind for all servers (P-256); return their paths."""
    found, key = directory / "bench-cert.pem", directory / "bench-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", f"/CN={HOST}", "-out", str(found), "-keyout", str(key)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603  our own arguments
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"openssl makes no certificate: {error}") from None
    # Servers read it under accounts of their own; the key is thrown away after the run.
    key.chmod(0o644)
    return found, key
