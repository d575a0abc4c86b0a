"""What `twistd` runs: a server of one process, with everything built once, or the parent of several."""

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor as default_reactor
from twisted.logger import Logger

from sora.core.config.load import load
from sora.core.config.model import Configuration
from sora.core.errors import ConfigurationInvalid
from sora.observe import log as lines
from sora.observe import metrics, sums
from sora.observe.watchdog import Watchdog
from sora.service import collector
from sora.service.background import Background
from sora.service.exposed import Exposed
from sora.service.figures import ProcessFigures, taken
from sora.service.first_run import greet, welcome
from sora.service.parent import Parent
from sora.service.servers import Servers
from sora.service.signals import Signals
from sora.service.starting import Starting
from sora.service.steady import steady
from sora.service.storage import Storage, open_storage


class Sora(Starting):
    """The whole server in one process: started from the storage up, stopped from the listeners down."""

    log = Logger()

    def __init__(self, configuration: Configuration, *, only: str | None = None, reactor: Any = None) -> None:
        """Prepare; `only` is a type of servers."""
        super().__init__(configuration, only=only, reactor=reactor)
        self.storage: Storage | None = None
        self.servers: Servers | None = None
        self.background: Background | None = None
        self.exposed: Exposed | None = None
        self._figures = ProcessFigures("server")

    async def open(self) -> None:
        """Open the storage, run the jobs, listen."""
        configuration = self.configuration
        self.storage = await open_storage(
            configuration, self._reactor, serving=True, on_embedded=lambda embedded: setattr(self, "embedded", embedded)
        )
        background = self.background = Background(configuration, self.storage, self._reactor)
        self.servers = Servers(
            configuration, self.storage, self._reactor, only=self.only, wake_uploader=background.wake
        )
        self.exposed = Exposed(configuration, self._gather, self._reactor, only=self.only)
        await welcome(configuration, self.storage.store.accounts)
        await self.servers.start()
        self.exposed.start()
        background.start()
        greet(configuration, self.servers)
        collector.settle()

    async def close(self) -> None:
        """Stop taking connections, let what is in flight end, stop the jobs, close the storage."""
        collector.release()
        if self.exposed is not None:
            await self.exposed.stop()
        if self.servers is not None:
            await self.servers.stop()
        if self.background is not None:
            await self.background.stop()
        if self.storage is not None:
            await self.storage.close()
            self.storage = None

    def hang_up(self) -> None:
        """Look at the certificates again; everything else needs a start."""
        if self.servers is not None:
            self.servers.reload_certificates()

    async def _gather(self) -> bytes:
        return sums.render(sums.add([taken(self._figures, self.storage, self.servers)], highest=metrics.HIGHEST))


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
    config: Path | None,
    state: Path | None,
    *,
    only: str | None = None,
    attached: bool = False,
    passed_on: bool = False,
) -> IService:
    """Load the configuration and build the service of it. Raises `ConfigurationInvalid`.

    `attached`: twistd keeps its standard error and was not told where to log, so that [logging] says it all.
    `passed_on`: standard error is not where twistd's log goes, so that what children write there must be passed on.
    """

    def read() -> Configuration:
        return load(config).in_state(state)

    configuration = read()
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
    steady(default_reactor)
    ours = attached or shown.output != "stderr"
    service: Starting
    if configuration.process.worker_count:
        service = Parent(configuration, only=only, reload=read, passed_on=passed_on and not ours)
    else:
        service = Sora(configuration, only=only)
    service.ready.addErrback(_give_up)
    if ours:
        service.observer = lines.observer()
    signals = Signals(default_reactor, at_once=service.at_once, hang_up=service.hang_up)
    signals.setServiceParent(service)  # type: ignore[no-untyped-call]
    service.ready.addCallback(_watch, service)
    return service


def _watch(_: object, service: Starting) -> None:
    """Watch the reactor; while the server starts there is nobody to be kept waiting."""
    Watchdog(default_reactor).setServiceParent(service)  # type: ignore[no-untyped-call]
