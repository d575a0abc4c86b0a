"""Clients for the dialogs: over a transport in memory, and over TCP on the loopback address."""

import zlib
from collections import deque
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

PEER = IPv4Address("TCP", "127.0.0.1", 40_000)
HOST = IPv4Address("TCP", "127.0.0.1", 1143)
PATIENCE = 10.0
_TURNS = 20


class Coding:
    """What a client does to its octets: nothing, or DEFLATE in both directions (RFC 4978)."""

    def __init__(self) -> None:
        self._deflate: Any = None
        self._inflate: Any = None

    def begin(self) -> None:
        """Compress from now on."""
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._inflate = zlib.decompressobj(-15)

    def end(self) -> None:
        """Compress no more."""
        self._deflate = self._inflate = None

    def out(self, data: bytes) -> bytes:
        """Return what is sent for the client's octets."""
        return data if self._deflate is None else self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def into(self, data: bytes) -> bytes:
        """Return the server's octets."""
        return data if self._inflate is None else self._inflate.decompress(data)  # type: ignore[no-any-return]


class MemoryTransport(StringTransport):
    """A transport in memory that holds back what arrives while the server does not read."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(hostAddress=HOST, peerAddress=PEER)
        self._clock = clock
        self._held: deque[bytes] = deque()
        self.server: Any = None
        self.gone = False
        self._tls = False

    def deliver(self, data: bytes) -> None:
        """Give octets to the server as soon as it reads."""
        self._held.append(data)
        self._pass_on()

    def startTLS(self, certificates: Any) -> None:  # noqa: N802
        """Take what comes from now on for a handshake, which no client in memory can do."""
        self._tls = True

    def _pass_on(self) -> None:
        if self._held and self._tls:
            self.end()
        while self._held and self.producerState == "producing" and not self.gone:
            self.server.dataReceived(self._held.popleft())

    def resumeProducing(self) -> None:
        self._checkState()
        self.producerState = "producing"
        self._clock.callLater(0, self._pass_on)

    def loseConnection(self) -> None:  # noqa: N802
        super().loseConnection()
        self._clock.callLater(0, self.end)

    def abortConnection(self) -> None:  # noqa: N802
        super().abortConnection()
        self._clock.callLater(0, self.end)

    def end(self) -> None:
        """Tell the server that the connection is gone."""
        if not self.gone:
            self.gone = True
            self.producerState = "stopped"
            self.server.connectionLost(Failure(ConnectionDone()))


class MemoryClient:
    """A client over a `MemoryTransport`."""

    def __init__(self, factory: Factory, clock: Clock, piece: int | None = None) -> None:
        """Send in pieces of so many octets, each its own segment; None: each write in one."""
        self._piece = piece
        self._clock = clock
        self.coding = Coding()
        self._transport = MemoryTransport(clock)
        self._transport.server = factory.buildProtocol(PEER)
        self._transport.server.makeConnection(self._transport)
        self._received = b""
        self.heard = bytearray()
        """All that the server has said."""

    def _turn(self) -> None:
        for _ in range(_TURNS):
            self._clock.advance(0)
        came = self.coding.into(self._transport.value())
        self.heard += came
        self._received += came
        self._transport.clear()

    async def send(self, data: bytes) -> None:
        """Send octets in one write."""
        data = self.coding.out(data)
        step = self._piece or len(data)
        for at in range(0, len(data), step):
            self._transport.deliver(data[at : at + step])
        self._turn()

    async def line(self) -> bytes | None:
        """Return the next line."""
        self._turn()
        line, end, rest = self._received.partition(b"\r\n")
        if not end:
            return None
        self._received = rest
        return line

    async def closed(self) -> bool:
        """Tell whether the server has closed."""
        self._turn()
        return self._transport.gone

    async def hang_up(self) -> None:
        """Close the client's side."""
        self._transport.end()
        self._turn()

    def rest(self) -> bytes:
        """Return what has come and was not read."""
        self._turn()
        return self._received


class _Receiver(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.coding = Coding()
        self.gone = False
        self.waiting: Deferred[None] | None = None

    def _wake(self) -> None:
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += self.coding.into(data)
        self._wake()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.gone = True
        self._wake()

    async def more(self) -> bool:
        """Wait for octets or the end; tell whether anything happened."""
        from twisted.internet import reactor

        self.waiting = Deferred()
        try:
            await self.waiting.addTimeout(PATIENCE, reactor)
        except TimeoutError:
            return False
        return True


class TcpClient:
    """A client over TCP."""

    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver
        self.coding = receiver.coding

    @classmethod
    async def connect(cls, port: int) -> "TcpClient":
        """Connect to a port of 127.0.0.1."""
        from twisted.internet import reactor

        return cls(await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), _Receiver()))

    async def send(self, data: bytes) -> None:
        """Send octets in one write."""
        self._receiver.transport.write(self.coding.out(data))

    async def line(self) -> bytes | None:
        """Return the next line, waiting for it."""
        while b"\r\n" not in self._receiver.received:
            if self._receiver.gone or not await self._receiver.more():
                return None
        line, _, self._receiver.received = self._receiver.received.partition(b"\r\n")
        return line

    async def closed(self) -> bool:
        """Wait until the server has closed."""
        while not self._receiver.gone:
            if not await self._receiver.more():
                return False
        return True

    async def hang_up(self) -> None:
        """Close the client's side and wait until it is closed."""
        if not self._receiver.gone:
            self._receiver.transport.loseConnection()
            await self.closed()

    def rest(self) -> bytes:
        """Return what has come and was not read."""
        return self._receiver.received
