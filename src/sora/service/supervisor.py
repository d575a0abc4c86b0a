"""The states of child processes: started, replaced when they die, drained one after the other or all at once.

Knows slots and what a child promises; neither processes nor sockets. `docs/design/processes.md` has the table.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sora import aio
from sora.core.errors import ConfigurationInvalid, Temporary

START_LIMIT: Final = 60.0
"""Seconds until a child must be ready: its imports, its connections to the database."""
STEADY: Final = 2.0
"""Seconds of serving after which a child counts as one that works: whatever ends it then, the next starts at once."""
PAUSE_FIRST: Final = 0.5
PAUSE_LAST: Final = 5.0
"""Seconds between attempts. Not more, because connections wait in the slot's sockets meanwhile."""
KILL_AFTER: Final = 10.0
"""Seconds beyond the limit of a drain until a child is killed."""


class ChildFailed(Temporary):
    """A child ended, or was not ready in time."""


class Child(Protocol):
    """What a child process promises."""

    pid: int
    ready: aio.Once[None]
    """Fires when it serves; fails with its complaints, or when it ends before."""
    ended: aio.Once[str]
    """Fires with what became of it when the process is gone."""

    def drain(self) -> None:
        """Ask it to finish and end."""

    def kill(self) -> None:
        """End it at once."""


@attrs.define(eq=False)
class Slot:
    """One place for a child: at most one that serves, and one that is to follow it."""

    name: str
    current: Child | None = None
    successor: Child | None = None
    early: int = 0
    """How many children in a row died before they were steady."""
    again: IDelayedCall | None = None
    """When the next is started."""
    starts: int = 0


