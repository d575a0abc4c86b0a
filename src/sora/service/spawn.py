"""One child as its parent sees it: the process, the channel to it, and the descriptors it inherits."""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import ConfigurationInvalid
from sora.observe.sums import Snapshot
from sora.service import control
from sora.service.supervisor import ChildFailed

MODULE: Final = "sora.service.child"
_LINE_MAX: Final = 65_536
"""Octets of one line that a child may write before it is cut."""


SignIn = Callable[["ChildProcess", bytes], None]


class _Line(control.Channel):
    """The parent's end of the channel to a child."""

    def __init__(self, child: "ChildProcess") -> None:
        self._child = child

    def told(self, word: bytes, content: bytes) -> None:
        self._child.told(word, content)

    def closed(self) -> None:
        self._child.hung_up()


class ChildProcess(ProcessProtocol):
    """A child process; implements `supervisor.Child`."""

    log = Logger()

    def __init__(self, slot: str, *, on_sign_in: SignIn, on_gone: Callable[["ChildProcess"], None]) -> None:
        """`on_sign_in` is called with what the other workers are to hear, `on_gone` when it has ended."""
        self.slot = slot
        self.pid = -1
        self.ready: aio.Once[None] = aio.Once()
        self.ended: aio.Once[str] = aio.Once()
        self.last: Snapshot = {}
        """What it had counted when it last said so."""
        self._on_sign_in = on_sign_in
        self._on_gone = on_gone
        self.line = _Line(self)
        self._asked: list[Deferred[None]] = []
        self._connected = True
        self._fate: str | None = None
        self._written = b""

    # ------------------------------------------------------------ what a supervisor does

    def drain(self) -> None:
        """Ask it to finish and end."""
        self.line.tell(control.DRAIN)

    def kill(self) -> None:
        """End it at once."""
        if self._fate is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    # ------------------------------------------------------------ what it is asked and says

    def scrape(self) -> "Deferred[None]":
        """Ask for its metrics; fires when `last` is new, or when it is gone."""
        answered: Deferred[None] = Deferred(self._asked.remove)
        self._asked.append(answered)
        self.line.tell(control.SCRAPE)
        if not self._connected:
            self._answer()
        return answered

    def told(self, word: bytes, content: bytes) -> None:
        """Take a word of the child's."""
        if word == control.READY and not self.ready.done:
            self.ready.fire(None)
        elif word == control.FAILED and not self.ready.done:
            self.ready.fail(Failure(ConfigurationInvalid(json.loads(content))))  # type: ignore[no-untyped-call]
        elif word == control.METRICS:
            self.last = json.loads(content)
            self._answer()
        elif word == control.SIGN_IN:
            self._on_sign_in(self, content)

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        for one in asked:
            one.callback(None)

    # ------------------------------------------------------------ the process

    def outReceived(self, data: bytes) -> None:
        """Pass on what it writes, line by line; only where twistd's log is not our standard error."""
        *written, self._written = (self._written + data).split(b"\n")
        self._written = self._written[-_LINE_MAX:]
        for line in written:
            self.log.info("{line}", line=line.decode("utf-8", "replace"))

    def errReceived(self, data: bytes) -> None:
        self.outReceived(data)

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        self._fate = f"was ended by signal {status.signal}" if status.signal else f"ended with status {status.exitCode}"
        self._check_ended()

    def hung_up(self) -> None:
        """The channel is closed: all that the child said has been heard."""
        self._connected = False
        self._answer()
        self._check_ended()

    def _check_ended(self) -> None:
        if self._fate is None or self._connected:
            return
        self._on_gone(self)
        if not self.ready.done:
            self.ready.fail(Failure(ChildFailed(f"it {self._fate}")))  # type: ignore[no-untyped-call]
        self.ended.fire(self._fate)


def launch(
    child: ChildProcess, orders: control.Orders, sockets: dict[str, socket.socket], reactor: Any, *, passed_on: bool
) -> ChildProcess:
    """Start a child with its sockets and give it its orders.

    `passed_on`: what it writes goes to our log, because our standard error is nobody's.
    """
    ours, theirs = socket.socketpair()
    inherited = dict(enumerate((one.fileno() for one in sockets.values()), control.DESCRIPTOR + 1))
    orders = attrs.evolve(orders, sockets=dict(zip(sockets, inherited, strict=True)))
    output: dict[int, Any] = {1: "r", 2: "r"} if passed_on else {1: 1, 2: 2}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        ours.setblocking(False)
        theirs.setblocking(False)
        process = reactor.spawnProcess(
            child,
            sys.executable,
            [sys.executable, "-m", MODULE, orders.slot],
            env=os.environ,
            childFDs={0: nothing, **output, control.DESCRIPTOR: theirs.fileno(), **inherited},
        )
        child.pid = process.pid
        channel = Factory()
        channel.noisy = False
        channel.buildProtocol = lambda _: child.line  # type: ignore[method-assign,assignment]
        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, channel)
    finally:
        os.close(nothing)
        theirs.close()
        ours.close()
    child.line.tell(control.ORDERS, control.pack(orders))
    return child
