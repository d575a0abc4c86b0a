"""A server's end of a connection over a transport that a test chooses, a reactor turned by hand, and plain clients."""

# ruff: noqa: N815  Twisted's names

import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import twisted.protocols.tls
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from sora.net import lean_reactor
from sora.net.listeners import TcpAddress, bind, serve
from sora.net.tls import Certificates, self_signed

PATIENCE = 10.0
"""Seconds after which what should happen has not happened; nothing waits for as long unless it fails."""
MUCH = 3_000_000
"""More octets than the sockets' buffers hold: with SMALL on both ends."""
SMALL = 16_384


DONE = Failure(ConnectionDone())  # type: ignore[no-untyped-call]


class Recorder(Protocol):
    """Notes what its transport tells it; `on_data` and the others are what a test puts there."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.calls: list[str] = []
        self.reason: Failure | None = None
        self.on_made: Callable[[Recorder], None] | None = None
        self.on_data: Callable[[Recorder, bytes], None] | None = None
        self.on_resumed: Callable[[Recorder], None] | None = None
        self.on_lost: Callable[[], None] | None = None

    def connectionMade(self) -> None:
        self.calls.append("made")
        if self.on_made is not None:
            self.on_made(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.on_data is not None:
            self.on_data(self, data)

    def connectionLost(self, reason: Failure = DONE) -> None:
        self.calls.append("lost")
        self.reason = reason
        if self.on_lost is not None:
            self.on_lost()

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        if self.on_resumed is not None:
            self.on_resumed(self)

    def stopProducing(self) -> None:
        self.calls.append("stop")


def turned_by_hand() -> EPollReactor:
    """Return a reactor that is nobody else's."""
    return EPollReactor()


def discard(reactor: Any) -> None:
    """Close what a reactor holds."""
    for selectable in reactor.removeAll():
        with contextlib.suppress(Exception):
            selectable.connectionLost(Failure(ConnectionDone()))
    reactor.waker.connectionLost(None)
    reactor._poller.close()


class Turning:
    """A port and its reactor; `lean` and `secure` say which transport serves."""

    lean: bool
    secure: bool
    assertEqual: Any
    assertTrue: Any
    assertIn: Any
    fail: Any
    mktemp: Any
    patch: Any
    addCleanup: Any
    flushLoggedErrors: Any
    assertIsInstance: Any

    def setUp(self) -> None:
        self.reactor: Any = turned_by_hand()
        self.addCleanup(discard, self.reactor)
        # Twisted's TLS would wait for the turns of trial's reactor.
        self.patch(twisted.protocols.tls, "_get_default_clock", lambda: self.reactor)
        if self.lean:
            self.assertTrue(lean_reactor.install(self.reactor))
        directory = Path(self.mktemp())
        directory.mkdir()
        self.certificates = Certificates(*self_signed(directory, "h"))
        self.server = Recorder()
        self.more: list[Recorder] = []
        self.factory = Factory()
        self.factory.noisy = False
        waiting = [self.server]

        def build(addr: object) -> Recorder:
            self.more.append(waiting.pop() if waiting else Recorder())
            return self.more[-1]

        self.factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        self.listening = bind(TcpAddress("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        tls = self.certificates if self.secure else None
        self.port = serve(self.listening, self.factory, self.reactor, tls=tls, lean=self.lean)

    # ------------------------------------------------------------ turning the reactor

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)

    def until(self, true: Callable[[], object]) -> None:
        """Turn the reactor until something is true."""
        end = monotonic() + PATIENCE
        while not true():
            if monotonic() > end:
                self.fail("it did not happen")
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0.002)

    def connect(self) -> Any:
        """Return a client's socket, connected and, if it is to be, in TLS; it never blocks."""
        plain = socket.socket()
        self.addCleanup(plain.close)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        plain.connect(self.listening.getsockname())
        plain.setblocking(False)
        client = self.handshake(plain) if self.secure else plain
        self.until(lambda: "made" in self.server.calls)
        return client

    def handshake(self, plain: socket.socket, **options: Any) -> Any:
        """Begin TLS on a client's socket."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for name, value in options.items():
            setattr(context, name, value)
        client = context.wrap_socket(plain, do_handshake_on_connect=False, server_hostname="mail.example.org")
        self.addCleanup(client.close)

        def done() -> bool:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return True

        self.until(done)
        return client

    def take(self, client: Any) -> bytes | None:
        """Read what is there; None: nothing yet."""
        try:
            return bytes(client.recv(65_536))
        except (BlockingIOError, ssl.SSLWantReadError):
            return None

    def read(self, client: Any, size: int) -> bytes:
        """Read exactly as much."""
        got = bytearray()

        def enough() -> bool:
            piece = self.take(client)
            if piece == b"":
                self.fail(f"the connection ended after {len(got)} octets")
            got.extend(piece or b"")
            return len(got) >= size

        self.until(enough)
        return bytes(got)

    def read_to_end(self, client: Any) -> bytes:
        """Read until the server closes."""
        got = bytearray()

        def ended() -> bool:
            piece = self.take(client)
            got.extend(piece or b"")
            return piece == b""

        self.until(ended)
        return bytes(got)

    def leave(self, client: Any) -> None:
        """Close a client's end as a good client does."""
        if self.secure:
            with contextlib.suppress(OSError):
                client.unwrap()
        client.close()

    def lost(self) -> Any:
        """Wait for the end of the connection and return why it ended."""
        self.until(lambda: self.server.reason is not None)
        return self.server.reason.type  # type: ignore[union-attr]
