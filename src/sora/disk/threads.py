"""The bounded set of threads in which file operations run, started when first needed."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from sora import aio

T = TypeVar("T")
P = ParamSpec("P")


class Threads:
    """At most `count` threads; ended by `stop`, at the latest with the reactor."""

    def __init__(self, reactor: Any, count: int, name: str) -> None:
        self._reactor = reactor
        self._count = count
        self._name = name
        self._pool: ThreadPool | None = None
        self._trigger: object = None

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Run a function that blocks; calls beyond the threads wait their turn."""
        if self._pool is None:
            self._pool = ThreadPool(0, self._count, self._name)
            self._pool.start()
            self._trigger = self._reactor.addSystemEventTrigger("during", "shutdown", self._end)
        return aio.in_thread(self._reactor, self._pool, function, *args, **kwargs)

    def stop(self) -> None:
        """Let what runs or waits finish and end the threads; a later `run` begins with new ones."""
        if self._pool is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._end()

    def _end(self) -> None:
        # Called by the trigger itself, which then is no longer there to be removed.
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
