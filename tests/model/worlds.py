"""Where the game is played: two workers over one store, in memory with a clock of ours, or over PostgreSQL and TCP."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

from sora.core.errors import Busy, CommitUnknown, DatabaseUnavailable
from sora.core.flags import join
from sora.store.interfaces import Store
from sora.store.model import Want
from tests.dialogs.connections import MemoryClient, TcpClient
from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import MemoryWorld, TcpWorld

USER = "demo@example.org"
WORKERS = 2
CHANGES = frozenset(("insert", "store", "copy", "move", "expunge", "create", "delete", "rename", "rename_inbox"))


def scene() -> Dialog:
    """One user with an empty inbox."""
    return Dialog("model", [Account(USER, "secret", [])], {}, (), [])


class Harmful:
    """Operations of a store, the next change of which may be made to fail."""

    def __init__(self, operations: Any, world: "Worlds") -> None:
        self._operations = operations
        self._world = world

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._operations, name)
        return self._world.harming(operation) if name in CHANGES else operation


class Worlds:
    """What both worlds have in common."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._done = False

    def harm(self, how: int) -> None:
        """Make the next change in the store fail: before it, or after it with its answer lost, or neither known."""
        self._next = how % 4

    def harmed(self) -> bool:
        """Tell whether the harm was done since the last question; none waits any more."""
        done, self._done, self._next = self._done, False, None
        return done

    def harming(self, operation: Callable[..., "Deferred[Any]"]) -> Callable[..., "Deferred[Any]"]:
        """Return an operation that does as it was told when it is called."""

        def call(*args: Any, **kwargs: Any) -> "Deferred[Any]":
            how, self._next = self._next, None
            if how is None:
                return operation(*args, **kwargs)
            self._done = True
            if how == 0:
                return fail(DatabaseUnavailable("harmed"))
            if how == 1:
                return fail(Busy("harmed"))
            if how == 2:
                return fail(CommitUnknown("harmed, and not done"))
            return operation(*args, **kwargs).addBoth(lambda _: fail(CommitUnknown("harmed, and done")))

        return call

    def put_in(self, store: Any) -> None:
        """Have a store's changes pass through here."""
        store.messages = Harmful(store.messages, self)
        store.mailboxes = Harmful(store.mailboxes, self)


async def everything(store: Store, account: Any, reader: Any) -> dict[str, list[tuple[int, int, frozenset[str]]]]:
    """Read all of an account, by what the store says and not the server."""
    found: dict[str, list[tuple[int, int, frozenset[str]]]] = {}
    for row in (await store.mailboxes.listing(account)).mailboxes:
        columns = (await store.mailboxes.open(account, row.name, claim_recent=False)).columns
        rows = await store.messages.fetch(row.id, columns.uids, Want.BYTES)
        bytes_of = await reader.read([one.ref for one in rows])
        letters = {one.uid: int(bytes_of[one.ref.id].split(b"This is ")[1].split(b".")[0]) for one in rows}
        found[row.name] = [
            (uid, letters[uid], frozenset(join(flags, columns.keywords.get(uid, ())).split()))
            for uid, flags in zip(columns.uids, columns.flags, strict=True)
        ]
    return found


class InMemory(Worlds):
    """Two workers over the store in memory: each with its own sessions and views."""

    def __init__(self) -> None:
        super().__init__()
        self._world = MemoryWorld(scene())

    async def set_up(self) -> None:
        """Make the user and start the workers."""
        await self._world.set_up()
        self.put_in(self._world.store)
        self._factories = [self._world.imap() for _ in range(WORKERS)]

    async def connect(self, number: int) -> MemoryClient:
        """Return a connection for a player, to one of the workers."""
        return MemoryClient(self._factories[number % WORKERS], self._world.clock)

    async def restart(self, number: int) -> None:
        """Put another worker in the place of one."""
        self._factories[number % WORKERS] = self._world.imap()

    async def look(self) -> dict[str, list[tuple[int, int, frozenset[str]]]]:
        """Return everything there is."""
        self.harmed()
        return await everything(self._world.store, self._world.ids[USER], self._world.reader)

    async def findings(self) -> list[Any]:
        """Return what contradicts itself in the store."""
        return list(await self._world.store.audit.findings())


class OverPostgres(Worlds):
    """Two workers with a pool and a change feed each, over one database, and clients over TCP."""

    def __init__(self, open_store: "Callable[[], Awaitable[Any]]", reactor: Any) -> None:
        super().__init__()
        self._open_store = open_store
        self._reactor = reactor
        self._workers: list[TcpWorld] = []
        self._ids: dict[str, Any] = {}

    async def set_up(self) -> None:
        """Make the user and start the workers."""
        first = await self._open_store()
        maker = TcpWorld(first, scene(), self._reactor)
        await maker.set_up()
        self._ids = maker.ids
        self._workers = [await self._start() for _ in range(WORKERS)]
        await first.stop()

    async def _start(self) -> TcpWorld:
        store = await self._open_store()
        self.put_in(store)
        world = TcpWorld(store, scene(), self._reactor)
        world.ids = self._ids
        world.listen(world.imap())
        return world

    async def connect(self, number: int) -> TcpClient:
        """Return a connection for a player, to one of the workers."""
        return await self._workers[number % WORKERS].connect()

    async def restart(self, number: int) -> None:
        """Stop a worker and start another one in its place."""
        await self._stop(self._workers[number % WORKERS])
        self._workers[number % WORKERS] = await self._start()

    async def _stop(self, world: TcpWorld) -> None:
        await world.tear_down()
        await world.store.stop()  # type: ignore[attr-defined]

    async def tear_down(self) -> None:
        """Stop the workers."""
        for world in self._workers:
            await self._stop(world)

    async def look(self) -> dict[str, list[tuple[int, int, frozenset[str]]]]:
        """Return everything there is."""
        self.harmed()
        world = self._workers[0]
        return await everything(world.store, self._ids[USER], world.reader)

    async def findings(self) -> list[Any]:
        """Return what contradicts itself in the store."""
        return list(await self._workers[0].store.audit.findings())
