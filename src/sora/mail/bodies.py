"""The one way to a body's bytes: memory, disk cache, staging and object store, in that order, verified.

A body is checked by length and BLAKE3 before anyone sees it, whatever it came from. What cannot be read
has its error in its place; it is never an empty message, and it never holds up the others.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.core.errors import BodyUnavailable, Corrupt, SoraError, Temporary
from sora.core.ids import BodyId
from sora.observe import metrics
from sora.store.interfaces import Bodies, ObjectStore
from sora.store.model import BodyRef

log = Logger()

Outcome = bytes | Exception

MEMORY_SHARE: Final = 8
"""A body larger than this part of the memory cache does not go into it."""


class BodyCache(Protocol):
    """A local cache of bodies by hash: may forget anything at any time, never serves wrong bytes."""

    def get(self, hash: bytes) -> "bytes | Deferred[bytes | None] | None":
        """Return the bytes, None if they are not there, or a Deferred of either when reading may take long."""

    def put(self, hash: bytes, data: bytes) -> None:
        """Offer bytes that have this hash."""


class Reader:
    """Implements `store.interfaces.BodyReader`. `memory_max` is in octets, `deadline` in seconds."""

    def __init__(
        self,
        bodies: Bodies,
        objects: ObjectStore,
        cache: BodyCache | None = None,
        *,
        clock: IReactorTime,
        memory_max: int = 33_554_432,
        concurrency: int = 16,
        deadline: float = 20.0,
    ) -> None:
        self._bodies = bodies
        self._objects = objects
        self._cache = cache
        self._clock = clock
        self._memory: dict[bytes, bytes] = {}
        self._memory_held = 0
        self._memory_max = memory_max
        self._slots = DeferredSemaphore(concurrency)
        self._deadline = deadline
        self._loading: dict[BodyId, aio.Once[Outcome]] = {}
        self._loads: set[Deferred[None]] = set()

    def read(self, refs: Sequence[BodyRef]) -> "Deferred[dict[BodyId, bytes | Exception]]":
        """Return each body's bytes, verified, or why it cannot be read now (`BodyUnavailable`, `Corrupt`)."""
        found: dict[BodyId, Outcome] = {}
        missing: dict[BodyId, tuple[BodyRef, Deferred[bytes | None] | None]] = {}
        for ref in refs:
            if ref.id in found or ref.id in missing:
                continue
            near = self._near(ref)
            if isinstance(near, bytes):
                found[ref.id] = near
            else:
                missing[ref.id] = ref, near
        if not missing:
            return succeed(found)
        return self._wait(found, missing)

    def written(self, ref: BodyRef, data: bytes) -> None:
        """Offer bytes just written to the caches."""
        self._remember(ref.hash, data)
        if self._cache is not None:
            self._cache.put(ref.hash, data)

    def close(self) -> None:
        """Cancel what is being loaded; those who wait get `BodyUnavailable`."""
        for load in list(self._loads):
            load.cancel()

    # ------------------------------------------------------------ memory and disk

    def _near(self, ref: BodyRef) -> "bytes | Deferred[bytes | None] | None":
        data = self._memory.get(ref.hash)
        if data is not None:
            metrics.READ_MEMORY.inc()
            # Reinserting makes it the youngest: a dict keeps the order of insertion.
            del self._memory[ref.hash]
            self._memory[ref.hash] = data
            return data
        if self._cache is None or ref.id in self._loading:
            return None
        cached = self._cache.get(ref.hash)
        if isinstance(cached, bytes):
            metrics.READ_DISK.inc()
            self._remember(ref.hash, cached)
        return cached

    def _remember(self, hash: bytes, data: bytes) -> None:
        if len(data) * MEMORY_SHARE > self._memory_max or hash in self._memory:
            return
        self._memory[hash] = data
        self._memory_held += len(data)
        while self._memory_held > self._memory_max:
            oldest = next(iter(self._memory))
            self._memory_held -= len(self._memory.pop(oldest))

    # ------------------------------------------------------------ loading

    @aio.deferred
    async def _wait(
        self, found: dict[BodyId, Outcome], missing: "dict[BodyId, tuple[BodyRef, Deferred[bytes | None] | None]]"
    ) -> dict[BodyId, Outcome]:
        waits: dict[BodyId, aio.Once[Outcome]] = {}
        new: list[tuple[BodyRef, Deferred[bytes | None] | None]] = []
        for body, (ref, cached) in missing.items():
            if body not in self._loading:
                self._loading[body] = aio.Once()
                new.append((ref, cached))
            waits[body] = self._loading[body]
        staged: list[BodyRef] = []
        for ref, cached in new:
            if cached is not None:
                self._launch([ref], self._load_cached(ref, cached))
            elif ref.staged:
                staged.append(ref)
            else:
                self._launch([ref], self._load_object(ref, ask_staging=True))
        if staged:
            self._launch(staged, self._load_staged(staged))
        for body, once in waits.items():
            found[body] = await once.wait()
        return found

    def _launch(self, refs: Sequence[BodyRef], load: "Deferred[None]") -> None:
        """Watch a load that settles `refs`; whatever it leaves unsettled at the deadline is unavailable."""
        # Whoever is given a body may ask for it again before this ends: that is another load's to settle.
        awaited = [(ref, self._loading.get(ref.id)) for ref in refs]

        def ended(result: object) -> None:
            self._loads.discard(load)
            reason = result.value if isinstance(result, Failure) else None
            for ref, once in awaited:
                if self._loading.get(ref.id) is once:
                    self._settle(ref, _outcome_of(reason))

        self._loads.add(load)
        aio.timeout(load, self._deadline, self._clock, lambda: BodyUnavailable("the body could not be read in time"))
        load.addBoth(ended)

    def _settle(self, ref: BodyRef, outcome: Outcome) -> None:
        once = self._loading.pop(ref.id, None)
        if once is None:
            return
        if isinstance(outcome, bytes):
            self._remember(ref.hash, outcome)
        elif isinstance(outcome, Corrupt):
            metrics.READ_CORRUPT.inc()
            log.error("body {body} ({key}): {reason}", body=ref.id, key=ref.object_key, reason=outcome)
        else:
            metrics.READ_FAILED.inc()
            if not isinstance(outcome, SoraError):
                log.failure("body {body} could not be read", Failure(outcome), body=ref.id)  # type: ignore[no-untyped-call]
        once.fire(outcome)

    def _unread(self, failure: Failure, ref: BodyRef) -> None:
        self._settle(ref, _outcome_of(failure.value))

    @aio.deferred
    async def _load_cached(self, ref: BodyRef, cached: "Deferred[bytes | None]") -> None:
        data = await cached
        if data is not None:
            metrics.READ_DISK.inc()
            self._settle(ref, data)
        elif ref.staged:
            await self._load_staged([ref])
        else:
            await self._load_object(ref, ask_staging=True)

    @aio.deferred
    async def _load_staged(self, refs: Sequence[BodyRef]) -> None:
        """Ask the database for all at once; what it no longer has was uploaded meanwhile."""
        try:
            staged = await self._bodies.staged([ref.id for ref in refs])
        except Temporary:
            staged = {}
        loads = []
        for ref in refs:
            data = staged.get(ref.id)
            if data is None:
                load = self._load_object(ref, ask_staging=False)
                load.addErrback(self._unread, ref)
                loads.append(load)
            else:
                metrics.READ_STAGED.inc()
                self._take(ref, data)
        await DeferredList(loads)

    @aio.deferred
    async def _load_object(self, ref: BodyRef, *, ask_staging: bool) -> None:
        """Read from the object store; what is not there may (again) be staged, for a new copy of an old body."""
        try:
            data = await self._slots.run(self._objects.get, ref.object_key)
        except Temporary as error:
            if not ask_staging:
                raise BodyUnavailable(f"the body cannot be read now: {error}") from error
            data = None
        source = metrics.READ_OBJECT
        if data is None and ask_staging:
            data = (await self._bodies.staged([ref.id])).get(ref.id)
            source = metrics.READ_STAGED
        if data is None:
            raise BodyUnavailable("the body is neither staged nor in the object store")
        source.inc()
        self._take(ref, data)

    def _take(self, ref: BodyRef, data: bytes) -> None:
        problem = _problem(ref, data)
        if problem is None:
            self._settle(ref, data)
            if self._cache is not None:
                self._cache.put(ref.hash, data)
        else:
            self._settle(ref, problem)


def _problem(ref: BodyRef, data: bytes) -> Corrupt | None:
    if len(data) != ref.size:
        return Corrupt(f"{len(data)} octets are stored instead of {ref.size}")
    if blake3(data).digest() != ref.hash:
        return Corrupt("the stored octets do not have the hash they were stored with")
    return None


def _outcome_of(reason: BaseException | None) -> Exception:
    """Turn what ended a load into what its readers are given."""
    if isinstance(reason, BodyUnavailable | Corrupt):
        return reason
    if reason is None or isinstance(reason, CancelledError | Temporary):
        return BodyUnavailable("the body cannot be read now")
    if isinstance(reason, Exception):
        return reason
    return BodyUnavailable("the body cannot be read now")
