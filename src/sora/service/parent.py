"""The parent of worker processes: what there can be only one of, started and stopped in order, and the children."""

import contextlib
from collections.abc import Callable
from typing import Any, Final

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.logger import Logger

from sora import aio
from sora.core.config.model import Configuration
from sora.core.config.servers import METRICS
from sora.core.errors import ConfigurationInvalid
from sora.observe import log as lines
from sora.observe import metrics, sums
from sora.postgres.settings import DatabaseSettings
from sora.service import control, share
from sora.service.exposed import Exposed
from sora.service.figures import ProcessFigures, taken
from sora.service.first_run import greet, welcome
from sora.service.servers import certificates
from sora.service.sockets import Sockets
from sora.service.spawn import ChildProcess, launch
from sora.service.starting import Starting
from sora.service.storage import Closers, close_all, find_database, open_for_parent
from sora.service.supervisor import Supervisor

SCRAPE_LIMIT: Final = 1.0
"""Seconds that a child may take to tell its metrics; without an answer its last ones are used."""

Reload = Callable[[], Configuration]


class Parent(Starting):
    """A server of several processes as one Twisted service; `ready` fires when all children serve."""

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        *,
        only: str | None = None,
        reactor: Any = None,
        reload: Reload | None = None,
        passed_on: bool = False,
    ) -> None:
        """Prepare; `only` is a type of servers, `reload` reads the configuration again.

        `passed_on`: what children log goes through our log, because our standard error is not where it is read.
        """
        super().__init__(configuration, only=only, reactor=reactor)
        self._reload = reload or (lambda: configuration)
        self._passed_on = passed_on
        workers = configuration.process.worker_count
        self._workers = workers
        served = [server for server in configuration.started(only) if server.type != METRICS]
        self.sockets = Sockets(served, workers)
        slots = [str(number) for number in range(workers)]
        if configuration.uploader.enabled or configuration.cleanup.enabled:
            slots.append(control.JOBS)
        limit = configuration.process.shutdown_timeout
        self.supervisor = Supervisor(slots, self._launch, clock=self._reactor, limit=limit)
        self._exposed = Exposed(configuration, self._gather, self._reactor, only=only)
        self._closers: Closers = []
        self._database: DatabaseSettings | None = None
        self._processes: set[ChildProcess] = set()
        self._departed: sums.Snapshot = {}
        """What children that are gone had counted."""
        self._silent = 0
        self._figures = ProcessFigures("parent")

    # ------------------------------------------------------------ starting

    async def open(self) -> None:
        """Start everything, from the database up."""
        configuration = self.configuration
        settings = await find_database(
            configuration,
            self._reactor,
            self._closers,
            serving=True,
            on_embedded=lambda one: setattr(self, "embedded", one),
        )
        self._database = settings
        brief: Closers = []
        try:
            store = await open_for_parent(configuration, settings, self._reactor, brief)
            await welcome(configuration, store.accounts)
        finally:
            await close_all(brief)
        self._prepare()
        self.sockets.bind()
        await self.supervisor.start()
        for address in self.sockets.addresses:
            self.log.info("listening on {address}", address=address)
        self._exposed.start()
        greet(configuration, self.sockets)

    def _prepare(self) -> None:
        """Do once what every worker would do for itself."""
        configuration = self.configuration
        for server in configuration.started(self.only):
            if server.tls:
                # Makes our own certificate, if it is that; and one that cannot be used is told here.
                certificates(configuration, server, self.hostname)
        if configuration.local_cache.enabled:
            with contextlib.suppress(OSError):
                share.tidy_cache(share.cache_directory(configuration), self._workers)

    def _launch(self, slot: str) -> ChildProcess:
        database = self._database
        if database is None:
            raise RuntimeError("there is no database yet")
        jobs = slot == control.JOBS
        configuration = (
            share.for_jobs(self.configuration)
            if jobs
            else share.for_worker(self.configuration, int(slot), self._workers)
        )
        most = share.POOL_MIN if jobs else share.part(database.pool_max, self._workers, least=share.POOL_MIN)
        orders = control.Orders(
            slot=slot,
            configuration=configuration,
            database=share.pool(database, most),
            sockets={},
            threads=share.threads(self._workers),
            octets=share.octets(configuration, self._workers),
            state=self.configuration.embedded.state if self.configuration.database is None else None,
        )
        child = ChildProcess(slot, on_sign_in=self._pass_on, on_gone=self._gone)
        self._processes.add(child)
        sockets = {} if jobs else self.sockets.of(int(slot))
        return launch(child, orders, sockets, self._reactor, passed_on=self._passed_on)

    # ------------------------------------------------------------ while it runs

    def _pass_on(self, teller: ChildProcess, content: bytes) -> None:
        """Have the other workers hear of a sign-in."""
        for child in self._processes:
            if child is not teller and child.slot != control.JOBS:
                child.line.tell(control.SIGN_IN, content)

    def _gone(self, child: ChildProcess) -> None:
        self._processes.discard(child)
        self._departed = sums.add([self._departed, sums.lasting(child.last)])

    @aio.deferred
    async def roll(self) -> None:
        """Start all children anew, one after the other, with what the configuration says now."""
        try:
            wanted = self._reload()
        except ConfigurationInvalid as error:
            for complaint in error.complaints:
                self.log.error("the configuration stays as it was: {complaint}", complaint=complaint)
            return
        complaints = wanted.unsupported()
        if complaints:
            self.log.error("the configuration stays as it was: {complaint}", complaint="; ".join(complaints))
            return
        shown = wanted.logging
        try:
            # A file is opened anew, which lets it be rotated.
            lines.configure(level=shown.level, json_lines=shown.format == "json", output=shown.output)
        except OSError as error:
            self.log.error("the configuration stays as it was: logging.output: {error}", error=error)
            return
        self.configuration, fixed = adopted(self.configuration, wanted)
        for what in fixed:
            self.log.warn("{what} changes only when the server is started anew", what=what)
        if self._database is not None and self.configuration.database is not None:
            self._database = await find_database(self.configuration, self._reactor, [], serving=True)
        self.supervisor.limit = self.configuration.process.shutdown_timeout
        self.log.info("starting all children anew")
        if await self.supervisor.roll():
            self.log.info("all children were started anew")

    async def _gather(self) -> bytes:
        """Return the metrics of all processes as one text."""
        answers = await aio.gather([aio.start(self._scraped(child)) for child in list(self._processes)])
        self._silent = answers.count(False)
        living = [child.last for child in self._processes]
        own = sums.add([taken(self._figures), sums.take([self])])
        everything = sums.add([own, self._departed, *living], highest=metrics.HIGHEST)
        return sums.render(everything)

    async def _scraped(self, child: ChildProcess) -> bool:
        """Have a child tell its metrics; tells whether it did."""
        try:
            await aio.timeout(child.scrape(), SCRAPE_LIMIT, self._reactor, TimeoutError)
        except TimeoutError:
            return False
        return True

    def collect(self) -> "list[Metric]":
        """Return what is counted of the children."""
        alive = GaugeMetricFamily("sora_children", "Child processes that serve or start.")
        alive.add_metric((), self.supervisor.alive)
        wanted = GaugeMetricFamily("sora_children_wanted", "Child processes there should be.")
        wanted.add_metric((), len(self.supervisor.slots))
        silent = GaugeMetricFamily("sora_children_silent", "Child processes that did not tell their metrics in time.")
        silent.add_metric((), self._silent)
        restarts = CounterMetricFamily(
            "sora_child_starts", "Child processes started, the first of each slot included.", labels=("slot",)
        )
        for slot in self.supervisor.slots.values():
            restarts.add_metric((slot.name,), slot.starts)
        return [alive, wanted, silent, restarts]

    # ------------------------------------------------------------ the end

    async def close(self) -> None:
        """Refuse connections, drain the children, stop the database."""
        await self._exposed.stop()
        self.sockets.close()
        await self.supervisor.stop()
        await close_all(self._closers)

    def at_once(self) -> None:
        """The process ends now: kill the children, and have PostgreSQL end when it has shut down."""
        self.supervisor.kill()
        super().at_once()

    def hang_up(self) -> None:
        """SIGHUP: a rolling restart."""
        self.roll().addErrback(lambda failure: self.log.failure("the rolling restart broke", failure))


def adopted(present: Configuration, wanted: Configuration) -> tuple[Configuration, list[str]]:
    """Return what a rolling restart makes of a new configuration, and what of it needs a start of the server."""
    fixed = []
    process = attrs.evolve(wanted.process, workers=present.process.workers)
    if process != wanted.process:
        fixed.append("process.workers")
    if wanted.embedded != present.embedded:
        fixed.append("embedded")
    if (wanted.database is None) != (present.database is None):
        fixed.append("database")
        wanted = attrs.evolve(wanted, database=present.database)
    servers = dict(present.servers)
    for name in sorted({*present.servers, *wanted.servers}):
        old, new = present.servers.get(name), wanted.servers.get(name)
        if old is None or new is None or _place(old) != _place(new) or (METRICS in (old.type, new.type) and old != new):
            fixed.append(f"servers.{name}")
        else:
            servers[name] = new
    return (
        attrs.evolve(wanted, process=process, embedded=present.embedded, servers=servers),
        fixed,
    )


def _place(server: Any) -> tuple[Any, ...]:
    return server.type, server.start, server.addr, server.listen_backlog