class Supervisor:
    """Keeps a child in each slot. `limit` is how long a drain may take, in seconds."""

    log = Logger()

    def __init__(
        self, slots: Sequence[str], launch: Callable[[str], Child], *, clock: IReactorTime, limit: float
    ) -> None:
        """Prepare; `launch` starts a process for a slot."""
        self.slots = {name: Slot(name) for name in slots}
        self.limit = limit
        self._launch = launch
        self._clock = clock
        self._stopping = False
        self._rolling: aio.Once[bool] | None = None
        self._living: set[Child] = set()
        self._serving: dict[Child, float] = {}
        """Since when each that is ready has served."""

    @property
    def children(self) -> dict[str, Child]:
        """The children that serve, by slot."""
        return {slot.name: slot.current for slot in self.slots.values() if slot.current is not None}

    @property
    def alive(self) -> int:
        """How many slots have a child that serves or starts."""
        return len(self.children)

    @property
    def restarts(self) -> int:
        """How many children were started beyond the first of each slot."""
        return sum(max(0, slot.starts - 1) for slot in self.slots.values())

    # ------------------------------------------------------------ starting

    async def start(self) -> None:
        """Start a child in each slot and wait until all serve. Raises what the first to fail complained of."""
        for slot in self.slots.values():
            slot.current = self._begin(slot)
        await aio.gather([aio.start(self._ready(slot.current)) for slot in self.slots.values() if slot.current])

    def _begin(self, slot: Slot) -> Child:
        child = self._launch(slot.name)
        slot.starts += 1
        self._living.add(child)
        child.ready.wait().addCallbacks(lambda _: self._serves(child), lambda _: None)
        child.ended.wait().addCallback(self._ended, slot, child)
        return child

    def _serves(self, child: Child) -> None:
        self._serving[child] = self._clock.seconds()

    async def _ready(self, child: Child) -> None:
        """Wait until a child serves. Raises `ConfigurationInvalid` or `ChildFailed`."""
        await aio.timeout(child.ready.wait(), START_LIMIT, self._clock, lambda: ChildFailed("it was not ready in time"))

    # ------------------------------------------------------------ a death

    def _ended(self, why: str, slot: Slot, child: Child) -> None:
        self._living.discard(child)
        served = self._clock.seconds() - self._serving.pop(child, math.inf)
        if child is slot.successor:
            # Whoever waits for it to be ready hears of it, too.
            return
        if child is not slot.current or self._stopping:
            return
        slot.current = None
        if slot.successor is not None:
            # It takes over as soon as it is ready.
            return
        slot.early = 0 if served >= STEADY else slot.early + 1
        pause = 0.0 if slot.early <= 1 else min(PAUSE_LAST, PAUSE_FIRST * 2.0 ** (slot.early - 2))
        self.log.error(
            "child {slot}, process {pid}, {why}; the next starts in {pause:.1f} s",
            slot=slot.name,
            pid=child.pid,
            why=why,
            pause=pause,
        )
        slot.again = self._clock.callLater(pause, self._replace, slot)

    def _replace(self, slot: Slot) -> None:
        slot.again = None
        child = slot.current = self._begin(slot)
        aio.start(self._ready(child)).addCallbacks(
            lambda _: self.log.info("child {slot} serves again, process {pid}", slot=slot.name, pid=child.pid),
            lambda failure: self._unready(slot, child, failure.value),
        )

    def _unready(self, slot: Slot, child: Child, error: Exception) -> None:
        if not self._stopping:
            self.log.error("child {slot} cannot serve: {error}", slot=slot.name, error=_said(error))
        # It ends by itself once it has complained, and its end is what has the next one started.
        child.kill()

    # ------------------------------------------------------------ a rolling restart

    def roll(self) -> "Deferred[bool]":
        """Replace all children, one after the other; tells whether all were. One that runs is joined by a new one."""
        before, self._rolling = self._rolling, aio.Once()
        self._roll(before, self._rolling).addErrback(
            lambda failure: self.log.failure("the rolling restart broke", failure)
        )
        return self._rolling.wait()

    @aio.deferred
    async def _roll(self, before: "aio.Once[bool] | None", done: "aio.Once[bool]") -> None:
        complete = False
        try:
            if before is not None:
                await before.wait()
            for slot in self.slots.values():
                complete = not self._stopping and await self._succeed(slot)
                if not complete:
                    break
        finally:
            if self._rolling is done:
                self._rolling = None
            done.fire(complete)

    async def _succeed(self, slot: Slot) -> bool:
        """Start the next child of a slot, and drain the present one once it is ready."""
        if slot.again is not None:
            slot.again.cancel()
            slot.again = None
        child = slot.successor = self._begin(slot)
        try:
            await self._ready(child)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  a boundary: whatever it is, the present child goes on
            slot.successor = None
            child.kill()
            if not self._stopping:
                self.log.error(
                    "child {slot} has no successor, the restart ends: {error}", slot=slot.name, error=_said(error)
                )
                if slot.current is None:
                    slot.again = self._clock.callLater(PAUSE_LAST, self._replace, slot)
            return False
        old, slot.current, slot.successor = slot.current, child, None
        slot.early = 0
        self.log.info("child {slot} is now process {pid}", slot=slot.name, pid=child.pid)
        if old is not None and not old.ended.done:
            await self._drain(old)
        return True

    async def _drain(self, child: Child) -> None:
        """Have a child finish, and kill it if it does not end in time."""
        child.drain()
        try:
            await aio.timeout(child.ended.wait(), self.limit + KILL_AFTER, self._clock, TimeoutError)
        except TimeoutError:
            self.log.error("process {pid} does not end; it is killed", pid=child.pid)
            child.kill()
            await child.ended.wait()

    # ------------------------------------------------------------ the end

    async def stop(self) -> None:
        """Drain all children and wait until they are gone."""
        self._stopping = True
        for slot in self.slots.values():
            if slot.again is not None:
                slot.again.cancel()
                slot.again = None
        await aio.gather([aio.start(self._drain(child)) for child in list(self._living)])

    def kill(self) -> None:
        """End all children at once."""
        self._stopping = True
        for child in self._living:
            child.kill()


def _said(error: Exception) -> str:
    return "; ".join(error.complaints) if isinstance(error, ConfigurationInvalid) else str(error)
