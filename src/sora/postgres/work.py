"""What the rest of the folder asks of the database: `fetch`, `call` and `transact`, with errors in our own words.

A read whose connection died is tried once more on another; a change whose answer was lost is never
repeated but named `CommitUnknown`; what PostgreSQL rolled back for the sake of others is tried again.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sora.aio import deferred
from sora.core.errors import SoraError
from sora.postgres.adapter import Connection, Rows
from sora.postgres.failures import Outcome, outcome, translate
from sora.postgres.pool import Pool
from sora.postgres.statement import Parameters, Statement, function

T = TypeVar("T")
_TRIES: Final = 4
"""How often in all a statement or transaction is tried that PostgreSQL rolled back for the sake of others."""


class Transaction:
    """What `transact` gives its body: statements of one transaction."""

    def __init__(self, connection: Connection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool

    def fetch(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Run a statement of the transaction."""
        self._pool.counters.round_trips += 1
        return self._connection.query(statement, params)


class Database:
    """Statements on a pool of connections."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._functions: dict[str, Statement] = {}

    def fetch(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Read rows; tried again if it is not the statement's fault that it failed."""
        return self.pool.query(statement, params).addErrback(self._again, statement, params, changes=False)

    def change(self, statement: Statement | str, params: Parameters | None = None) -> "Deferred[Rows]":
        """Run one statement that changes something and is its own transaction."""
        return self.pool.query(statement, params).addErrback(self._again, statement, params, changes=True)

    def call(self, name: str, arguments: Parameters, *, changes: bool = True) -> "Deferred[Rows]":
        """Call an SQL function with its arguments in the order given; each name is always called alike."""
        statement = self._functions.get(name)
        if statement is None:
            statement = self._functions[name] = function(name, list(arguments))
        return self.change(statement, arguments) if changes else self.fetch(statement, arguments)

    @deferred
    async def _again(
        self, failure: Failure, statement: Statement | str, params: Parameters | None, *, changes: bool
    ) -> Rows:
        error = failure.value
        if error is None or isinstance(error, SoraError):
            failure.raiseException()
            raise AssertionError("raiseException raises")
        lost = False
        for _ in range(_TRIES - 1):
            judged = outcome(error)
            may = judged in (Outcome.REPEAT, Outcome.STALE) or (judged is Outcome.LOST and not changes and not lost)
            if not may:
                break
            lost = lost or judged is Outcome.LOST
            # An unprepared text needs no name that a connection might have forgotten.
            text = statement if isinstance(statement, str) or judged is not Outcome.STALE else statement.text
            try:
                return await self.pool.query(text, params if isinstance(text, Statement) else params or None)
            except SoraError:
                raise
            except Exception as another:  # noqa: BLE001  judged by the next turn, translated below
                error = another
        raise translate(error, changes=changes) from None

    @deferred
    async def transact(
        self, body: Callable[[Transaction], Awaitable[T]], *, after_commit: Callable[[T], None] | None = None
    ) -> T:
        """Run `body` in one transaction, again if PostgreSQL rolled it back for the sake of others.

        The body touches nothing but the database, because it may run several times; `after_commit` runs
        once, with its result, when the COMMIT was answered. Raises `CommitUnknown` if that answer was lost.
        """
        for attempt in range(_TRIES):
            try:
                result: T = await self.pool.run(lambda c: Deferred.fromCoroutine(self._transaction(c, body)))
            except _Failed as failed:
                if failed.committing or outcome(failed.error) is not Outcome.REPEAT or attempt == _TRIES - 1:
                    raise translate(failed.error, changes=failed.committing) from None
            else:
                if after_commit is not None:
                    after_commit(result)
                return result
        raise AssertionError("the last attempt either returned or raised")

    async def _transaction(self, connection: Connection, body: Callable[[Transaction], Awaitable[T]]) -> T:
        transaction = Transaction(connection, self.pool)
        committing = False
        try:
            await transaction.fetch("BEGIN")
            result = await body(transaction)
            committing = True
            await transaction.fetch("COMMIT")
        except Exception as error:
            if outcome(error) is Outcome.REFUSED and not hasattr(error, "pgcode"):
                raise
            committing = committing and outcome(error) is Outcome.LOST
            raise _Failed(error, committing=committing) from None
        return result


class _Failed(Exception):
    """A transaction that did not commit, or perhaps did."""

    def __init__(self, error: BaseException, *, committing: bool) -> None:
        super().__init__(error)
        self.error = error
        self.committing = committing
