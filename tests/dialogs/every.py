"""Makes one test of each dialog in a folder, and holds it."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sora.store.interfaces import Store
from tests.dialogs import grammar, script
from tests.dialogs.runner import Run
from tests.dialogs.script import Dialog
from tests.dialogs.world import MemoryWorld, TcpWorld

T = TypeVar("T", bound=type)
FOLDER = Path(__file__).parent


async def hold_in_memory(protocol: str, dialog: Dialog, *, piece: int | None) -> None:
    """Hold a dialog over the store in memory, in segments of `piece` octets if it is given.

    Whatever it does not look at of what an IMAP server said must fit the formal syntax as well.
    """
    world = MemoryWorld(dialog, piece=piece)
    await world.set_up()
    world.factory = getattr(world, protocol)()
    run = Run(dialog, world)
    try:
        await run.hold()
    finally:
        await run.hang_up()
    if protocol == "imap" and piece is None:
        for client in world.clients:
            grammar.check(bytes(client.heard))


async def hold_over_tcp(protocol: str, dialog: Dialog, store: Store) -> None:
    """Hold a dialog over a store on PostgreSQL, and TCP."""
    from twisted.internet import reactor

    world = TcpWorld(store, dialog, reactor)
    await world.set_up()
    world.listen(getattr(world, protocol)())
    run = Run(dialog, world)
    try:
        await run.hold()
    finally:
        await run.hang_up()
        await world.tear_down()


def every_dialog(folder: str, *, over_memory: bool) -> Callable[[T], T]:
    """Give a test class one test for each dialog of `folder`; it has a coroutine `hold(dialog)`."""

    def decorate(cls: T) -> T:
        for path in sorted((FOLDER / folder).glob("*.txt")):
            dialog = script.read(path)
            if over_memory or not dialog.memory_only:
                test = _test(dialog)
                test.__name__ = f"test_{dialog.name}"
                setattr(cls, test.__name__, test)
        return cls

    return decorate


def _test(dialog: Dialog) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def test(self: Any) -> None:
        await self.hold(dialog)

    return test
