"""One child from inside: `python -m sora.service.child`, with the channel to its parent as descriptor 3.

It is a worker, which serves the sockets its parent has bound, or it runs the background jobs. It ends when it is told
to drain, by SIGTERM, or when its parent is gone.
"""

import json
import os
import signal
import socket
import sys
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger, globalLogBeginner

from sora.aio import Once
from sora.core.errors import ConfigurationInvalid, SoraError
from sora.observe import log as lines
from sora.observe.watchdog import Watchdog
from sora.service import collector, control
from sora.service.background import Background
from sora.service.figures import ProcessFigures, taken
from sora.service.orphans import Bond
from sora.service.servers import Servers
from sora.service.steady import steady
from sora.service.storage import Storage, open_storage

GRACE: Final = 5.0
"""Seconds beyond the limit of a drain in which the storage is closed; then the process ends as it is."""


class Child:
    """The work of one child process, from its orders to its end."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.line = _Line(self)
        self._orders: control.Orders | None = None
        self._storage: Storage | None = None
        self._servers: Servers | None = None
        self._background: Background | None = None
        self._bond: Bond | None = None
        self._figures = ProcessFigures("")
        self._starting: Deferred[None] | None = None
        self._draining = False
        self._orphaned = False

    # ------------------------------------------------------------ words

    def told(self, word: bytes, content: bytes) -> None:
        """Take a word of the parent's."""
        if word == control.ORDERS and self._orders is None:
            self._orders = control.unpack(content)
            self._starting = Deferred.fromCoroutine(self._start(self._orders))
        elif word == control.DRAIN:
            self.drain()
        elif word == control.SCRAPE:
            self._tell_metrics()
        elif word == control.SIGN_IN and self._servers is not None:
            self._servers.authenticator.hear(*json.loads(content))

    def orphaned(self) -> None:
        """The parent is gone."""
        if not self._orphaned:
            self._orphaned = True
            if not self._draining:
                self.log.error("the parent process is gone; ending")
            self.drain()

    def _tell_sign_in(self, failed: bool, address: str, peer: str) -> None:
        """Have the other workers hear of a sign-in, so that who guesses is slowed down by all of them."""
        self.line.tell(control.SIGN_IN, json.dumps([failed, address, peer]).encode())

    def _tell_metrics(self) -> None:
        snapshot = taken(self._figures, self._storage, self._servers)
        self.line.tell(control.METRICS, json.dumps(snapshot).encode())

    # ------------------------------------------------------------ starting

    async def _start(self, orders: control.Orders) -> None:
        try:
            await self._open(orders)
        except CancelledError:
            return
        except SoraError as error:
            self._fail(error.complaints if isinstance(error, ConfigurationInvalid) else [str(error)])
        except Exception as error:  # noqa: BLE001  the boundary: nothing above it would show the reason
            self.log.failure("child {slot} cannot start", slot=orders.slot)
            self._fail([f"{type(error).__name__}: {error}"])
        else:
            self._starting = None
            self.line.tell(control.READY)

    async def _open(self, orders: control.Orders) -> None:
        shown = orders.configuration.logging
        lines.configure(level=shown.level, json_lines=shown.format == "json", output=shown.output)
        lines.form.slot = orders.slot
        globalLogBeginner.beginLoggingTo([lines.observer()], redirectStandardIO=False)
        self._figures = ProcessFigures(orders.slot)
        if orders.state is not None:
            self._bond = Bond(orders.state)
        sockets = {name: socket.socket(fileno=descriptor) for name, descriptor in orders.sockets.items()}
        for one in sockets.values():
            one.set_inheritable(False)
        self._storage = await open_storage(orders.configuration, self._reactor, serving=True, prepared=orders.database)
        if orders.slot == control.JOBS:
            self._background = Background(orders.configuration, self._storage, self._reactor)
            self._background.start()
        else:
            self._servers = Servers(
                orders.configuration,
                self._storage,
                self._reactor,
                sockets=sockets,
                threads=orders.threads,
                octets=orders.octets,
                tell_sign_in=self._tell_sign_in,
            )
            await self._servers.start()
        collector.settle()
        Watchdog(self._reactor).startService()

    def _fail(self, complaints: list[str]) -> None:
        self.line.tell(control.FAILED, json.dumps(complaints).encode())
        self._starting = None
        self.drain()

    # ------------------------------------------------------------ ending

    def drain(self) -> None:
        """Accept no more, finish, end; once."""
        if self._draining:
            return
        self._draining = True
        limit = self._orders.configuration.process.shutdown_timeout if self._orders is not None else 0.0
        self._reactor.callLater(limit + GRACE, os._exit, 1)
        Deferred.fromCoroutine(self._end()).addErrback(
            lambda failure: self.log.failure("the end broke", failure)
        ).addBoth(lambda _: self._reactor.stop())

    async def _end(self) -> None:
        if self._starting is not None:
            starting, self._starting = self._starting, None
            starting.cancel()
            await starting
        if self._servers is not None:
            await self._servers.stop()
        if self._background is not None:
            await self._background.stop()
        self._tell_metrics()
        if self._storage is not None:
            storage, self._storage = self._storage, None
            await storage.close()
        if self._bond is not None:
            if self._orphaned:
                await self._bond.end_postgres(self._reactor)
            self._bond.release()
        await self.line.hang_up()


class _Line(control.Channel):
    """The child's end of the channel."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._gone: Once[None] = Once()

    def told(self, word: bytes, content: bytes) -> None:
        self._child.told(word, content)

    def closed(self) -> None:
        self._gone.fire(None)
        self._child.orphaned()

    async def hang_up(self) -> None:
        """Close it, once all that was said has left."""
        if not self._gone.done and self.transport is not None:
            self.transport.loseConnection()
            await self._gone.wait()


def main() -> None:
    """Run a child until its end."""
    from twisted.internet import reactor

    running: Any = reactor
    steady(running)
    child = Child(running)
    signal.signal(signal.SIGTERM, lambda *_: running.callFromThread(child.drain))
    # A terminal sends these to all processes it started; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel = Factory()
    channel.noisy = False
    channel.buildProtocol = lambda _: child.line  # type: ignore[method-assign,assignment]
    os.set_blocking(control.DESCRIPTOR, False)
    running.callWhenRunning(running.adoptStreamConnection, control.DESCRIPTOR, socket.AF_UNIX, channel)
    running.callWhenRunning(os.close, control.DESCRIPTOR)
    running.run(installSignalHandlers=False)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


if __name__ == "__main__":
    main()
