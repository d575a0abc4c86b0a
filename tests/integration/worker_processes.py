"""A server with workers seen from outside: its processes, who of them has a connection, and a stream of deliveries."""

import contextlib
import os
import smtplib
import socket
import threading
import time
from pathlib import Path

DEMO = "demo@example.org"
HOST = "127.0.0.1"


def children(parent: int) -> dict[str, int]:
    """Return the child processes of a server by slot; while one replaces another, the younger."""
    found: dict[str, int] = {}
    for pid in sorted(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"sora.service.child" in words:
                found[words[-2].decode()] = pid
    return found


def sockets_of(pid: int) -> set[int]:
    """Return the inodes of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            found.add(int(os.readlink(entry).removeprefix("socket:[").rstrip("]")))
    return found


def inode_of(client: socket.socket) -> int:
    """Return the inode of the server's end of a connection over IPv4; 0 until it is accepted."""
    here, there = client.getsockname()[1], client.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{there:04X}") and fields[2].endswith(f":{here:04X}"):
            return int(fields[9])
    return 0


def server_of(client: socket.socket, parent: int) -> str:
    """Return the slot of the worker that has a connection which it has greeted."""
    inode = inode_of(client)
    for slot, pid in children(parent).items():
        if inode in sockets_of(pid):
            return slot
    raise AssertionError("nobody has this connection")


def exists(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class Senders:
    """Threads that deliver one message after the other, each over several connections, until they are told to stop."""

    def __init__(self, port: int, *, count: int = 3, connections: int = 4) -> None:
        """Prepare `count` threads; each keeps a connection for a few messages, and then takes a new one."""
        self._port = port
        self._per_connection = connections
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        self.acknowledged: list[str] = []
        """Names of the messages that were answered with 250."""
        self.unanswered: list[str] = []
        """Names of those that were sent whole and got no answer."""
        self.refused: list[str] = []
        """What went wrong with connections, other than their being told to come again later."""

    def __enter__(self) -> "Senders":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, count: int, limit: float = 30.0) -> None:
        """Wait until so many messages more were acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + limit
        while len(self.acknowledged) < wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"only {len(self.acknowledged)} messages were taken; {self.refused[-3:]}")
            time.sleep(0.01)

    def _run(self, thread: int) -> None:
        number = 0
        while not self._ending.is_set():
            sent = ""
            try:
                with smtplib.LMTP(HOST, self._port, local_hostname="client.example", timeout=20) as client:
                    client.ehlo()
                    for _ in range(self._per_connection):
                        sent, number = "", number + 1
                        if client.mail("bob@example.net")[0] != 250 or client.rcpt(DEMO)[0] != 250:
                            break
                        sent = f"{thread}-{number}"
                        code, text = client.data(f"From: bob@example.net\r\nSubject: {sent}\r\n\r\nhello\r\n".encode())
                        with self._lock:
                            if code == 250:
                                self.acknowledged.append(sent)
                            else:
                                self.refused.append(f"{code} {text!r}")
                        sent = ""
            except (OSError, smtplib.SMTPException) as error:
                with self._lock:
                    if sent:
                        self.unanswered.append(f"{sent}: {error!r}")
                    elif isinstance(error, ConnectionRefusedError):
                        self.refused.append(repr(error))
