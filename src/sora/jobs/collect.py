"""The collector: removes what nobody refers to any more, from the database and then from the object store."""

import random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sora.jobs.worker import Random, Worker
from sora.observe import metrics
from sora.store.interfaces import Bodies, ObjectStore

log = Logger()


class Collector(Worker):
    """Collects in bounded steps. `grace`, `generation` and `interval` are in seconds."""

    def __init__(
        self,
        bodies: Bodies,
        objects: ObjectStore,
        *,
        clock: IReactorTime,
        grace: float = 14 * 86400.0,
        generation: float = 86400.0,
        interval: float = 300.0,
        limit: int = 1000,
        random_number: Random = random.random,
    ) -> None:
        super().__init__("collect", clock=clock, interval=interval, random_number=random_number)
        self._bodies = bodies
        self._objects = objects
        self._grace = grace
        self._generation = generation
        self._limit = limit

    async def step(self) -> bool:
        """Collect once; the keys stay with the database until their objects are gone, so a crash loses none."""
        keys = await self._bodies.collect(grace=self._grace, generation=self._generation, limit=self._limit)
        if not keys:
            return False
        await self._objects.delete(keys)
        await self._bodies.discarded(keys)
        metrics.OBJECTS_DELETED.inc(len(keys))
        log.info("collect: {count} objects deleted", count=len(keys))
        return True
