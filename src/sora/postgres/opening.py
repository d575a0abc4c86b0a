"""Opening connections, to the server that takes writes, and cancelling statements in it."""

import contextlib
from typing import Any, Final

import psycopg2
from twisted.internet.defer import CancelledError, Deferred

from sora.aio import timeout
from sora.core.errors import DatabaseUnavailable
from sora.postgres.adapter import Connection
from sora.postgres.binary import BinaryConnection
from sora.postgres.places import parameters, resolve
from sora.postgres.settings import DatabaseSettings

WRITABLE: Final = "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'"
"""Asked of each new connection: whether its server takes writes."""
SECURED: Final = WRITABLE + ", modseqs_secured()"
"""The same of a migrated database. A crash ends all connections, so that nobody changes anything after one
before modseqs that it took back are out of reach."""
_CANCEL: Final = "SELECT pg_cancel_backend(%(backend)s)"


class Opener:
    """Makes connections to one database; remembers which place was good."""

    def __init__(self, settings: DatabaseSettings, reactor: Any, *, check: str = WRITABLE) -> None:
        """`check`: the statement that each connection begins with; its first value says whether it takes writes."""
        self.settings = settings
        self.reactor = reactor
        self._check = check
        self._parameters = parameters(settings)
        self._good = 0
        self._opening: set[Deferred[Connection]] = set()

    def start(self) -> "Deferred[Connection]":
        """Open a connection; `stop` cancels it."""
        opening = Deferred.fromCoroutine(self.open())
        self._opening.add(opening)

        def over(result: Any) -> Any:
            self._opening.discard(opening)
            return result

        return opening.addBoth(over)

    def stop(self) -> None:
        """Give up what is being opened."""
        for opening in list(self._opening):
            opening.cancel()

    async def open(self) -> Connection:
        """Return a connection to a server that takes writes. Raises `DatabaseUnavailable` with the reasons."""
        places = self.settings.places
        reasons = []
        for offset in range(len(places)):
            index = (self._good + offset) % len(places)
            try:
                connection = await self._open_place(places[index])
            except DatabaseUnavailable as error:
                reasons.append(f"{places[index]}: {error}")
                continue
            self._good = index
            return connection
        raise DatabaseUnavailable("; ".join(reasons))

    async def _open_place(self, place: str) -> Connection:
        reason = DatabaseUnavailable("no address")
        for where in await resolve(place, self.reactor):
            try:
                return await self._open_address(place, where)
            except DatabaseUnavailable as error:
                reason = error
        raise reason

    async def _open_address(self, place: str, where: dict[str, str]) -> Connection:
        connection = BinaryConnection(self.reactor)
        connection.place = place
        try:
            await self._limited(connection.connect(**self._parameters, **where))
            rows = await self._limited(connection.query(self._check))
        except psycopg2.Error as error:
            connection.close()
            raise DatabaseUnavailable(_reason(error)) from None
        except BaseException:
            connection.close()
            raise
        if self.settings.writable and not rows[0][0]:
            connection.close()
            raise DatabaseUnavailable("the server is read-only")
        return connection

    def _limited(self, wait: "Deferred[Any]") -> "Deferred[Any]":
        # libpq ignores connect_timeout when it does not block. txpostgres' own cancelling would block.
        limited: Deferred[Any] = Deferred(lambda _: None)

        def pass_on(result: Any) -> None:
            if not limited.called:
                limited.callback(result)

        wait.addBoth(pass_on)
        return timeout(
            limited, self.settings.connect_timeout, self.reactor, lambda: DatabaseUnavailable("no answer in time")
        )

    async def cancel(self, busy: Connection) -> None:
        """Ask the server to end what `busy` runs, over another connection: psycopg2's own way blocks."""
        connection = await self._open_place(busy.place)
        with contextlib.suppress(psycopg2.Error, CancelledError):
            if busy.busy:
                await self._limited(connection.query(_CANCEL, {"backend": busy.backend}))
        connection.close()


def _reason(error: psycopg2.Error) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
