"""The pool of connections: first come, first served, and no connection is ever given out inside a transaction.

Opens connections as they are needed, up to a maximum; replaces those that died; rolls back what an error
or a cancelled request left open before anyone else gets the connection; gives up waiting after a while.
"""

import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres

from sora.aio import timeout
from sora.core.errors import Busy, DatabaseUnavailable
from sora.postgres.adapter import Connection, Rows
from sora.postgres.opening import WRITABLE, Opener
from sora.postgres.settings import DatabaseSettings
from sora.postgres.statement import Parameters, Statement

T = TypeVar("T")
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_MAX: Final = 2.0
_CANCEL_AFTER: Final = 0.05
"""Seconds until an abandoned statement is cancelled in the server: most end sooner by themselves."""
_TRUSTED_FOR: Final = 1.0
"""Seconds after its last use until an idle connection is looked at before it is given out."""
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks for servers that do not answer."""
_STOP_MAX: Final = 5.0
"""Seconds that `stop` waits for statements in flight."""

Job = Callable[[Connection], "Deferred[Any]"]


@attrs.define
class Counters:
    """What happened in a pool since it was made."""

    round_trips: int = 0
    """Statements of those who use the pool; not the pool's own."""
    waits: int = 0
    """Requests that found no free connection."""
    connected: int = 0
    lost: int = 0
    rolled_back: int = 0
    """Connections that came back inside a transaction."""
    cancelled: int = 0


@attrs.define(eq=False)
class _Waiting:
    job: Job
    done: "Deferred[Any]"
    deadline: float
    running: "Deferred[Any] | None" = None


