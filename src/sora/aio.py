"""The small façade on Twisted for everyone above the stores: waiting, gathering, threads, one-time results.

Coroutines everywhere; Deferreds only where Twisted or a store's interface wants them. Twisted's
`CancelledError` is an `Exception`: nothing here swallows it.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from twisted.internet import threads
from twisted.internet.defer import Deferred, DeferredList, FirstError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")
P = ParamSpec("P")


def deferred(function: Callable[P, Coroutine[Deferred[Any], Any, T]]) -> "Callable[P, Deferred[T]]":
    """Make a coroutine function return a Deferred that is already running."""

    @wraps(function)
    def start(*args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        return Deferred.fromCoroutine(function(*args, **kwargs))

    return start


async def gather(waits: "Iterable[Deferred[T]]") -> list[T]:
    """Wait for all; the first failure is raised and the others are cancelled."""
    everything = list(waits)
    try:
        results = await DeferredList(everything, fireOnOneErrback=True, consumeErrors=True)
    except FirstError as error:
        for one in everything:
            one.cancel()
        error.subFailure.raiseException()
        raise
    return [result for _, result in results]


def sleep(clock: IReactorTime, seconds: float) -> "Deferred[None]":
    """Return a Deferred that fires after `seconds`; cancelling it stops the timer."""
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(seconds, done.callback, None)
    return done


def timeout(wait: "Deferred[T]", seconds: float, clock: IReactorTime, error: Callable[[], Exception]) -> "Deferred[T]":
    """Cancel `wait` after `seconds` and fail with `error()` instead."""

    def expired(result: "T | Failure", _: float) -> "T | Failure":
        return Failure(error())  # type: ignore[no-untyped-call]

    return wait.addTimeout(seconds, clock, onTimeoutCancel=expired)


def in_thread(
    reactor: IReactorFromThreads, pool: ThreadPool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> "Deferred[T]":
    """Run a function that would block in the given thread pool."""
    return threads.deferToThreadPool(reactor, pool, function, *args, **kwargs)


class Once(Generic[T]):
    """A result that many wait for and that comes once; each waiter has its own Deferred."""

    def __init__(self) -> None:
        self._waiters: list[Deferred[T]] = []
        self._result: tuple[T] | None = None
        self._failure: Failure | None = None

    @property
    def done(self) -> bool:
        """Whether the result or a failure has come."""
        return self._result is not None or self._failure is not None

    def wait(self) -> "Deferred[T]":
        """Return a Deferred of the result; cancelling it harms no other waiter."""
        waiter: Deferred[T] = Deferred(self._waiters.remove)
        if self._result is not None:
            waiter.callback(self._result[0])
        elif self._failure is not None:
            waiter.errback(self._failure)
        else:
            self._waiters.append(waiter)
        return waiter

    def fire(self, result: T) -> None:
        """Give the result to all waiters, now and later."""
        self._result = (result,)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(result)

    def fail(self, failure: Failure) -> None:
        """Give a failure to all waiters, now and later."""
        self._failure = failure
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(failure)


def start(work: Awaitable[T]) -> "Deferred[T]":
    """Run a coroutine now and return its Deferred."""
    if isinstance(work, Deferred):
        return work
    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]
