"""A proxy on the reactor that cuts, stalls, delays, truncates and corrupts at a chosen octet or statement.

It stands between sora and PostgreSQL, S3 or a client. Of PostgreSQL's protocol it knows where messages begin, which
statement an EXECUTE stands for and where an answer ends: enough to let a change be committed and its answer be lost.
"""

import random
import re
import struct
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sora.aio import Once, deferred

HOST: Final = "127.0.0.1"
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_PREPARE = re.compile(rb"PREPARE (sora_\w+) AS (.*); EXECUTE \1", re.S)
_EXECUTE = re.compile(rb"EXECUTE (sora_\w+)")


class Side(Enum):
    """Which way octets go."""

    ASKED = "from the client"
    ANSWERED = "from the server"


class Act(Enum):
    """What a strike does to the piece it meets."""

    CUT = "the piece is kept back and both connections are reset"
    STALL = "the piece and all behind it wait until the strike is released"
    DELAY = "the same for some seconds"
    TRUNCATE = "half of the piece passes, then both connections are reset"
    CORRUPT = "one bit of the piece is turned"
    TELL = "nothing; it is only told"


HARMFUL: Final = (Act.CUT, Act.STALL, Act.DELAY, Act.TRUNCATE, Act.CORRUPT)


@attrs.define(eq=False)
class Strike:
    """One fault that waits for its moment: an octet of a direction, or a statement whose text has `pattern`.

    With `pattern`, the piece is the question, or the whole answer up to PostgreSQL's "ready for query": when the
    answer is struck its statement is done, committed unless a transaction was left open.
    """

    act: Act
    side: Side = Side.ANSWERED
    pattern: bytes | None = None
    at: int = 0
    """The octet of the direction, counted for each connection, if there is no pattern."""
    skip: int = 0
    """How many such moments pass unharmed before."""
    seconds: float = 0.0
    struck: Once["Pipe"] = attrs.field(factory=Once)
    released: Once[None] = attrs.field(factory=Once)

    def release(self) -> None:
        """Let what a STALL holds go on."""
        if not self.released.done:
            self.released.fire(None)

    def meets(self, side: Side, text: bytes) -> bool:
        """Tell whether this is the moment, counting those to be skipped."""
        if self.struck.done or self.side is not side or self.pattern is None or not re.search(self.pattern, text):
            return False
        self.skip -= 1
        return self.skip < 0


class Weather:
    """Draws strikes for each connection, repeatably from a seed: with probability `rate` one, at any early octet."""

    def __init__(self, seed: int, rate: float, acts: tuple[Act, ...] = HARMFUL, *, octets: int = 20_000) -> None:
        self._seed, self._rate, self._acts, self._octets = seed, rate, acts, octets

    def __call__(self, number: int) -> list[Strike]:
        """Return the strikes of the connection with this number."""
        drawn = random.Random(f"{self._seed}/{number}")
        if drawn.random() >= self._rate:
            return []
        at = int(self._octets ** drawn.random())
        return [Strike(drawn.choice(self._acts), drawn.choice(tuple(Side)), at=at, seconds=drawn.uniform(0.01, 0.5))]


class Octets:
    """Framing of a protocol that is not understood: a piece is what arrived, split where a strike wants it."""

    def __init__(self, cut: "Cut", strikes: list[Strike]) -> None:
        self._strikes = strikes
        self._passed = {Side.ASKED: 0, Side.ANSWERED: 0}

    def pieces(self, side: Side, data: bytes) -> Iterator[tuple[bytes, Strike | None]]:
        """Yield pieces in their order, each with the strike that meets it."""
        while data:
            begin = self._passed[side]
            near = [s for s in self._strikes if s.side is side and not s.struck.done and s.at < begin + len(data)]
            strike = min(near, key=lambda s: s.at, default=None)
            size = len(data) if strike is None else max(0, strike.at - begin)
            if size:
                yield data[:size], None
            if strike is not None:
                yield data[size:], strike
                size = len(data)
            data, self._passed[side] = data[size:], begin + size


