"""How a background job runs: round after round, woken or by the clock, backing off when a round fails."""

import random
from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import Temporary
from sora.observe import metrics

log = Logger()

Random = Callable[[], float]
"""Returns a number from 0 up to 1."""

_EXPONENT_MAX: Final = 30


def backoff(attempts: int, base: float, maximum: float, random_number: Random = random.random) -> float:
    """Return how many seconds to wait after `attempts` failures: exponential, capped, with full jitter.

    At least a tenth of the ceiling, so that a run of small numbers does not become a busy loop.
    """
    ceiling = min(maximum, base * 2.0 ** min(max(attempts - 1, 0), _EXPONENT_MAX))
    return ceiling * (0.1 + 0.9 * random_number())


class Worker(Service):
    """A service that calls `step` again and again; subclasses say what a step is. Times are in seconds."""

    def __init__(
        self,
        name: str,
        *,
        clock: IReactorTime,
        interval: float,
        backoff_base: float = 1.0,
        backoff_max: float = 30.0,
        random_number: Random = random.random,
    ) -> None:
        self.name = name
        self._clock = clock
        self._interval = interval
        self._backoff_base = backoff_base
        self._backoff_max = backoff_max
        self._random = random_number
        self._failed_rounds = 0
        self._again = False
        self._running: Deferred[bool] | None = None
        self._timer: IDelayedCall | None = None
        self._failures = metrics.JOB_FAILURES.labels(name)

    async def step(self) -> bool:
        """Do one bounded round; True asks for another at once."""
        return False

    def startService(self) -> None:
        """Begin with a round now."""
        super().startService()  # type: ignore[no-untyped-call]
        self._begin()

    def stopService(self) -> "Deferred[None]":
        """Cancel the round that is running and return once it has ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._disarm()
        return aio.start(self._end())

    def wake(self) -> None:
        """Say that there is something to do; while failures are waited out it changes nothing."""
        if not self.running:
            return
        if self._running is not None:
            self._again = True
        elif self._failed_rounds == 0:
            self._begin()

    async def _end(self) -> None:
        running = self._running
        if running is not None:
            ended: aio.Once[object] = aio.Once()
            running.addBoth(ended.fire)
            running.cancel()
            await ended.wait()

    def _begin(self) -> None:
        self._disarm()
        self._again = False
        running = self._running = aio.start(self.step())
        running.addCallbacks(self._after, self._after_failure)

    def _after(self, more: bool) -> None:
        self._running = None
        self._failed_rounds = 0
        # Even a round that asks for more lets the reactor breathe.
        self._arm(0.0 if more or self._again else self._interval)

    def _after_failure(self, failure: Failure) -> None:
        self._running = None
        self._failed_rounds += 1
        self._arm(self._report(failure))

    def _arm(self, delay: float) -> None:
        if self.running:
            self._timer = self._clock.callLater(delay, self._begin)

    def _report(self, failure: Failure) -> float:
        delay = backoff(self._failed_rounds, self._backoff_base, self._backoff_max, self._random)
        if isinstance(failure.value, CancelledError) and not self.running:
            return delay
        self._failures.inc()
        if isinstance(failure.value, Temporary):
            log.warn(
                "{job}: {reason}; again in {delay:.1f} s", job=self.name, reason=failure.getErrorMessage(), delay=delay
            )
        else:
            log.failure("{job} failed; again in {delay:.1f} s", failure, job=self.name, delay=delay)
        return delay

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
