"""The in-memory store: the only place that puts its parts together, with objects and a body reader beside it.

For tests and trials: it keeps the same promises as PostgreSQL within one process, and forgets all at its end.
"""

from collections.abc import Callable, Iterable, Sequence

from blake3 import blake3
from twisted.internet.interfaces import IReactorTime

from sora.aio import deferred
from sora.core.errors import BodyUnavailable, Corrupt, ObjectStoreUnavailable, SoraError
from sora.core.events import FeedLost
from sora.core.ids import BodyId, MailboxId
from sora.core.quota import NO_LIMITS, Limits
from sora.store.annotations import Annotations
from sora.store.grants import Grants
from sora.store.interfaces import Accounts, Audit, Bodies, BodyReader, Feed, Mailboxes, Messages, ObjectStore, Store
from sora.store.memory_accounts import MemoryAccounts
from sora.store.memory_audit import MemoryAudit
from sora.store.memory_bodies import MemoryBodies
from sora.store.memory_mailboxes import MemoryMailboxes
from sora.store.memory_messages import MemoryMessages
from sora.store.memory_metadata import MemoryAnnotations
from sora.store.memory_quota import MemoryQuotas
from sora.store.memory_sharing import MemoryGrants
from sora.store.memory_state import EVERY, Listener, State, fired
from sora.store.memory_text_index import MemoryTextIndexes
from sora.store.model import BodyRef
from sora.store.quotas import Quotas
from sora.store.text_index import TextIndexes


class MemoryFeed:
    """`interfaces.Feed` in memory: listeners are called within the operation, after its change."""

    def __init__(self, state: State) -> None:
        self._state = state

    def subscribe(self, mailbox: MailboxId, listener: Listener) -> Callable[[], None]:
        """Call `listener` on each change of the mailbox; returns the cancellation."""
        listeners = self._state.listeners.setdefault(mailbox, [])
        listeners.append(listener)

        def cancel() -> None:
            if listener in listeners:
                listeners.remove(listener)
            if not listeners and self._state.listeners.get(mailbox) is listeners:
                del self._state.listeners[mailbox]

        return cancel

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` on each change of any mailbox; returns the cancellation."""
        return self.subscribe(EVERY, listener)


class MemoryStore:
    """`interfaces.Store` in memory; all its Deferreds have fired when they are returned."""

    def __init__(self, clock: IReactorTime, *, quota: Limits = NO_LIMITS) -> None:
        """`quota` holds for accounts that have none of their own."""
        self.state = State(clock)
        self.state.quota = quota
        self.quotas: Quotas = MemoryQuotas(self.state)
        self.accounts: Accounts = MemoryAccounts(self.state)
        self.mailboxes: Mailboxes = MemoryMailboxes(self.state)
        self.messages: Messages = MemoryMessages(self.state)
        self.bodies: Bodies = MemoryBodies(self.state)
        self.audit: Audit = MemoryAudit(self.state)
        self.feed: Feed = MemoryFeed(self.state)
        self.grants: Grants = MemoryGrants(self.state)
        self.annotations: Annotations = MemoryAnnotations(self.state)
        self.text_indexes: TextIndexes = MemoryTextIndexes(self.state)

    def lose_feed(self) -> None:
        """Tell every listener that the feed was interrupted, as a lost connection does."""
        for listeners in list(self.state.listeners.values()):
            for listener in list(listeners):
                listener(FeedLost())


class MemoryObjects:
    """`interfaces.ObjectStore` in memory; while `away` is set everything fails with `ObjectStoreUnavailable`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.away = False
        self.objects: dict[str, tuple[bytes, float]] = {}

    def _reach(self) -> dict[str, tuple[bytes, float]]:
        if self.away:
            raise ObjectStoreUnavailable("the object store is away")
        return self.objects

    @fired
    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self._reach()[key] = (bytes(data), float(self._clock.seconds()))

    @fired
    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        held = self._reach().get(key)
        return None if held is None else held[0]

    @fired
    def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Read part of an object; None if there is none."""
        held = self._reach().get(key)
        return None if held is None else held[0][start : start + length]

    @fired
    def size(self, key: str) -> int | None:
        """Return an object's length in octets, or None."""
        held = self._reach().get(key)
        return None if held is None else len(held[0])

    @fired
    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; absent ones are no error."""
        objects = self._reach()
        for key in keys:
            objects.pop(key, None)

    @fired
    def keys(self, *, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, int, float]]:
        """List (key, octets, modification time) ascending by key."""
        objects = self._reach()
        chosen = sorted(key for key in objects if key.startswith(prefix) and key > after)[:limit]
        return [(key, len(objects[key][0]), objects[key][1]) for key in chosen]


class PlainReader:
    """`interfaces.BodyReader` without a cache: staged bytes first, then the object store, verified."""

    def __init__(self, bodies: Bodies, objects: ObjectStore) -> None:
        self._bodies = bodies
        self._objects = objects

    @deferred
    async def read(self, refs: Sequence[BodyRef]) -> "dict[BodyId, bytes | Exception]":
        """Return each body's bytes, or why it cannot be read now."""
        staged = await self._bodies.staged([ref.id for ref in refs])
        read: dict[BodyId, bytes | Exception] = {}
        for ref in refs:
            try:
                data = staged[ref.id] if ref.id in staged else await self._objects.get(ref.object_key)
            except SoraError as error:
                read[ref.id] = BodyUnavailable(str(error))
                continue
            if data is None:
                read[ref.id] = BodyUnavailable("the object store does not have the body")
            elif len(data) != ref.size or blake3(data).digest() != ref.hash:
                read[ref.id] = Corrupt("the stored bytes are not those that were stored")
            else:
                read[ref.id] = data
        return read

    def written(self, ref: BodyRef, data: bytes) -> None:
        """Do nothing: there is no cache."""


def complete(clock: IReactorTime) -> "tuple[Store, ObjectStore, BodyReader]":
    """Make a store with its objects and a reader over both."""
    store, objects = MemoryStore(clock), MemoryObjects(clock)
    return store, objects, PlainReader(store.bodies, objects)