class Messages:
    """Framing of PostgreSQL's protocol 3: questions, and answers that are held together while a strike wants them."""

    def __init__(self, cut: "Cut", strikes: list[Strike]) -> None:
        self._cut = cut
        self._rest = {Side.ASKED: b"", Side.ANSWERED: b""}
        self._begun = False
        self._parsed: dict[bytes, bytes] = {}
        self._answer: list[bytes] = []
        self._wanted: Strike | None = None
        self.refused = 0
        """How many times TLS was asked for: each is to be answered N."""

    def pieces(self, side: Side, data: bytes) -> Iterator[tuple[bytes, Strike | None]]:
        """Yield whole messages, or whole answers, each with the strike that meets it."""
        data = self._rest[side] + data
        while (size := self._length(side, data)) and len(data) >= size:
            message, data = data[:size], data[size:]
            self._rest[side] = data
            yield from self._asked(message) if side is Side.ASKED else self._answered(message)
        self._rest[side] = data

    def _length(self, side: Side, data: bytes) -> int:
        start = 0 if side is Side.ASKED and not self._begun else 1
        return struct.unpack_from("!i", data, start)[0] + start if len(data) >= start + 4 else 0

    def _asked(self, message: bytes) -> Iterator[tuple[bytes, Strike | None]]:
        if not self._begun:
            if struct.unpack_from("!i", message, 4)[0] in (_SSL_REQUEST, _GSS_REQUEST):
                self.refused += 1
                return
            self._begun = True
        elif message[:1] == b"P":
            name, _, rest = message[5:].partition(b"\0")
            self._parsed[name] = rest.partition(b"\0")[0]
        elif message[:1] in (b"Q", b"B"):
            text = self._cut.text_of(message[5:-1]) if message[:1] == b"Q" else self._bound(message)
            strike = self._cut.strike(Side.ASKED, text)
            self._wanted = self._cut.strike(Side.ANSWERED, text)
            yield message, strike
            return
        yield message, None

    def _bound(self, message: bytes) -> bytes:
        """Return the text of the statement that a Bind names: parsed on this connection, or prepared by SQL."""
        name = message[5:].split(b"\0", 2)[1]
        return self._parsed.get(name) or self._cut.text_of(b"EXECUTE " + name)

    def _answered(self, message: bytes) -> Iterator[tuple[bytes, Strike | None]]:
        if self._wanted is None:
            yield message, None
            return
        self._answer.append(message)
        if message[:1] == b"Z":
            strike, self._wanted = self._wanted, None
            answer, self._answer = b"".join(self._answer), []
            yield answer, strike


