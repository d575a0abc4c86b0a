"""The one adapter between a protocol core and a Twisted transport.

A connection is one coroutine, `converse`, that takes events with `receive` and answers with `send`.
Bytes go through `feed` (the core) and wait as events; reading pauses while events wait, so a peer
that floods is held back by TCP. Answers are joined into one write per turn; `drained` waits for a
slow reader. When the connection is lost the coroutine is cancelled, wherever it waits.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sora.core import limits
from sora.net.tls import Certificates
from sora.net.wheel import Wheel
from sora.wire.deflate import Garbled, Packer, Unpacker

E = TypeVar("E")
_FLUSH_AT = 65_536
_LOOK_EVERY = 64
"""Events that wait already are taken until the clock is asked how long that has been going on."""
_CLOSED = Failure(ConnectionDone())  # type: ignore[no-untyped-call]


@implementer(IPushProducer)
class Conversation(Protocol, ABC, Generic[E]):
    """A connection as a coroutine over events of type `E`."""

    # There may be ten thousands of connections: slots take a third of what a dictionary takes.
    __slots__ = (
        "_events",
        "_output",
        "_output_size",
        "_packer",
        "_reading_paused",
        "_resumed_at",
        "_running",
        "_slow",
        "_taken",
        "_unpacker",
        "_waiting",
        "_writing_paused",
        "closing",
        "expires_at",
        "in_pieces",
        "lost",
        "watched_at",
        "wheel",
    )

    log = Logger()
    transport: ITransport

    def __init__(self, wheel: Wheel) -> None:
        self.wheel = wheel
        self.expires_at = math.inf
        self.watched_at: int | None = None
        self._events: deque[E] = deque()
        self._waiting: Deferred[None] | None = None
        self._output: list[bytes] = []
        self._output_size = 0
        self._reading_paused = False
        self._writing_paused: Deferred[None] | None = None
        self._slow = False
        self._resumed_at = 0.0
        """When the coroutine was last given the reactor."""
        self._taken = 0
        """Events taken since others had their turn for certain."""
        self._running: Deferred[None] | None = None
        self._packer: Packer | None = None
        self._unpacker: Unpacker | None = None
        self.lost = False
        self.closing = False
        self.in_pieces = False
        """Whether something is being sent that nothing else may come into."""

    # ------------------------------------------------------------ what a protocol supplies

    @abstractmethod
    def feed(self, data: bytes) -> list[E]:
        """Turn received bytes into events; the protocol core does it."""

    @abstractmethod
    async def converse(self) -> None:
        """Hold the whole conversation; returning closes the connection."""

    def expire(self) -> None:
        """The deadline passed while nothing was being written: say goodbye and close."""
        self.close()

    def garbled(self, reason: str) -> None:
        """The peer's compressed octets cannot be expanded; the connection closes after this."""

    def broke(self, failure: Failure) -> None:
        """`converse` raised something that is a bug; the connection closes after this."""

    def ended(self) -> None:
        """The connection is gone; release what belongs to it."""

    # ------------------------------------------------------------ what a protocol uses

    async def receive(self) -> E:
        """Return the next event, waiting for it; what was sent so far is flushed before waiting."""
        self._taken += 1
        if self._slow or (self._events and self._taken >= _LOOK_EVERY):
            # Whoever asks for more without reading what came waits, however much was sent ahead.
            self._taken = 0
            await self.drained()
        while not self._events:
            if self._unpacker is not None and self._unpacker.pending:
                await self._expand(self._unpacker)
                continue
            self.flush()
            self._resume_reading()
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
            self._resumed_at, self._taken = self.wheel.now(), 0
        return self._events.popleft()

    async def _expand(self, unpacker: Unpacker) -> None:
        """Give the core the next piece of what came compressed."""
        if unpacker.ended:
            self._unpacker = None
        try:
            self._events.extend(self.feed(unpacker.take()))
        except Garbled as error:
            self.log.info("a compressed connection is closed: {reason}", reason=str(error))
            self.garbled(str(error))
            self.close()
            await Deferred()  # until the connection is lost
        await self.drained()

    @property
    def compressing(self) -> bool:
        """Whether both directions are compressed."""
        return self._packer is not None

    def compress(self) -> None:
        """Compress what is sent from now on, and expand what comes (RFC 4978); nothing may have come ahead."""
        self.flush()
        self._packer, self._unpacker = Packer(), Unpacker()

    def compress_no_more(self) -> None:
        """Send and take plain octets again; what came behind the last compressed ones is plain (RFC 8437 4.1)."""
        self.flush()
        self._packer = None
        if self._unpacker is not None:
            self._unpacker.end()

    def secure(self, certificates: Certificates) -> None:
        """Go on in TLS: nothing that the peer sent before is taken for more (RFC 3501 6.2.1, CVE-2011-0411)."""
        self.flush()
        self._events.clear()
        self.transport.startTLS(certificates)  # type: ignore[attr-defined]

    @property
    def pending(self) -> bool:
        """Whether an event waits."""
        return bool(self._events)

    @property
    def slow(self) -> bool:
        """Whether the peer has not taken what it was sent."""
        return self._slow

    def next_waiting(self) -> E | None:
        """Return the event that `receive` would return without waiting, and leave it there."""
        return self._events[0] if self._events else None

    def push(self, event: E) -> None:
        """Put an event that did not come from the peer behind those that wait."""
        self._events.append(event)
        self._wake()

    def send(self, data: bytes) -> None:
        """Answer; the bytes leave with the next flush."""
        self._output.append(data)
        self._output_size += len(data)
        if self._output_size >= _FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what was sent in one piece."""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self._output_size = 0
            if self._packer is not None:
                data = self._packer.pack(data)
            if not self.lost:
                self.transport.write(data)

    async def send_paced(self, data: bytes) -> None:
        """Answer with any number of octets, in pieces, each when the peer has taken the one before.

        Of small answers so many are a piece as leave at once, which takes long where they are compressed.
        """
        if len(data) <= limits.WRITE_PIECE_MAX:
            self.send(data)
            if not self._output:
                await self.drained()
            return
        self.in_pieces = True
        try:
            for start in range(0, len(data), limits.WRITE_PIECE_MAX):
                self.send(data[start : start + limits.WRITE_PIECE_MAX])
                await self.drained()
        finally:
            self.in_pieces = False

    async def drained(self) -> None:
        """Wait until the peer has taken enough for more to be made, and until others have had their turn.

        A peer that takes too long is cut off. Long work calls this between its pieces.
        """
        if self._output_size >= _FLUSH_AT:
            self.flush()
        if self.wheel.now() - self._resumed_at > limits.TURN_TIME_MAX:
            await self.wheel.turn()
            self._resumed_at = self.wheel.now()
        while self._slow:
            deadline = self.expires_at
            self.expire_in(min(limits.SLOW_READER_TIME_MAX, deadline - self.wheel.now()))
            self._writing_paused = Deferred()
            try:
                await self._writing_paused
            finally:
                self._writing_paused = None
            self.expires_at = deadline
            self._resumed_at = self.wheel.now()

    def expire_in(self, seconds: float) -> None:
        """Set the deadline, from now; `math.inf` for none."""
        earlier = self.expires_at
        self.expires_at = self.wheel.now() + seconds
        if self.watched_at is None or self.expires_at < earlier:
            self.wheel.watch(self)

    def close(self) -> None:
        """Flush and close; `converse` is cancelled when the transport says that it is lost."""
        self.flush()
        self._end()

    def _end(self) -> None:
        if not self.lost and not self.closing:
            self.expire_in(limits.LINGER_TIME_MAX)
            # Twisted's TLS does not close as long as it has a producer.
            self.transport.unregisterProducer()  # type: ignore[attr-defined]
            self.transport.loseConnection()
        self.closing = True

    def due(self) -> None:
        """Take the wheel's word that the deadline has passed."""
        if self.closing or self._writing_paused is not None:
            self.log.info("a peer that takes nothing was cut off")
            self.abort()
        else:
            self.expire()

    def abort(self) -> None:
        """Close without waiting for a peer that takes nothing any more."""
        if not self.lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    # ------------------------------------------------------------ what Twisted calls

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self._running = Deferred.fromCoroutine(self._run())

    def dataReceived(self, data: bytes) -> None:
        if self.closing:
            return
        if self._unpacker is None:
            self._events.extend(self.feed(data))
        else:
            self._unpacker.add(data)
        self._wake()

    def connectionLost(self, reason: Failure = _CLOSED) -> None:
        self.lost = True
        self.expires_at = math.inf
        self.wheel.forget(self)
        if self._running is not None:
            self._running.cancel()
        self._events.clear()
        self.ended()

    def pauseProducing(self) -> None:
        self._slow = True

    def resumeProducing(self) -> None:
        self._slow = False
        if self._writing_paused is not None:
            self._writing_paused.callback(None)

    def stopProducing(self) -> None:
        self._slow = False

    # ------------------------------------------------------------ inside

    async def _run(self) -> None:
        try:
            await self.converse()
        except CancelledError:
            if not self.lost:
                raise
        except Exception:  # noqa: BLE001  the boundary: what arrives here is a bug
            failure = Failure()  # type: ignore[no-untyped-call]
            if self.lost:
                return
            self.log.failure("the conversation broke", failure)
            self.broke(failure)
        if not self.lost:
            self.close()

    def _wake(self) -> None:
        arrived = bool(self._events) or (self._unpacker is not None and self._unpacker.pending)
        if self._waiting is not None and arrived:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)
            arrived = bool(self._events) or (self._unpacker is not None and self._unpacker.pending)
        if arrived and not self._reading_paused and not self.closing and not self.lost:
            self._reading_paused = True
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.closing and not self.lost:
            self._reading_paused = False
            self.transport.resumeProducing()  # type: ignore[attr-defined]
