"""What signals mean to a server's main process: end in order, end at once, look at things again."""

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger


class Signals(Service):
    """Handles SIGTERM, SIGINT and SIGHUP of a process that runs a server.

    The first SIGTERM or SIGINT stops the reactor, which stops all services in order; the next calls `at_once` and ends
    the process. SIGHUP calls `hang_up`.
    """

    log = Logger()

    def __init__(self, reactor: Any, *, at_once: Callable[[], None], hang_up: Callable[[], None]) -> None:
        self._reactor = reactor
        self._at_once = at_once
        self._hang_up = hang_up
        self._stopping = False

    def startService(self) -> None:
        """Take over the signals as soon as the reactor runs, which sets handlers of its own."""
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._take_over)

    def _take_over(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self.end))
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))

    def end(self) -> None:
        """Stop, or end at once if we are stopping already."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()
            return
        self.log.warn("ending at once")
        self._at_once()
        os._exit(1)
