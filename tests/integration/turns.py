"""How long the turns of the reactor are, in processor time: what other connections wait for, on a busy machine too."""

import time
from typing import Any

from twisted.internet import reactor


class Turns:
    """Stands before the reactor's poller, from `start` to `stop`."""

    def __init__(self) -> None:
        self.inner: Any = None
        self.longest = 0.0
        """Seconds of processor time of the reactor's thread in the longest turn since `take`."""
        self._since = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def start(self) -> None:
        """Begin to measure."""
        self.inner = reactor._poller  # type: ignore[attr-defined]
        reactor._poller = self  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Step aside."""
        reactor._poller = self.inner  # type: ignore[attr-defined]

    def poll(self, *arguments: Any) -> Any:
        """Poll, and measure what has been done since the last one."""
        if self._since:
            self.longest = max(self.longest, time.thread_time() - self._since)
        result = self.inner.poll(*arguments)
        self._since = time.thread_time()
        return result

    def take(self) -> float:
        """Return the longest turn so far and begin anew."""
        longest, self.longest = self.longest, 0.0
        return longest