class Pool(txpostgres.ConnectionPool):  # type: ignore[misc]
    """Connections to one database. `run` is the one way in; runQuery and its like are adbapi's words for it."""

    log = Logger()

    def __init__(self, settings: DatabaseSettings, reactor: Any, *, check: str = WRITABLE) -> None:
        # txpostgres' own __init__ would make a fixed set of connections.
        self.settings = settings
        self.reactor = reactor
        self.counters = Counters()
        self.connections: set[Connection] = set()
        self._opener = Opener(settings, reactor, check=check)
        self._idle: deque[tuple[Connection, float]] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._opening = 0
        self._backoff = 0.0
        self._retry: Any = None
        self._deadline: Any = None
        self._reaper: Any = None
        self._looker: Any = None
        self._stopped: Deferred[None] | None = None
        self._running = False

    # ------------------------------------------------------------ life

    async def start(self, *, required: bool = True) -> None:
        """Open the first connections. Raises `DatabaseUnavailable` if none can be had.

        A pool that is not `required` starts even so, and goes on trying.
        """
        self._running = True
        try:
            self._add(await self._opener.open())
        except DatabaseUnavailable as error:
            if required:
                self._running = False
                raise
            self._opening += 1
            self._unopened(Failure(error))  # type: ignore[no-untyped-call]
        except BaseException:
            self._running = False
            raise
        for _ in range(self.settings.pool_min - len(self.connections)):
            self._open()
        self._reaper = self.reactor.callLater(self.settings.idle_timeout, self._reap)
        self._looker = self.reactor.callLater(_LOOK_EVERY, self._look)

    async def stop(self) -> None:
        """Refuse new work, let statements in flight finish (5 s at most), close all connections."""
        self._running = False
        for call in (self._retry, self._deadline, self._reaper, self._looker):
            if call is not None and call.active():
                call.cancel()
        self._refuse(lambda: DatabaseUnavailable("the database connections are closing"))
        self._opener.stop()
        if self.in_use:
            self._stopped = Deferred()
            self._stopped.addTimeout(_STOP_MAX, self.reactor, onTimeoutCancel=lambda _, __: None)
            await self._stopped
        self.close()

    def close(self) -> None:
        """Close all connections at once."""
        for connection in list(self.connections):
            self._forget(connection)
        self._idle.clear()

    @property
    def in_use(self) -> int:
        """Connections that someone has, or whose last statement is still running."""
        return len(self.connections) - len(self._idle)

    @property
    def waiting(self) -> int:
        """Requests without a connection."""
        return len(self._waiting)

    # ------------------------------------------------------------ work

    def run(self, job: Job) -> "Deferred[Any]":
        """Run a job on a connection that nobody else has; it is given back when the job's Deferred fires.

        Raises `Busy` after `pool_wait_max`, `DatabaseUnavailable` while no server answers. Cancelling
        cancels the job; a statement still running then is cancelled in the server.
        """
        if not self._running:
            return fail(DatabaseUnavailable("the database connections are closed"))
        connection = self._take()
        if connection is not None:
            return self._start(job, connection)
        return self._queue(job)

    def query(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Run one statement on any connection."""
        self.counters.round_trips += 1
        # The hot path: what `run` would do, without a function and a Deferred more.
        connection = self._take() if self._running else None
        if connection is not None:
            return connection.query(statement, params).addBoth(self._ended, connection)
        return self.run(lambda connection: connection.query(statement, params))

    def runQuery(self, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        """Run adbapi's runQuery on a pooled connection."""
        return self.run(lambda connection: connection.runQuery(*args, **kwargs))

    def runOperation(self, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        """Run adbapi's runOperation on a pooled connection."""
        return self.run(lambda connection: connection.runOperation(*args, **kwargs))

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":
        """Run a function or coroutine function with a cursor, in a transaction."""
        return self.run(lambda connection: connection.runInteraction(interaction, *args, **kwargs))

    def _take(self) -> Connection | None:
        """Return an idle connection, the one used last; one idle for a while is looked at first."""
        while self._idle:
            connection, since = self._idle.pop()
            connection.on_lost = None
            if connection.alive and (self.reactor.seconds() - since < _TRUSTED_FOR or connection.probe()):
                return connection
            self._drop(connection)
        return None

    def _drop(self, connection: Connection) -> None:
        """Let go of a connection that died, and of the idle ones: when a server goes they die one by one."""
        self.counters.lost += 1
        self._forget(connection)
        idle, self._idle = self._idle, deque()
        for other, _ in idle:
            self._forget(other)

    def _start(self, job: Job, connection: Connection) -> "Deferred[Any]":
        running: Deferred[Any] = maybeDeferred(job, connection)
        return running.addBoth(self._ended, connection)

    def _ended(self, result: T, connection: Connection) -> T:
        if connection.alive and not connection.busy and connection.clean:
            self._give(connection)
        elif not connection.alive:
            self._drop(connection)
            self._serve()
        else:
            Deferred.fromCoroutine(self._mend(connection)).addErrback(self._unmended, connection)
        return result

    async def _mend(self, connection: Connection) -> None:
        """Bring a connection back to where nothing runs and no transaction is open, or close it."""
        if connection.busy and not await self._settles_soon(connection):
            self.counters.cancelled += 1
            # Only while we hold the connection can the process not have gone on to another's statement.
            with contextlib.suppress(DatabaseUnavailable):
                await self._opener.cancel(connection)
            await connection.settled()
        if connection.alive and not connection.clean:
            self.counters.rolled_back += 1
        if await connection.rolled_back():
            self._give(connection)
        else:
            self._forget(connection)
            self._serve()

    async def _settles_soon(self, connection: Connection) -> bool:
        try:
            await timeout(connection.settled(), _CANCEL_AFTER, self.reactor, TimeoutError)
        except TimeoutError:
            return False
        return True

    def _unmended(self, failure: Failure, connection: Connection) -> None:
        self._forget(connection)
        if self._running and not isinstance(failure.value, CancelledError):
            self.log.failure("a connection could not be put back", failure)
        self._serve()

    # ------------------------------------------------------------ waiting

    def _queue(self, job: Job) -> "Deferred[Any]":
        if self._backoff and not self.connections:
            self._open()
            if self._backoff and not self._opening:
                return fail(DatabaseUnavailable("no database server answers"))
        if len(self._waiting) >= self.settings.pool_queue_max:
            return fail(Busy("too many requests wait for the database"))
        self.counters.waits += 1
        done: Deferred[Any] = Deferred(lambda _: self._cancel(waiting))
        waiting = _Waiting(job, done, self.reactor.seconds() + self.settings.pool_wait_max)
        self._waiting.append(waiting)
        self._watch_deadline()
        self._open()
        return done

    def _cancel(self, waiting: _Waiting) -> None:
        if waiting.running is not None:
            waiting.running.cancel()
        else:
            self._waiting.remove(waiting)

    def _serve(self) -> None:
        """Give idle connections to those who wait, and open more if that is not enough."""
        while self._waiting:
            connection = self._take()
            if connection is None:
                break
            waiting = self._waiting.popleft()
            waiting.running = self._start(waiting.job, connection)
            waiting.running.addCallbacks(self._answer, self._answer, (waiting,), {}, (waiting,))
        if self._running and (self._waiting or len(self.connections) < self.settings.pool_min):
            self._open()
        if self._stopped is not None and not self.in_use and not self._stopped.called:
            self._stopped.callback(None)

    def _answer(self, result: object, waiting: _Waiting) -> None:
        # A cancelled waiter has had its CancelledError already.
        if not waiting.done.called:
            waiting.done.callback(result)

    def _give(self, connection: Connection) -> None:
        if not self._running:
            self._forget(connection)
            if self._stopped is not None and not self.in_use and not self._stopped.called:
                self._stopped.callback(None)
            return
        connection.on_lost = self._lost
        self._idle.append((connection, self.reactor.seconds()))
        if self._waiting:
            self._serve()

    def _watch_deadline(self) -> None:
        if self._waiting and (self._deadline is None or not self._deadline.active()):
            delay = max(0.0, self._waiting[0].deadline - self.reactor.seconds())
            self._deadline = self.reactor.callLater(delay, self._expire)

    def _expire(self) -> None:
        now = self.reactor.seconds()
        while self._waiting and self._waiting[0].deadline <= now:
            waiting = self._waiting.popleft()
            if self.connections:
                waiting.done.errback(Busy("no database connection became free in time"))
            else:
                waiting.done.errback(DatabaseUnavailable("no database server answered in time"))
        self._watch_deadline()

    def _refuse(self, error: Callable[[], Exception]) -> None:
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.done.errback(error())

    # ------------------------------------------------------------ opening and closing

    def _add(self, connection: Connection) -> None:
        self.counters.connected += 1
        self._backoff = 0.0
        self.connections.add(connection)
        self._give(connection)

    def _lost(self, connection: Connection) -> None:
        self._drop(connection)
        self._serve()

    def _forget(self, connection: Connection) -> None:
        connection.on_lost = None
        self.connections.discard(connection)
        connection.close()

    def _open(self) -> None:
        """Open one more connection, unless there are enough or the last attempt failed just now."""
        if not self._running or (self._retry is not None and self._retry.active()):
            return
        wanted = max(self.settings.pool_min - len(self.connections), len(self._waiting)) - self._opening
        if wanted <= 0 or len(self.connections) + self._opening >= self.settings.pool_max:
            return
        self._opening += 1
        self._opener.start().addCallbacks(self._opened, self._unopened)

    def _opened(self, connection: Connection) -> None:
        self._opening -= 1
        if self._running:
            self._add(connection)
            self._open()
        else:
            connection.close()

    def _unopened(self, failure: Failure) -> None:
        self._opening -= 1
        if not self._running or isinstance(failure.value, CancelledError):
            return
        self.log.warn("no database connection: {reason}", reason=failure.getErrorMessage())
        self._backoff = min(_BACKOFF_MAX, self._backoff * 2 or _BACKOFF_FIRST)
        if not self.connections and not self._opening:
            self._refuse(lambda: DatabaseUnavailable("no database server answers"))
        if self._retry is None or not self._retry.active():
            jitter = 0.5 + random.random()  # noqa: S311  no secret
            self._retry = self.reactor.callLater(self._backoff * jitter, self._serve)

    def _reap(self) -> None:
        """Close connections above the minimum that nobody used for a while."""
        limit = self.reactor.seconds() - self.settings.idle_timeout
        while self._idle and self._idle[0][1] <= limit and len(self.connections) > self.settings.pool_min:
            connection, _ = self._idle.popleft()
            self._forget(connection)
        self._reaper = self.reactor.callLater(self.settings.idle_timeout / 4, self._reap)

    def _look(self) -> None:
        """Give up connections whose server has not answered for longer than it may take."""
        limit = self.reactor.seconds() - self.settings.silence
        for connection in [one for one in self.connections if one.busy and one.asked_at < limit]:
            self.log.warn("{place} does not answer; a connection is given up", place=connection.place)
            connection.give_up()
        if self._running:
            self._looker = self.reactor.callLater(_LOOK_EVERY, self._look)
