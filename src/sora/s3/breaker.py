"""When to stop asking a server that does not answer: closed, open for a while, then one trial request."""

from enum import Enum

from twisted.internet.interfaces import IReactorTime

from sora.core.errors import ObjectStoreUnavailable
from sora.observe import metrics


class State(Enum):
    """Whether requests are sent."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"
    """Half open: one request is on its way, the others are refused."""


class Breaker:
    """Counts failures in a row. Times are in seconds."""

    def __init__(self, *, clock: IReactorTime, failures_max: int, pause: float, pause_max: float) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._pause_first = pause
        self._pause_max = pause_max
        self._pause = pause
        self._failures = 0
        self._until = 0.0
        self.state = State.CLOSED

    def enter(self) -> None:
        """Ask whether a request may be sent. Raises `ObjectStoreUnavailable` at once if not.

        Who was let in must tell `succeeded`, `failed` or `abandoned`.
        """
        if self.state is State.CLOSED:
            return
        if self.state is State.TRIAL or self._clock.seconds() < self._until:
            raise ObjectStoreUnavailable("the object store failed too often and is given a rest")
        self.state = State.TRIAL

    def succeeded(self) -> None:
        """An answer came that shows the server at work, whatever it says of the request."""
        self._failures = 0
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._pause = self._pause_first
            metrics.S3_BREAKER_OPEN.set(0)

    def failed(self) -> None:
        """No answer came, or one that says the server does not work."""
        self._failures += 1
        if self.state is State.TRIAL:
            self._pause = min(self._pause * 2, self._pause_max)
            self._open()
        elif self.state is State.CLOSED and self._failures >= self._failures_max:
            self._open()

    def abandoned(self) -> None:
        """The request was given up by its asker, which says nothing about the server."""
        if self.state is State.TRIAL:
            self.state = State.OPEN
            self._until = self._clock.seconds()

    def _open(self) -> None:
        self.state = State.OPEN
        self._until = self._clock.seconds() + self._pause
        metrics.S3_BREAKER_OPEN.set(1)
