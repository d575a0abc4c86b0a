"""The uploader: takes staged bodies to the object store and tells the database once they are verifiably there.

Any process uploads any body: the database hands each out under a lease. A body whose upload was cut short
by a crash is uploaded again under the same key, which changes nothing.
"""

import random
from typing import Any

from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import Corrupt, Temporary
from sora.jobs.worker import Random, Worker, backoff
from sora.observe import metrics
from sora.store.interfaces import Bodies, ObjectStore
from sora.store.model import Upload

log = Logger()


class Uploader(Worker):
    """Uploads up to `concurrency` bodies at once. Times are in seconds; `wake()` it after inserts."""

    def __init__(
        self,
        bodies: Bodies,
        objects: ObjectStore,
        *,
        clock: IReactorTime,
        concurrency: int = 8,
        interval: float = 10.0,
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
        self._concurrency = concurrency
        self._lease = lease
        self._retry_base = retry_base
        self._retry_max = retry_max
        self._stop_limit = stop_limit
        self._backlog_interval = backlog_interval
        self._backlog_next = 0.0
        self._flights: set[Deferred[None]] = set()
        self._more = False
        self._idle: aio.Once[None] | None = None

    async def step(self) -> bool:
        """Claim as many bodies as there are free slots and start them; those that end wake the next round."""
        free = self._concurrency - len(self._flights)
        # Claiming one body for each that ends would cost a query a body.
        if free > self._concurrency // 2:
            uploads = await self._bodies.claim_uploads(free, self._lease)
            self._more = len(uploads) == free
            for upload in uploads:
                self._start(upload)
        else:
            self._more = True
        if self._clock.seconds() >= self._backlog_next:
            self._backlog_next = self._clock.seconds() + self._backlog_interval
            await self._measure()
        return False

    def stopService(self) -> "Deferred[None]":
        """Claim no more, let uploads in flight finish for `stop_limit` seconds, then cancel them."""
        stopped = super().stopService()
        return aio.start(self._drain(stopped))

    async def _drain(self, stopped: "Deferred[None]") -> None:
        await stopped
        if not self._flights:
            return
        self._idle = aio.Once()
        limit = self._clock.callLater(self._stop_limit, self._abandon)
        await self._idle.wait()
        self._idle = None
        if limit.active():
            limit.cancel()

    def _abandon(self) -> None:
        for flight in list(self._flights):
            flight.cancel()

    def _start(self, upload: Upload) -> None:
        flight = self._upload(upload)
        self._flights.add(flight)
        flight.addBoth(self._landed, flight)

    def _landed(self, result: object, flight: "Deferred[None]") -> None:
        self._flights.discard(flight)
        if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
            self._failures.inc()
            if not isinstance(result.value, Temporary):
                log.failure("an upload could not be recorded", result)
            else:
                log.warn("an upload could not be recorded: {reason}", reason=result.getErrorMessage())
        if not self._flights and self._idle is not None:
            self._idle.fire(None)
        elif self._more and len(self._flights) < self._concurrency - self._concurrency // 2:
            self.wake()

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
        await self._bodies.uploaded(ref.id)
        metrics.UPLOAD_DONE.inc()
        metrics.UPLOAD_SECONDS.observe(self._clock.seconds() - started)

    async def _give_back(self, upload: Upload, error: Exception) -> None:
        metrics.UPLOAD_FAILED.inc()
        delay = backoff(upload.attempts + 1, self._retry_base, self._retry_max, self._random)
        where: dict[str, Any] = {"body": upload.ref.id, "key": upload.ref.object_key, "delay": delay}
        if isinstance(error, Temporary):
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
