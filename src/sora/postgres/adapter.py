"""The only place that knows both txpostgres and psycopg2: a connection that costs half of what it did.

A thin subclass of txpostgres' own classes with the same API and another way to wait. The descriptor stays
registered for the connection's life; answers are delivered from `doRead` itself. What is watched is a
duplicate of libpq's descriptor: libpq closes its own inside `poll` when the server goes away, and epoll
would be left with an entry that nobody can remove and with a number that another socket may get.
"""

import os
from collections.abc import Callable
from typing import Any, cast

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_WRITE,
    TRANSACTION_STATUS_IDLE,
)
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure
from txpostgres import txpostgres

from sora.postgres.failures import Outcome, outcome
from sora.postgres.statement import Parameters, Statement

Rows = list[tuple[Any, ...]]
_SEND_AT_ONCE = 8_192
"""A longer statement may not fit the socket's buffer: poll at once, so that the rest is sent."""


class Cursor(txpostgres.Cursor):  # type: ignore[misc]
    """txpostgres' cursor, executing the connection's way."""

    def execute(self, query: str, params: Any = None) -> "Deferred[Cursor]":
        """Execute; the Deferred fires with this cursor, as DB-API users of txpostgres expect."""
        return cast("Deferred[Cursor]", self._connection.send_on(self._cursor, query, params, self))