class Pipe:
    """Two connections joined; `text` is the statement under way on it, if it is PostgreSQL's."""

    def __init__(self, cut: "Cut", near: "_End", framing: Any) -> None:
        self.cut = cut
        self.ends: dict[Side, _End] = {Side.ANSWERED: near}
        """Where a side's octets are written to."""
        self._framing = framing
        self._queues: dict[Side, deque[tuple[bytes, Strike | None]]] = {side: deque() for side in Side}
        self._held: set[Side] = {Side.ASKED}

    def connected(self, far: "_End") -> None:
        """Begin to pass on, once the server has answered."""
        self.ends[Side.ASKED] = far
        self._free(Side.ASKED)

    def received(self, side: Side, data: bytes) -> None:
        """Take octets that go one way."""
        self._queues[side].extend(self._framing.pieces(side, data))
        while getattr(self._framing, "refused", 0):
            self._framing.refused -= 1
            self.ends[Side.ANSWERED].write(b"N")
        self._flow(side)

    def abort(self) -> None:
        """Reset both connections."""
        self.cut.pipes.discard(self)
        for end in self.ends.values():
            end.abort()

    def over(self, side: Side) -> None:
        """One end has closed: what came from it still arrives, then the other end closes."""
        self._queues[side].append((b"", None))
        self._flow(side)

    @property
    def holds(self) -> bool:
        """Whether something is kept back."""
        return any(self._queues.values())

    def hold(self) -> None:
        """Pass nothing on until `free`."""
        self._held |= set(Side)

    def free(self) -> None:
        """Pass on again."""
        for side in Side:
            self._free(side)

    def _free(self, side: Side) -> None:
        self._held.discard(side)
        self._flow(side)

    def _flow(self, side: Side) -> None:
        queue = self._queues[side]
        while queue and side not in self._held and side in self.ends:
            data, strike = queue.popleft()
            if strike is None:
                self._pass(side, data)
            else:
                self._suffer(side, data, strike)

    def _pass(self, side: Side, data: bytes) -> None:
        if data:
            self.ends[side].write(data)
        else:
            self.cut.pipes.discard(self)
            self.ends[side].close()

    def _suffer(self, side: Side, data: bytes, strike: Strike) -> None:
        if strike.struck.done:
            self._pass(side, data)
            return
        if strike.act is Act.TELL:
            self._pass(side, data)
        elif strike.act is Act.CORRUPT:
            where = len(data) // 2
            self._pass(side, data[:where] + bytes([data[where] ^ 0x10]) + data[where + 1 :])
        elif strike.act in (Act.STALL, Act.DELAY):
            self._queues[side].appendleft((data, None))
            self._held.add(side)
            strike.released.wait().addCallback(lambda _: self._free(side))
            if strike.act is Act.DELAY:
                self.cut.reactor.callLater(strike.seconds, strike.release)
        else:
            if strike.act is Act.TRUNCATE:
                self.ends[side].write(data[: len(data) // 2])
            self.abort()
        strike.struck.fire(self)


class _End(Protocol):
    """One connection of a pipe; what it receives goes `side`."""

    def __init__(self, side: Side, pipe: Callable[["_End"], Pipe]) -> None:
        self._side, self._make = side, pipe
        self._pipe: Pipe | None = None
        self.transport: Any = None
        self.gone = False

    def connectionMade(self) -> None:
        self._pipe = self._make(self)
        self._pipe.cut.open.add(self)

    def dataReceived(self, data: bytes) -> None:
        assert self._pipe is not None
        self._pipe.received(self._side, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        if self._pipe is not None:
            self._pipe.over(self._side)
            self._pipe.cut.gone(self)

    def write(self, data: bytes) -> None:
        if not self.gone:
            self.transport.write(data)

    def close(self) -> None:
        if not self.gone:
            self.transport.loseConnection()

    def abort(self) -> None:
        if not self.gone:
            self.transport.abortConnection()


class Cut(Factory):
    """Listens on a free port of loopback and passes on to `upstream`: (host, port) or a unix socket's path."""

    noisy = False

    def __init__(
        self,
        reactor: Any,
        upstream: tuple[str, int] | str,
        *,
        framing: Callable[["Cut", list[Strike]], Any] = Octets,
        weather: Callable[[int], list[Strike]] | None = None,
    ) -> None:
        self.reactor = reactor
        self.upstream = upstream
        self.pipes: set[Pipe] = set()
        self.strikes: list[Strike] = []
        self.away = False
        """Whether connections are reset as soon as they are made."""
        self.connections = 0
        self.port = 0
        self.open: set[_End] = set()
        self._connecting: set[Deferred[Any]] = set()
        self._emptied: Once[None] | None = None
        self._framing = framing
        self._weather = weather
        self._texts: dict[bytes, bytes] = {}
        self._listening: Any = None

    def start(self, port: int = 0) -> None:
        """Listen."""
        self._listening = self.reactor.listenTCP(port, self, interface=HOST)
        self.port = self._listening.getHost().port

    @deferred
    async def stop(self) -> None:
        """Close the port and all connections; what was held back is lost."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            waiting: Deferred[None] | None = listening.stopListening()
            if waiting is not None:
                await waiting
        for connecting in list(self._connecting):
            connecting.cancel()
        self.sever()
        for end in list(self.open):
            end.abort()
        self.release()
        if self.open:
            self._emptied = Once()
            await self._emptied.wait()

    def gone(self, end: _End) -> None:
        """Forget an end; it calls this itself."""
        self.open.discard(end)
        if not self.open and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.fire(None)

    def add(self, strike: Strike) -> Strike:
        """Have a fault wait for its moment, on any connection."""
        self.strikes.append(strike)
        return strike

    def clear(self) -> None:
        """Forget all strikes, and let what they hold go on."""
        self.release()
        self.strikes.clear()

    def release(self) -> None:
        """Let what strikes hold go on."""
        for strike in self.strikes:
            strike.release()

    def sever(self) -> None:
        """Reset every connection."""
        for pipe in list(self.pipes):
            pipe.abort()

    def strike(self, side: Side, text: bytes) -> Strike | None:
        """Return the strike whose moment a statement is."""
        return next((strike for strike in self.strikes if strike.meets(side, text)), None)

    def text_of(self, statement: bytes) -> bytes:
        """Return a statement's text, that of a prepared one with what was prepared under its name."""
        if prepared := _PREPARE.match(statement):
            self._texts[prepared[1]] = prepared[2]
        named = _EXECUTE.match(statement)
        return statement + b"\n" + self._texts.get(named[1], b"") if named else statement

    def buildProtocol(self, addr: object) -> _End:
        self.connections += 1
        strikes = self._weather(self.connections) if self._weather is not None else []
        for strike in strikes:
            self.strikes.append(strike)
        octets = strikes if strikes else [strike for strike in self.strikes if strike.pattern is None]
        return _End(Side.ASKED, lambda near: self._joined(near, self._framing(self, octets)))

    def _joined(self, near: _End, framing: Any) -> Pipe:
        pipe = Pipe(self, near, framing)
        if self.away:
            near.abort()
            return pipe
        self.pipes.add(pipe)
        where = self.upstream
        endpoint: Any = (
            UNIXClientEndpoint(self.reactor, where)  # type: ignore[no-untyped-call]
            if isinstance(where, str)
            else TCP4ClientEndpoint(self.reactor, *where)
        )
        far = _End(Side.ANSWERED, lambda _: pipe)

        def connected(_: object) -> None:
            if near.gone or pipe not in self.pipes:
                far.abort()
            else:
                pipe.connected(far)

        connecting = endpoint.connect(Factory.forProtocol(lambda: far))
        self._connecting.add(connecting)

        def over(result: Any) -> Any:
            self._connecting.discard(connecting)
            return result

        connecting.addBoth(over).addCallbacks(connected, lambda _: pipe.abort())
        return pipe
