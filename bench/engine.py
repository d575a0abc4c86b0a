"""The load driver: one process, one epoll loop, scripts prepared beforehand, answers looked at no more than needed.

A script is a list of steps. A step sends octets and waits for an answer: `lines` of them, of which the last begins
with `token`, or (0) a complete line that begins with `token` at the end of what came. Latency is taken from the first
step of a script to the end of the last one. A step may pause before it is sent; what comes meanwhile is let go by.
"""

import contextlib
import heapq
import itertools
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

_TAIL = 4096
"""Octets kept to look for the end of an answer in; no final line of an answer is longer, nor a list of capabilities."""
STALL = 30.0
"""Seconds without an octet after which a run is given up, unless the driver is told otherwise."""
_RECEIVE = 1 << 18
_WAITING = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@attrs.define
class Step:
    """Octets to send and the answer to wait for; `done` is what the final line says when all is well.

    `pause` is how many seconds to wait before; a fresh connection whose first step pauses is opened after that.
    """

    send: bytes
    token: bytes
    lines: int = 0
    done: bytes = b""
    pause: float = 0.0


Script = Sequence[Step]


class ScriptFailed(Exception):
    """Raised when a server answers otherwise than a script expects, hangs up, or does not answer."""


@attrs.define(eq=False)
class Line:
    """One connection to a server, and what it has to do."""

    address: tuple[str, int]
    fresh: bool = False
    """Connect anew for each script."""
    context: ssl.SSLContext | None = None
    """Speak TLS."""
    sock: socket.socket | None = None
    scripts: Iterator[Script] = attrs.Factory(lambda: iter(()))
    script: Script = ()
    at: int = 0
    tail: bytes = b""
    unsent: memoryview | None = None
    began: float = 0.0
    shaking: bool = False
    parked: bool = False
    latencies: list[float] | None = None
    """Where this one's latencies go, if not among those of all."""

    def open(self) -> None:
        """Connect; on loopback that takes no time."""
        sock = socket.create_connection(self.address, timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        if self.context is not None:
            sock = self.context.wrap_socket(sock, do_handshake_on_connect=False)
            self.shaking = True
        self.sock = sock

    def shake(self) -> int:
        """Go on with the handshake; return the events to wait for, none when it is done."""
        assert isinstance(self.sock, ssl.SSLSocket)  # noqa: S101  for the type
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLIN | select.EPOLLOUT
        except OSError as error:
            raise ScriptFailed(f"handshake: {error}") from None
        self.shaking = False
        return 0

    def close(self) -> None:
        """Hang up."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


@attrs.define
class Outcome:
    """What came of a run; seconds from the first octet to the last answer."""

    latencies: list[float] = attrs.Factory(list)
    seconds: float = 0.0
    octets: int = 0


@attrs.frozen
class Tick:
    """Something to do again and again while scripts run."""

    seconds: float
    call: Callable[[], None]


def _waiting(lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if not line.parked]


class Driver:
    """Runs scripts on connections until they end or a time has passed."""

    def __init__(self) -> None:
        self.stall = STALL
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._outcome = Outcome()
        self._buffer = bytearray(_RECEIVE)
        self._view = memoryview(self._buffer)
        self._deadline = 0.0
        self._parked: list[tuple[float, int, Line]] = []
        self._numbers = itertools.count()
        self._tick: Tick | None = None
        self._tick_at = 0.0

    def run(
        self, work: Iterable[tuple[Line, Iterable[Script]]], *, seconds: float, tick: Tick | None = None
    ) -> Outcome:
        """Run each connection's scripts one after the other, beginning none after so many seconds.

        What still pauses then is given up. Raises `ScriptFailed`. Connections stay open unless they are fresh ones.
        """
        self._outcome = Outcome()
        start = time.perf_counter()
        self._deadline = start + seconds
        self._tick, self._tick_at = tick, start
        try:
            for line, scripts in work:
                line.scripts = iter(scripts)
                if line.sock is not None:
                    self._register(line)
                self._next_script(line)
            self._turn()
        finally:
            for number in self._lines:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(number)
            self._lines.clear()
            self._parked.clear()
        self._outcome.seconds = time.perf_counter() - start
        return self._outcome

    def _register(self, line: Line) -> None:
        assert line.sock is not None  # noqa: S101  for the type
        number = line.sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._lines[number] = line

    def _release(self, line: Line) -> None:
        if line.sock is not None and self._lines.pop(line.sock.fileno(), None) is not None:
            self._epoll.unregister(line.sock.fileno())

    def _turn(self) -> None:
        poll, lines = self._epoll.poll, self._lines
        heard = time.perf_counter()
        while lines or self._parked:
            events = poll(self._patience())
            if self._parked or self._tick is not None:
                self._on_time()
            if events:
                heard = time.perf_counter()
            elif time.perf_counter() - heard > self.stall and (
                busy := [one for one in lines.values() if not one.parked]
            ):
                raise ScriptFailed(f"no answer for {self.stall:.0f} s to {busy[0].script[busy[0].at : busy[0].at + 1]}")
            for number, event in events:
                line = lines.get(number)
                if line is None:
                    continue
                if line.shaking:
                    self._shake(line)
                    continue
                if event & select.EPOLLOUT:
                    self._send(line)
                if event & ~select.EPOLLOUT:
                    self._receive(line)

    def _patience(self) -> float:
        """Return for how long nothing may happen."""
        if not self._parked and self._tick is None:
            return self.stall
        due = min((self._parked[0][0] if self._parked else self._deadline, self._deadline + 1.0))
        if self._tick is not None:
            due = min(due, self._tick_at)
        return max(0.0, min(self.stall, due - time.perf_counter()))

    def _on_time(self) -> None:
        now = time.perf_counter()
        if self._tick is not None and now >= self._tick_at:
            self._tick.call()
            self._tick_at = max(self._tick_at + self._tick.seconds, time.perf_counter())
        while self._parked and (self._parked[0][0] <= now or now >= self._deadline):
            line = heapq.heappop(self._parked)[2]
            if now >= self._deadline:
                self._release(line)
                continue
            line.parked = False
            if line.at == 0:
                line.began = now
            self._begin_step(line, rested=True)

    def _next_script(self, line: Line) -> None:
        script = next(line.scripts, None) if time.perf_counter() < self._deadline else None
        if line.fresh:
            self._release(line)
            line.close()
        if script is None:
            self._release(line)
            return
        line.script, line.at, line.began = script, 0, time.perf_counter()
        self._begin_step(line)

    def _begin_step(self, line: Line, *, rested: bool = False) -> None:
        if line.script[line.at].pause and not rested:
            line.parked = True
            due = time.perf_counter() + line.script[line.at].pause
            heapq.heappush(self._parked, (due, next(self._numbers), line))
            return
        if line.sock is None:
            line.open()
            self._register(line)
        if line.shaking:
            self._shake(line)
            return
        line.tail = b""
        octets = line.script[line.at].send
        if octets:
            line.unsent = memoryview(octets)
            self._send(line)

    def _shake(self, line: Line) -> None:
        assert line.sock is not None  # noqa: S101  for the type
        self._epoll.modify(line.sock.fileno(), line.shake() or select.EPOLLIN)
        if not line.shaking:
            self._begin_step(line, rested=True)

    def _send(self, line: Line) -> None:
        assert line.sock is not None  # noqa: S101  for the type
        if line.unsent is None:
            return
        waiting = len(line.unsent)
        try:
            line.unsent = line.unsent[line.sock.send(line.unsent) :]
        except _WAITING:
            pass
        except OSError as error:
            raise ScriptFailed(f"{error} sending {line.script[line.at].send[:60]!r}") from None
        if not line.unsent:
            line.unsent = None
            self._epoll.modify(line.sock.fileno(), select.EPOLLIN)
        elif len(line.unsent) <= waiting:
            self._epoll.modify(line.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _receive(self, line: Line) -> None:
        assert line.sock is not None  # noqa: S101  for the type
        try:
            size = line.sock.recv_into(self._buffer)
        except _WAITING:
            return
        except OSError:
            size = 0
        step = line.script[line.at]
        if line.parked and size:
            return
        if not size:
            raise ScriptFailed(f"connection closed after {step.send[:60]!r}: {line.tail[-200:]!r}")
        self._outcome.octets += size
        tail = line.tail
        if step.lines:
            line.tail = tail = tail + self._view[:size]
            if tail.count(b"\n") < step.lines:
                return
            last = tail[:-1].rfind(b"\n") + 1
        else:
            tail = tail + self._view[max(0, size - _TAIL) : size]
            line.tail = tail = tail[-_TAIL:]
            if not tail.endswith(b"\n"):
                return
            last = 0 if tail.startswith(step.token) else tail.rfind(b"\n" + step.token) + 1
            if not last and not tail.startswith(step.token):
                return
        if not tail.startswith(step.token + step.done, last):
            raise ScriptFailed(f"{step.send[:80]!r} was answered {tail[last:][:200]!r}")
        line.at += 1
        if line.at < len(line.script):
            self._begin_step(line)
            return
        latencies = self._outcome.latencies if line.latencies is None else line.latencies
        latencies.append(time.perf_counter() - line.began)
        self._next_script(line)
