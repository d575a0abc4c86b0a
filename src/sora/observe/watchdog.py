"""Notices when the reactor is kept from everyone: how long each turn takes, and what it was doing when it took long.

One turn is the time from the return of the poll to the next poll. It is measured by standing between the reactor and
its poller, for two looks at the clock; a thread looks from time to time where a turn that lasts too long is.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.logger import Logger

from sora.observe import metrics

LIMIT: Final = 0.05
"""Seconds: what the slowest turn may take before other clients feel it."""
QUIET: Final = 10.0
"""Seconds between two lines in the log; everything is counted."""
_STACK_MAX: Final = 12


class _WatchedPoller:
    """The reactor's poller, and when its last poll returned."""

    def __init__(self, poller: Any, limit: float, blocked: Callable[[float, float], None]) -> None:
        self.inner = poller
        self.since = 0.0
        """When the turn under way began; 0 while the reactor waits."""
        self._poll = poller.poll
        self._limit = limit
        self._blocked = blocked
        self.register, self.unregister, self.modify = poller.register, poller.unregister, poller.modify
        self.close, self.fileno = poller.close, poller.fileno

    def poll(self, *arguments: Any) -> Any:
        """Poll as the one inside does."""
        since = self.since
        if since:
            took = time.perf_counter() - since
            if took > self._limit:
                self._blocked(since, took)
            self.since = 0.0
        result = self._poll(*arguments)
        self.since = time.perf_counter()
        return result


class Watchdog(Service):
    """Counts turns of the reactor above `limit` seconds (`sora_reactor_blocked_seconds`) and logs where they were.

    Works with reactors that poll by epoll; with others nothing is watched.
    """

    log = Logger()

    def __init__(self, reactor: Any, *, limit: float = LIMIT) -> None:
        self._reactor = reactor
        self._limit = limit
        self._poller: _WatchedPoller | None = None
        self._seen: tuple[float, str] = (0.0, "")
        self._logged = -QUIET
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def startService(self) -> None:
        """Stand between the reactor and its poller."""
        super().startService()  # type: ignore[no-untyped-call]
        if hasattr(self._reactor, "_poller"):
            self._poller = _WatchedPoller(self._reactor._poller, self._limit, self._blocked)
            self._reactor._poller = self._poller
            self._ended.clear()
            self._thread = threading.Thread(
                target=self._look, args=(threading.get_ident(),), name="watchdog", daemon=True
            )
            self._thread.start()

    def stopService(self) -> None:
        """Step aside."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._poller is not None and self._thread is not None:
            if self._reactor._poller is self._poller:
                self._reactor._poller = self._poller.inner
            self._ended.set()
            self._thread.join()
            self._poller = self._thread = None

    # ------------------------------------------------------------ in the reactor

    def _blocked(self, since: float, took: float) -> None:
        metrics.REACTOR_BLOCKED.observe(took)
        now = since + took
        if now - self._logged < QUIET:
            return
        self._logged = now
        seen, where = self._seen
        self.log.warn(
            "the reactor was kept from all others for {took:.0f} ms{where}",
            took=took * 1000,
            where=f", at last by:\n{where}" if seen == since else "",
        )

    # ------------------------------------------------------------ in the thread

    def _look(self, reactor_thread: int) -> None:
        while not self._ended.wait(self._limit):
            self.look(reactor_thread, time.perf_counter())

    def look(self, reactor_thread: int, now: float) -> None:
        """Note where the reactor's thread is, if its turn lasts too long already."""
        poller = self._poller
        since = poller.since if poller is not None else 0.0
        if since and now - since > self._limit:
            frame = sys._current_frames().get(reactor_thread)
            self._seen = (since, "".join(traceback.format_stack(frame)[-_STACK_MAX:]).rstrip())
