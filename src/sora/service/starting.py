"""What the server of one process and the parent of several have in common: a start that takes time, and may fail."""

import socket
from abc import abstractmethod
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from sora.aio import deferred
from sora.core.config.model import Configuration
from sora.core.errors import ConfigurationInvalid, SoraError
from sora.service.embedded import EmbeddedPostgres


class Starting(MultiService):
    """A server as one Twisted service.

    Starting is asynchronous: `ready` fires when every listener is bound, and fails with the reason, which is
    logged, otherwise. What was opened until then is closed by stopping.
    """

    log = Logger()

    def __init__(self, configuration: Configuration, *, only: str | None = None, reactor: Any = None) -> None:
        """Prepare; `only` is a type of servers."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.observer: ILogObserver | None = None
        """Writes the log of the twistd that runs us; None: it does so its own way."""
        self.configuration = configuration
        self.only = only
        self.ready: Deferred[None] = Deferred()
        self.embedded: EmbeddedPostgres | None = None
        """The embedded PostgreSQL, if it is ours."""
        self._reactor = reactor if reactor is not None else default_reactor
        self._starting: Deferred[None] | None = None

    @abstractmethod
    async def open(self) -> None:
        """Start everything, from the storage up."""

    @abstractmethod
    async def close(self) -> None:
        """Stop whatever was started, from the listeners down."""

    def hang_up(self) -> None:
        """SIGHUP came."""

    def at_once(self) -> None:
        """The process ends now: have PostgreSQL end by itself when it has shut down."""
        if self.embedded is not None:
            self.embedded.abandon()

    @property
    def hostname(self) -> str:
        """The name of this host."""
        return self.configuration.process.hostname or socket.getfqdn()

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, which asks it for its log's observer before it starts anything."""
        if self.observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.observer)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start())

    @deferred
    async def stopService(self) -> None:
        """Stop taking connections, let what is in flight end, close the storage."""
        if self._starting is not None:
            starting, self._starting = self._starting, None
            starting.cancel()
            await starting
        if self.running:
            await MultiService.stopService(self)  # type: ignore[no-untyped-call]
        await self.close()
        self.log.info("stopped")

    async def _start(self) -> None:
        try:
            await self.open()
        except CancelledError:
            return
        except SoraError as error:
            complaints = error.complaints if isinstance(error, ConfigurationInvalid) else [str(error)]
            for complaint in complaints:
                self.log.error("cannot start: {complaint}", complaint=complaint)
            self.ready.errback(error)
        except Exception as error:  # noqa: BLE001  the boundary: nothing above it would show the reason
            self.log.failure("cannot start")
            self.ready.errback(error)
        else:
            self.ready.callback(None)
