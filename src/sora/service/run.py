"""The running server: everything built once, started from the storage up and stopped from the listeners down."""

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized

from sora.aio import deferred
from sora.core.config.load import load
from sora.core.config.model import Configuration
from sora.core.errors import ConfigurationInvalid, SoraError
from sora.observe import log as lines
from sora.service.first_run import greet
from sora.service.servers import Servers
from sora.service.storage import Storage, open_storage


class Sora(MultiService):
    """The whole server as one Twisted service.

    Starting is asynchronous: `ready` fires when every listener is bound, and fails with the reason, which is
    logged, otherwise. What was opened until then is closed by stopping.
    """

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        *,
        only: str | None = None,
        reactor: Any = None,
    ) -> None:
        """Prepare; `only` is a type of servers."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.observer: ILogObserver | None = None
        """Writes the log of the twistd that runs us; None: it does so its own way."""
        self.configuration = configuration
        self.only = only
        self.ready: Deferred[None] = Deferred()
        self.storage: Storage | None = None
        self.servers: Servers | None = None
        self._reactor = reactor if reactor is not None else default_reactor
        self._starting: Deferred[None] | None = None

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
        """Stop taking connections, let what is in flight end, stop the jobs, close the storage."""
        if self._starting is not None:
            starting, self._starting = self._starting, None
            starting.cancel()
            await starting
        if self.running:
            await MultiService.stopService(self)  # type: ignore[no-untyped-call]
        if self.servers is not None:
            await self.servers.stop()
        if self.storage is not None:
            await self.storage.close()
            self.storage = None
        self.log.info("stopped")

    async def _start(self) -> None:
        try:
            await self._open()
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

    async def _open(self) -> None:
        configuration = self.configuration
        self.storage = await open_storage(configuration, self._reactor, serving=True)
        self.servers = Servers(configuration, self.storage, self._reactor, only=self.only)
        await self.servers.start()
        await greet(configuration, self.storage, self.servers)


def _give_up(_: object = None) -> None:
    """End the process, in order, with a status that tells a supervisor that it failed; twistd would say 0."""
    default_reactor.callWhenRunning(default_reactor.stop)
    # Registered last it runs first, when twistd has nothing left to do.
    atexit.register(_exit_with_failure)


def _exit_with_failure() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(1)


def service_for(
    config: Path | None, state: Path | None, *, only: str | None = None, attached: bool = False
) -> IService:
    """Load the configuration and build the service of it. Raises `ConfigurationInvalid`.

    `attached`: twistd keeps its standard error and was not told where to log, so that [logging] says it all.
    """
    configuration = load(config).in_state(state)
    complaints = configuration.unsupported()
    if not configuration.started(only):
        complaints.append(f"no server{f' of type {only}' if only else ''} is to be started")
    if complaints:
        raise ConfigurationInvalid(complaints)
    shown = configuration.logging
    try:
        lines.configure(level=shown.level, json_lines=shown.format == "json", output=shown.output)
    except OSError as error:
        raise ConfigurationInvalid([f"logging.output: {shown.output}: {error.strerror}"]) from None
    service = Sora(configuration, only=only)
    service.ready.addErrback(_give_up)
    if attached or shown.output != "stderr":
        service.observer = lines.observer()
    return service
