"""One timer per process for all connections' deadlines, instead of a DelayedCall per connection.

A deadline that moves costs one assignment; the wheel looks at a connection only when the deadline it
last knew has come, and puts it back if it moved meanwhile. Resolution: one second, never early.
"""

import math
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sora.aio import sleep


class Expiring(Protocol):
    """Something with a deadline in the clock's seconds; `math.inf` means none."""

    expires_at: float
    watched_at: int | None
    """The wheel's own note, None at first: in which bucket the member is."""

    def due(self) -> None:
        """The deadline has passed."""


class Wheel:
    """Buckets of one second; the clock is asked for a call only while a bucket is filled."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._buckets: dict[int, set[Expiring]] = {}
        self._call: IDelayedCall | None = None

    def now(self) -> float:
        """The clock's seconds."""
        return float(self._clock.seconds())

    def turn(self) -> "Deferred[None]":
        """Return a Deferred that fires once everyone else has had a turn."""
        return sleep(self._clock, 0)

    def watch(self, member: Expiring) -> None:
        """Start to watch `member`, whose `expires_at` is set, or look at it earlier than before."""
        if member.expires_at == math.inf:
            return
        self.forget(member)
        member.watched_at = math.ceil(member.expires_at)
        self._buckets.setdefault(member.watched_at, set()).add(member)
        if self._call is None or not self._call.active():
            self._call = self._clock.callLater(1.0, self._tick)

    def forget(self, member: Expiring) -> None:
        """Hold `member` no longer; harmless if it is not watched."""
        if member.watched_at is not None:
            bucket = self._buckets.get(member.watched_at)
            if bucket is not None:
                bucket.discard(member)
            member.watched_at = None

    def _tick(self) -> None:
        now = self.now()
        for second in [second for second in self._buckets if second <= now]:
            for member in self._buckets.pop(second):
                member.watched_at = None
                if member.expires_at <= now:
                    member.due()
                if member.expires_at > now and member.watched_at is None:
                    self.watch(member)
        if self._buckets and (self._call is None or not self._call.active()):
            self._call = self._clock.callLater(1.0, self._tick)

    def stop(self) -> None:
        """Forget everything and leave no timer."""
        self._buckets.clear()
        if self._call is not None and self._call.active():
            self._call.cancel()
