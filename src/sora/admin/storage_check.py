"""Compares what the database says with what the object store holds, in pages, beside the server; mends on request."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import attrs
from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from sora import aio
from sora.core.errors import Corrupt
from sora.core.ids import BodyId
from sora.store.interfaces import Audit, ObjectStore
from sora.store.model import BodyRef, Finding, Slice

PAGE: Final = 1_000
READ_AT_ONCE: Final = 4
"""Objects read at the same time, each as large as a message may be."""
ORPHAN_AGE: Final = 86_400.0
"""Seconds; a younger object may belong to a transaction that has not committed yet."""
_BY_OBJECT: Final = frozenset({"body-without-bytes", "staged-though-stored", "wrong-staged-size"})
"""Findings about a body that only its object can settle."""


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
        """Prepare; `contents`: read every object and compare its hash, not only its size in the listing."""
        self._audit = audit
        self._objects = objects
        self._clock = clock
        self._sealed = sealed
        self._contents = contents
        self.counted = Counted()

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield whatever is wrong: rows that contradict each other, missing or wrong objects, objects of nobody.

        What is yielded is looked at again only after the caller is done with it, so that it can be repaired between.
        """
        among: Slice | None = await self._audit.next_slice(None)
        while among is not None:
            for finding in await self._audit.findings(among):
                yield finding
            among = await self._audit.next_slice(among)
        async for finding in self._objects_and_bodies():
            yield finding

    # ------------------------------------------------------------ mending

    async def repair(self, finding: Finding, *, discard_orphans: bool = False) -> bool:
        """Mend what was found; returns whether that was possible. May be repeated, and cut short at any point.

        `discard_orphans`: let the collector delete objects that no body names. After the database was restored to
        an earlier moment these are the only copies of what came later: look before you ask for it.
        """
        if finding.kind == "object-orphan":
            if discard_orphans:
                await self._audit.discard([finding.where])
            return discard_orphans
        if finding.kind in _BY_OBJECT:
            for ref in await self._audit.references(after=BodyId(finding.ids[0] - 1), limit=1):
                whole = ref.id == finding.ids[0] and await self._read(ref) is None
                if whole or finding.kind == "staged-though-stored":
                    await self._audit.settle(ref.id, stored=whole)
                    return True
        return await self._audit.repair(finding)

    # ------------------------------------------------------------ objects

    async def _objects_and_bodies(self) -> AsyncIterator[Finding]:
        """Go through the object store's listing and the bodies' keys side by side, both in the order of the keys."""
        before = self._clock.seconds() - ORPHAN_AGE
        after = ""
        while listed := await self._objects.keys(after=after, limit=PAGE):
            last = listed[-1][0]
            self.counted.objects += len(listed)
            sizes = {key: size for key, size, _ in listed}
            async for refs in self._keyed(after, last):
                async for finding in self._compare(refs, sizes):
                    yield finding
                for ref in refs:
                    sizes.pop(ref.object_key, None)
            old = [key for key, _, modified in listed if key in sizes and modified < before]
            known: Deferred[set[str]] | None = self._audit.known_keys(old) if old else None
            for key in sorted(set(old) - (await known if known is not None else set())):
                yield Finding("object-orphan", key, f"no body names this object of {sizes[key]} octets")
            after = last
        async for refs in self._keyed(after, None):
            async for finding in self._compare(refs, {}):
                yield finding

    async def _keyed(self, after: str, upto: str | None) -> AsyncIterator[list[BodyRef]]:
        while refs := await self._audit.keyed(after=after, upto=upto, limit=PAGE):
            after = refs[-1].object_key
            self.counted.bodies += len(refs)
            yield refs

    async def _compare(self, refs: Sequence[BodyRef], sizes: dict[str, int]) -> AsyncIterator[Finding]:
        kept = [ref for ref in refs if not ref.staged]
        doubtful = [ref for ref in kept if self._contents or self._wrong(ref, sizes.get(ref.object_key)) is not None]
        for start in range(0, len(doubtful), READ_AT_ONCE):
            chunk = doubtful[start : start + READ_AT_ONCE]
            results = await aio.gather(aio.start(self._look(ref)) for ref in chunk)
            for ref, finding in zip(chunk, results, strict=True):
                if finding is not None and await self._still(ref):
                    yield finding

    async def _look(self, ref: BodyRef) -> Finding | None:
        """Ask for one object: a listing may be older than the bodies it is compared with."""
        if self._contents:
            return await self._read(ref)
        return self._wrong(ref, await self._objects.size(ref.object_key))

    async def _read(self, ref: BodyRef) -> Finding | None:
        where = f"body {ref.id} ({ref.object_key})"
        try:
            data = await self._objects.get(ref.object_key)
        except Corrupt as error:
            return Finding("object-hash", where, str(error), (ref.id,))
        if data is None or len(data) != ref.size:
            return self._wrong(ref, None if data is None else len(data))
        if blake3(data).digest() != ref.hash:
            return Finding("object-hash", where, "the object does not have the body's hash", (ref.id,))
        return None

    def _wrong(self, ref: BodyRef, size: int | None) -> Finding | None:
        where = f"body {ref.id} ({ref.object_key})"
        if size is None:
            detail = f"the object store has no such object; {ref.size} octets are lost"
            return Finding("object-missing", where, detail, (ref.id,))
        if size < ref.size or (size > ref.size and not self._sealed):
            return Finding("object-size", where, f"the object has {size} octets, the body {ref.size}", (ref.id,))
        return None

    async def _still(self, ref: BodyRef) -> bool:
        """Whether the body is still as it was listed, and not collected meanwhile."""
        return ref in await self._audit.references(after=BodyId(ref.id - 1), limit=1)
