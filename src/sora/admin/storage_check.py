"""Compares what the database says with what the object store holds, in pages, while the server runs."""

from collections.abc import AsyncIterator
from typing import Final

import attrs
from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from sora import aio
from sora.core.errors import Corrupt
from sora.core.ids import BodyId
from sora.store.interfaces import Audit, ObjectStore
from sora.store.model import BodyRef, Finding

PAGE: Final = 1_000
AT_ONCE: Final = 16
"""Objects asked about at the same time."""
READ_AT_ONCE: Final = 4
"""Objects read at the same time, each as large as a message may be."""
ORPHAN_AGE: Final = 86_400.0
"""Seconds; a younger object may belong to a transaction that has not committed yet."""


@attrs.define
class Counted:
    """How much was looked at."""

    bodies: int = 0
    objects: int = 0


class StorageCheck:
    """One check; `sealed` stores hold more octets than the bodies have, so only shorter objects are wrong there."""

    def __init__(
        self,
        audit: Audit,
        objects: ObjectStore,
        *,
        clock: IReactorTime,
        sealed: bool = False,
        contents: bool = False,
    ) -> None:
        """Prepare; `contents`: read every object and compare its hash, not only ask for its size."""
        self._audit = audit
        self._objects = objects
        self._clock = clock
        self._sealed = sealed
        self._contents = contents
        self.counted = Counted()

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield whatever is wrong: rows that contradict each other, missing or wrong objects, objects of nobody."""
        for finding in await self._audit.findings():
            yield finding
        async for finding in self._bodies():
            yield finding
        async for finding in self._orphans():
            yield finding

    async def _bodies(self) -> AsyncIterator[Finding]:
        after = BodyId(0)
        while refs := await self._audit.references(after=after, limit=PAGE):
            after = refs[-1].id
            self.counted.bodies += len(refs)
            kept = [ref for ref in refs if not ref.staged]
            step = READ_AT_ONCE if self._contents else AT_ONCE
            for start in range(0, len(kept), step):
                chunk = kept[start : start + step]
                results = await aio.gather(aio.start(self._look(ref)) for ref in chunk)
                for ref, finding in zip(chunk, results, strict=True):
                    if finding is not None and await self._still(ref):
                        yield finding

    async def _look(self, ref: BodyRef) -> Finding | None:
        if not self._contents:
            return self._wrong(ref, await self._objects.size(ref.object_key))
        where = f"body {ref.id} ({ref.object_key})"
        try:
            data = await self._objects.get(ref.object_key)
        except Corrupt as error:
            return Finding("object-hash", where, str(error))
        if data is None or len(data) != ref.size:
            return self._wrong(ref, None if data is None else len(data))
        if blake3(data).digest() != ref.hash:
            return Finding("object-hash", where, "the object does not have the body's hash")
        return None

    def _wrong(self, ref: BodyRef, size: int | None) -> Finding | None:
        where = f"body {ref.id} ({ref.object_key})"
        if size is None:
            return Finding("object-missing", where, f"the object store has no such object; {ref.size} octets are lost")
        if size < ref.size or (size > ref.size and not self._sealed):
            return Finding("object-size", where, f"the object has {size} octets, the body {ref.size}")
        return None

    async def _still(self, ref: BodyRef) -> bool:
        """Whether the body is still as it was listed, and not collected meanwhile."""
        return ref in await self._audit.references(after=BodyId(ref.id - 1), limit=1)

    async def _orphans(self) -> AsyncIterator[Finding]:
        before = self._clock.seconds() - ORPHAN_AGE
        after = ""
        while listed := await self._objects.keys(after=after, limit=PAGE):
            after = listed[-1][0]
            self.counted.objects += len(listed)
            old = {key: size for key, size, modified in listed if modified < before}
            known: Deferred[set[str]] | None = self._audit.known_keys(list(old)) if old else None
            for key in sorted(old.keys() - (await known if known is not None else set())):
                yield Finding("object-orphan", key, f"no body names this object of {old[key]} octets")
