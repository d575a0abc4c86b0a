"""The bounded pool of threads in which passwords are hashed, so that neither the reactor nor the machine is held up."""

import os
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.threadpool import ThreadPool

from sora import aio
from sora.core.errors import Busy

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Hashing(Protocol):
    """Runs functions that hash."""

    def start(self) -> None:
        """Start."""

    def stop(self) -> None:
        """Stop; what waits fails with `Busy`."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Return a Deferred of the result; it fails with `Busy` if too much waits."""


class HashingPool:
    """Threads for hashing: one less than there are processors unless told, with a bounded queue before them."""

    def __init__(self, reactor: Any, *, threads: int | None = None, queue_max: int = 256) -> None:
        self._reactor = reactor
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._places = self._threads + queue_max
        self._taken = 0
        self._pool = ThreadPool(0, self._threads, "hashing")
        self._stopping = False

    @property
    def taken(self) -> int:
        """How many functions run or wait."""
        return self._taken

    def start(self) -> None:
        """Start; before that, work waits."""
        self._pool.start()

    def stop(self) -> None:
        """Stop: what runs is waited for (a fraction of a second each), what waits fails with `Busy`."""
        self._stopping = True
        if self._pool.started:
            self._pool.stop()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Return a Deferred of the result; it fails with `Busy` if too much waits."""
        if self._taken >= self._places:
            return fail(Busy("too many sign-ins at once, try again"))

        def work() -> T:
            # The pool's own stop would first do everything that waits.
            if self._stopping:
                raise Busy("the server is stopping")
            return function(*args, **kwargs)

        self._taken += 1
        return aio.in_thread(self._reactor, self._pool, work).addBoth(self._left)

    def _left(self, result: R) -> R:
        self._taken -= 1
        return result