class Connection(txpostgres.Connection):  # type: ignore[misc]
    """One connection, one statement at a time; whoever uses it has it alone."""

    cursorFactory = Cursor  # noqa: N815  txpostgres reads this name

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.backend = 0
        """The server process, for `pg_cancel_backend`."""
        self.place = ""
        self.statements = 0
        """Statements sent: each is one round trip."""
        self.on_lost: Callable[[Connection], None] | None = None
        """Called once when the connection turns out to be dead while nobody uses it."""
        self.on_notify: Callable[[str, str], None] | None = None
        """Called with (channel, payload) of each NOTIFY."""
        self._prepared: set[str] = set()
        self._watched = -1
        self._cursor: Any = None
        self._waiter: Deferred[Any] | None = None
        self._busy = False
        self.asked_at = 0.0
        """When the statement in flight was sent, by the reactor's clock."""
        self._result: Any = None
        self._running: Any = None
        self._settled: list[Deferred[None]] = []

    # ------------------------------------------------------------ opening and closing

    def connect(self, *args: Any, **kwargs: Any) -> "Deferred[Connection]":
        """Connect as txpostgres does, then watch the duplicate."""
        connecting: Deferred[Any] = super().connect(*args, **kwargs)
        return connecting.addCallback(self._connected)

    def _connected(self, _: object) -> "Connection":
        self.reactor.removeReader(self)
        self._watched = os.dup(self._connection.fileno())
        self._cursor = self._connection.cursor()
        self.backend = self._connection.get_backend_pid()
        self.reactor.addReader(self)
        return self

    def close(self) -> None:
        """Close; a statement in flight fails as lost. Harmless when closed already."""
        self._unwatch()
        if self._connection is None:
            return
        super().close()
        self._finish(Failure(psycopg2.InterfaceError("connection already closed")))  # type: ignore[no-untyped-call]

    def _unwatch(self) -> None:
        if self._watched >= 0:
            self.reactor.removeReader(self)
            self.reactor.removeWriter(self)
            watched, self._watched = self._watched, -1
            os.close(watched)

    def fileno(self) -> int:
        """The watched duplicate, or libpq's descriptor while connecting."""
        if self._watched >= 0:
            return self._watched
        connection = self._connection
        return -1 if connection is None or connection.closed else int(connection.fileno())

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._connection is not None and not self._connection.closed and self._watched >= 0

    def probe(self) -> bool:
        """Look whether the server has hung up on an idle connection; returns whether it is open."""
        if self.alive and not self._busy:
            self._step()
        return self.alive

    @property
    def busy(self) -> bool:
        """Whether a statement is in flight, even if nobody waits for it any more."""
        return self._busy

    @property
    def clean(self) -> bool:
        """Whether no transaction is open."""
        return bool(self._connection.get_transaction_status() == TRANSACTION_STATUS_IDLE)

    # ------------------------------------------------------------ statements

    def query(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Send a statement and return its rows (an empty list if it has none).

        A `Statement` is prepared here when first used, in the same round trip. Cancelling the Deferred
        abandons the answer; the connection is `busy` until it has come.
        """
        if isinstance(statement, str):
            return self.send_on(self._cursor, statement, params, None)
        if statement.name in self._prepared:
            return self.send_on(self._cursor, statement.execute, params or {}, None)
        self._prepared.add(statement.name)
        sent = self.send_on(self._cursor, statement.prepare, params or {}, None)
        return sent.addErrback(self._unprepared, statement.name)

    def _unprepared(self, failure: Failure, name: str) -> Failure:
        code = getattr(failure.value, "pgcode", None)
        if code is not None and code[:2] == "42":
            self._prepared.discard(name)
        return failure

    def send_on(self, cursor: Any, query: str, params: Any, result: object | None) -> "Deferred[Any]":
        """Execute on a psycopg2 cursor; fires with `result`, or with the rows if that is None."""
        if self._busy:
            return fail(txpostgres.AlreadyPolling())
        try:
            cursor.execute(query, params)
        except (psycopg2.Error, ValueError, TypeError, KeyError, IndexError, UnicodeError):
            return fail()
        self.statements += 1
        self.asked_at = self.reactor.seconds()
        waiter: Deferred[Any] = Deferred(self._abandon)
        self._busy, self._waiter, self._running, self._result = True, waiter, cursor, result
        if len(cursor.query) > _SEND_AT_ONCE:
            self._step()
        return waiter

    def _abandon(self, waiter: "Deferred[Any]") -> None:
        if self._waiter is waiter:
            self._waiter = None

    def give_up(self) -> None:
        """Take the server for dead though the connection is open: the statement in flight fails as lost."""
        self._lost(Failure(psycopg2.OperationalError("the server does not answer")))  # type: ignore[no-untyped-call]

    def settled(self) -> "Deferred[None]":
        """Return a Deferred that fires when no statement is in flight."""
        if not self._busy:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._settled.remove)
        self._settled.append(waiter)
        return waiter

    async def rolled_back(self) -> bool:
        """Make sure that no transaction is open; returns whether the connection can be used again."""
        await self.settled()
        if not self.alive:
            return False
        if not self.clean:
            try:
                await self.query("ROLLBACK")
            except psycopg2.Error:
                return False
        return self.alive and self.clean

    def _runInteraction(self, interaction: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":  # noqa: N802
        """Run a function or a coroutine function in a transaction (txpostgres commits before a coroutine ran)."""
        return ensureDeferred(self._interact(interaction, args, kwargs))

    async def _interact(self, interaction: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        cursor = self.cursor()
        await cursor.execute("BEGIN")
        try:
            result = interaction(cursor, *args, **kwargs)
            if hasattr(result, "__await__"):
                result = await result
            await cursor.execute("COMMIT")
        except BaseException:
            if not await self.rolled_back():
                self.close()
            raise
        return result

    # ------------------------------------------------------------ what the reactor calls

    def doRead(self) -> None:
        """Take what came: an answer, a NOTIFY, or the end."""
        if self._pollingD is not None or self._watched < 0:
            # Connecting. txpostgres' own doRead goes on watching; the descriptor of an attempt that failed is none.
            txpostgres._PollingMixin.doRead(self)
            return
        self._step()
        if self._connection.notifies:
            self.checkForNotifies()

    def doWrite(self) -> None:
        """Send the rest of a long statement."""
        if self._pollingD is not None or self._watched < 0:
            super().doWrite()
            return
        self.reactor.removeWriter(self)
        self._step()

    def connectionLost(self, reason: Failure) -> None:
        """Take the reactor's word that the socket is gone."""
        if self._watched < 0:
            super().connectionLost(reason)
            return
        self._step()
        if self._watched >= 0:
            # libpq has not noticed, but nobody watches the socket any more.
            self._lost(Failure(psycopg2.OperationalError("the connection was lost")))  # type: ignore[no-untyped-call]

    def checkForNotifies(self) -> None:  # noqa: N802
        """Hand out what NOTIFY brought, at once."""
        notifies = self._connection.notifies[:]
        del self._connection.notifies[:]
        if self.on_notify is not None:
            for notify in notifies:
                self.on_notify(notify.channel, notify.payload)

    def _step(self) -> None:
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            failure = Failure()  # type: ignore[no-untyped-call]
            if outcome(error) is Outcome.LOST:
                self._lost(failure)
            else:
                self._finish(failure)
            return
        if state == POLL_OK:
            if self._busy:
                self._finish(None)
        elif state == POLL_WRITE:
            self.reactor.addWriter(self)

    def _lost(self, failure: Failure) -> None:
        busy = self._busy
        self._unwatch()
        if not self._connection.closed:
            self._connection.close()
        self._finish(failure)
        if not busy and self.on_lost is not None:
            on_lost, self.on_lost = self.on_lost, None
            on_lost(self)

    def _finish(self, failure: Failure | None) -> None:
        waiter, cursor, result = self._waiter, self._running, self._result
        self._busy, self._waiter, self._running, self._result = False, None, None, None
        if waiter is not None:
            if failure is not None:
                waiter.errback(failure)
            elif result is not None:
                waiter.callback(result)
            else:
                waiter.callback(cursor.fetchall() if cursor.description is not None else [])
        elif failure is None and cursor is not None and cursor.description is not None:
            cursor.fetchall()
        if self._settled and not self._busy:
            settled, self._settled = self._settled, []
            for one in settled:
                one.callback(None)
