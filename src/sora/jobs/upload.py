"""The uploader: takes staged bodies to the object store and tells the database once they are verifiably there.

Any process uploads any body: the database hands each out under a lease. A body whose upload was cut short
by a crash is uploaded again under the same key, which changes nothing. One round trip records what has arrived
and brings the next bodies. The change feed says when there is something to do, whichever process or node
received it.
"""

import random
from collections.abc import Callable
from typing import Any, Final

from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import Corrupt, ObjectStoreUnavailable, Temporary
from sora.core.ids import BodyId
from sora.jobs.worker import Random, Worker, backoff
from sora.observe import metrics
from sora.store.interfaces import CLAIM_OCTETS, Bodies, Feed, ObjectStore
from sora.store.model import Upload

log = Logger()

RECORD_DELAY: Final = 0.1
"""Seconds in which arrivals are collected for one statement while the last ones of a claim are still under way."""


class Uploader(Worker):
    """Uploads up to `concurrency` bodies of `octets_max` octets together at once. Times are in seconds.

    With a `feed` it begins when no change was announced for `wake_delay`, and after `interval` at the latest: a
    burst of deliveries is not slowed down by its own uploads, and they go together.
    """

    def __init__(
        self,
        bodies: Bodies,
        objects: ObjectStore,
        *,
        clock: IReactorTime,
        feed: Feed | None = None,
        concurrency: int = 32,
        octets_max: int = CLAIM_OCTETS,
        interval: float = 10.0,
        wake_delay: float = 0.5,
        lease: float = 120.0,
        retry_base: float = 1.0,
        retry_max: float = 600.0,
        stop_limit: float = 10.0,
        backlog_interval: float = 30.0,
        random_number: Random = random.random,
    ) -> None:
        super().__init__("upload", clock=clock, interval=interval, random_number=random_number)
        self._bodies = bodies
        self._objects = objects
        self._feed = feed
        self._concurrency = concurrency
        self._octets_max = octets_max
        self._wake_delay = wake_delay
        self._lease = lease
        self._retry_base = retry_base
        self._retry_max = retry_max
        self._stop_limit = stop_limit
        self._backlog_interval = backlog_interval
        self._backlog_next = 0.0
        self._flights: set[Deferred[None]] = set()
        self._octets = 0
        self._done: list[BodyId] = []
        self._more = False
        self._refusals = 0
        self._call: IDelayedCall | None = None
        self._announced: IDelayedCall | None = None
        self._unfollow: Callable[[], None] | None = None
        self._idle: aio.Once[None] | None = None

    # ------------------------------------------------------------ when

    def startService(self) -> None:
        """Begin with a round now, and follow the feed."""
        if self._feed is not None:
            self._unfollow = self._feed.follow(self.announce)
        super().startService()

    def announce(self, _: object = None) -> None:
        """Say that something was perhaps staged; told again and again, it waits for a pause."""
        if self._announced is not None:
            self._announced.reset(self._wake_delay)
        elif self.running:
            self._announced = self._clock.callLater(self._wake_delay, self._heard)

    def _heard(self) -> None:
        self._announced = None
        self.wake()

    def _soon(self, delay: float) -> None:
        """Ask for a round after `delay` seconds, which several arrivals share."""
        if self._call is None:
            self._call = self._clock.callLater(delay, self._called)
        elif delay == 0.0:
            self._call.reset(0.0)

    def _called(self) -> None:
        self._call = None
        self.wake()

    def stopService(self) -> "Deferred[None]":
        """Claim no more, let uploads in flight finish for `stop_limit` seconds, then cancel them."""
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        stopped = super().stopService()
        return aio.start(self._drain(stopped))

    async def _drain(self, stopped: "Deferred[None]") -> None:
        await stopped
        if self._flights:
            self._idle = aio.Once()
            limit = self._clock.callLater(self._stop_limit, self._abandon)
            await self._idle.wait()
            self._idle = None
            if limit.active():
                limit.cancel()
        for call in (self._call, self._announced):
            if call is not None:
                call.cancel()
        self._call = self._announced = None
        done, self._done = self._done, []
        if done:
            try:
                await self._bodies.uploaded(done)
            except Temporary as error:
                log.warn("{count} uploads could not be recorded: {reason}", count=len(done), reason=error)

    def _abandon(self) -> None:
        for flight in list(self._flights):
            flight.cancel()

    # ------------------------------------------------------------ rounds

    async def step(self) -> bool:
        """Record what has arrived and claim as many bodies as there is room for; those that end ask for more."""
        if self._refusals >= self._concurrency:
            # All of them failed: one is tried after a pause, so that a long queue does not run against a wall.
            self._refusals = self._concurrency - 1
            raise ObjectStoreUnavailable("the object store takes no uploads")
        free = 1 if self._refusals == self._concurrency - 1 > 0 else self._concurrency - len(self._flights)
        octets = self._octets_max - self._octets
        # Claiming one body for each that ends would cost a query a body.
        if free <= self._concurrency // 2 < len(self._flights) or octets <= 0 < len(self._flights):
            self._more = True
        else:
            await self._next(free, max(octets, 1))
        if self._clock.seconds() >= self._backlog_next:
            self._backlog_next = self._clock.seconds() + self._backlog_interval
            await self._measure()
        return False

    async def _next(self, free: int, octets: int) -> None:
        done, self._done = self._done, []
        try:
            uploads = await self._bodies.claim_uploads(free, self._lease, octets_max=octets, uploaded=done)
        except BaseException:
            # Recording it twice is harmless.
            self._done += done
            raise
        self._more = len(uploads) == free or sum(len(upload.data) for upload in uploads) >= octets // 2
        for upload in uploads:
            self._start(upload)

    def _start(self, upload: Upload) -> None:
        flight = self._upload(upload)
        self._flights.add(flight)
        self._octets += len(upload.data)
        flight.addBoth(self._landed, flight, len(upload.data))

    def _landed(self, result: object, flight: "Deferred[None]", octets: int) -> None:
        self._flights.discard(flight)
        self._octets -= octets
        if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
            self._failures.inc()
            if not isinstance(result.value, Temporary):
                log.failure("a failed upload could not be recorded", result)
            else:
                log.warn("a failed upload could not be recorded: {reason}", reason=result.getErrorMessage())
        if self._idle is not None:
            if not self._flights:
                self._idle.fire(None)
        elif not self._flights or (self._more and len(self._flights) <= self._concurrency // 2):
            if self._more or self._done:
                self._soon(0.0)
        elif self._done:
            self._soon(RECORD_DELAY)

    @aio.deferred
    async def _upload(self, upload: Upload) -> None:
        ref = upload.ref
        started = self._clock.seconds()
        try:
            if len(upload.data) != ref.size or blake3(upload.data).digest() != ref.hash:
                raise Corrupt("the staged octets do not have the hash they were staged with")
            # The object store's promise: done means that it confirmed length and checksum.
            await self._objects.put(ref.object_key, upload.data)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a job's boundary: one body must not stop the others
            await self._give_back(upload, error)
            return
        self._refusals = 0
        self._done.append(ref.id)
        metrics.UPLOAD_DONE.inc()
        metrics.UPLOAD_SECONDS.observe(self._clock.seconds() - started)

    async def _give_back(self, upload: Upload, error: Exception) -> None:
        metrics.UPLOAD_FAILED.inc()
        delay = backoff(upload.attempts + 1, self._retry_base, self._retry_max, self._random)
        where: dict[str, Any] = {"body": upload.ref.id, "key": upload.ref.object_key, "delay": delay}
        if isinstance(error, Temporary):
            self._refusals += 1
            log.warn("upload of body {body} failed: {reason}; again in {delay:.0f} s", reason=error, **where)
        elif isinstance(error, Corrupt):
            log.error("staged body {body} ({key}) is damaged: {reason}", reason=error, **where)
        else:
            log.failure("upload of body {body} failed; again in {delay:.0f} s", Failure(error), **where)  # type: ignore[no-untyped-call]
        await self._bodies.upload_failed(upload.ref.id, str(error) or type(error).__name__, delay)

    async def _measure(self) -> None:
        count, octets, age = await self._bodies.upload_backlog()
        metrics.STAGED_BODIES.set(count)
        metrics.STAGED_OCTETS.set(octets)
        metrics.STAGED_AGE.set(age)
