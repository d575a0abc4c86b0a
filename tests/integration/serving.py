"""A whole server inside the test process, on a database of its own and free ports, and blocking clients for it.

The clients run in threads; everything else is the server as `twistd sora` builds it from a configuration's text.
"""

import imaplib
import smtplib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from sora.core.config.load import parse
from sora.mail.mailboxes import DEFAULTS
from sora.net.listeners import TcpAddress
from sora.sasl.passwords import hash_password
from sora.service.run import Sora
from tests.integration.database import DatabaseTests

ANNA = "anna@example.org"
PASSWORD = "a secret"
PASSWORD_HASH = hash_password(PASSWORD, cost=10)
HOST = "127.0.0.1"
TIMEOUT = 20.0

SERVERS = """
[process]
hostname = "localhost"
shutdown_timeout = "5s"

[auth]
bcrypt_cost = 10

[uploader]
wake_interval = "0.1s"

[servers.imap]
addr = "127.0.0.1:0"

[servers.imaps]
type = "imap"
addr = "127.0.0.1:0"
tls = true

[servers.lmtp]
addr = "127.0.0.1:0"
"""


def message(subject: str, size: int = 0) -> bytes:
    """Return a message with a body of about `size` octets."""
    lines = (f"{number:08} {subject}\r\n" for number in range(size // (len(subject) + 11) + 1))
    return f"From: bob@example.net\r\nSubject: {subject}\r\n\r\n{''.join(lines)}".encode()


class Answers:
    """What blocking clients need to know of a running server."""

    def __init__(self, sora: Sora) -> None:
        assert sora.servers is not None
        self.ports: dict[str, int] = {}
        for name, listener in sora.servers.listeners.items():
            assert isinstance(listener.bound, TcpAddress)
            self.ports[name] = listener.bound.port

    def deliver(self, data: bytes, *recipients: str) -> dict[str, tuple[int, bytes]]:
        """Deliver by LMTP and return who was refused."""
        with smtplib.LMTP(HOST, self.ports["lmtp"], local_hostname="client.example") as client:
            client.sock.settimeout(TIMEOUT)
            client.ehlo()
            client.mail("bob@example.net", [f"size={len(data)}"])
            answers = [(address, client.rcpt(address)) for address in recipients or [ANNA]]
            taken = [address for address, (code, _) in answers if code == 250]
            refused = {address: answer for address, answer in answers if answer[0] != 250}
            # smtplib's own sendmail reads the answer for the first recipient only.
            first = client.data(data) if taken else None
            for number, address in enumerate(taken):
                code, text = client.getreply() if number else first or (0, b"")
                if code != 250:
                    refused[address] = (code, text)
            return refused

    def connect(self) -> imaplib.IMAP4:
        """Sign in to IMAP."""
        client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=TIMEOUT)
        client.login(ANNA, PASSWORD)
        return client

    def inbox(self) -> list[bytes]:
        """Return all messages of the inbox, each without what the delivery put before it."""
        with self.connect() as client:
            client.select("INBOX", readonly=True)
            return [without_trace(data) for data in fetched(client)]


def fetched(client: imaplib.IMAP4) -> list[bytes]:
    """Return the octets of every message of the selected mailbox."""
    return [part[1] for part in client.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]


def without_trace(data: bytes) -> bytes:
    """Return a message as it was sent: from its first own header field on."""
    return data[data.index(b"From: bob") :]


class Idler:
    """A client that is told of changes."""

    def __init__(self, answers: Answers) -> None:
        self.client = answers.connect()
        self.client.select("INBOX")
        self.client.send(b"idle IDLE\r\n")
        assert self.client.readline().startswith(b"+ ")

    def next(self) -> bytes:
        """Wait for the next line."""
        return self.client.readline().rstrip(b"\r\n")

    def next_exists(self) -> int:
        """Wait until the number of messages is told."""
        while not (line := self.next()).endswith(b" EXISTS"):
            assert line, "the server hung up"
        return int(line.split()[1])

    def rest(self) -> list[bytes]:
        """Return the lines until the server hangs up."""
        lines = []
        while line := self.next():
            lines.append(line)
        return lines

    def close(self) -> None:
        """Hang up."""
        self.client.shutdown()


class ServiceTests(DatabaseTests):
    """A test with a migrated database, an account in it, and a directory for a server's state."""

    timeout = 120

    async def _set_up(self) -> None:
        await super()._set_up()
        made = tempfile.TemporaryDirectory(prefix="sora-service-", ignore_cleanup_errors=True)
        self.addCleanup(made.cleanup)
        self.state = Path(made.name)
        self.account = await self.store.accounts.create(ANNA, PASSWORD_HASH, DEFAULTS)

    def text(self, *tables: str, state: Path | None = None) -> str:
        """Return the text of a configuration for this test's database."""
        database = f'[database]\nhosts = ["{self.settings.socket_dir}"]\nport = {self.settings.port}\n'
        database += f'name = "{self.settings.name}"\nallow_unsafe = true\n'
        return "\n".join((SERVERS, f'[embedded]\nstate = "{state or self.state}"\n', database, *tables))

    async def serve(self, *tables: str, state: Path | None = None) -> tuple[Sora, Answers]:
        """Start a server; it is stopped after the test if the test does not."""
        return await self.start(self.text(*tables, state=state))

    async def start(self, text: str) -> tuple[Sora, Answers]:
        """Start a server of any configuration."""
        sora = Sora(parse(text), reactor=reactor)
        self.addCleanup(lambda: sora.stopService() if sora.running else None)
        sora.startService()
        await sora.ready
        return sora, Answers(sora)

    async def until(self, question: Callable[[], bool], limit: float = 20.0) -> None:
        """Wait until something has become true, asking often."""
        deadline = reactor.seconds() + limit  # type: ignore[attr-defined]
        while not question():
            self.assertLess(reactor.seconds(), deadline, "it did not become true")  # type: ignore[attr-defined]
            await self.pause(0.02)

    async def pause(self, seconds: float) -> None:
        """Let the server go on for a while."""
        done: Deferred[None] = Deferred()
        reactor.callLater(seconds, done.callback, None)  # type: ignore[attr-defined]
        await done

    async def idle(self, answers: Answers) -> Idler:
        """Return a client in IDLE on the inbox."""
        idler: Idler = await deferToThread(Idler, answers)
        self.addCleanup(idler.close)
        return idler

    async def uploaded(self) -> None:
        """Wait until nothing is staged any more."""
        await self.until(lambda: self.sql("SELECT count(*) FROM staged_bodies") == [(0,)])


def in_thread(function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
    """Run a blocking client."""
    return deferToThread(function, *arguments)
