"""Every dialog of tests/dialogs/lmtp: over the in-memory store, also octet by octet; over PostgreSQL and TCP."""

from twisted.trial import unittest

from tests.dialogs.every import every_dialog
from tests.dialogs.runner import Run
from tests.dialogs.script import Dialog
from tests.dialogs.world import MemoryWorld, TcpWorld
from tests.integration.database import DatabaseTests


@every_dialog("lmtp", over_memory=True)
class LmtpInMemoryTests(unittest.TestCase):
    """LMTP over memory."""

    piece: int | None = None

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        world = MemoryWorld(dialog, piece=self.piece)
        await world.set_up()
        world.factory = world.lmtp()
        run = Run(dialog, world)
        try:
            await run.hold()
        finally:
            await run.hang_up()


class LmtpOctetByOctetTests(LmtpInMemoryTests):
    """The same in the smallest segments: no answer depends on how octets are cut (case T4)."""

    piece = 1


@every_dialog("lmtp", over_memory=False)
class LmtpOverPostgresTests(DatabaseTests):
    """LMTP over PostgreSQL and TCP."""

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        from twisted.internet import reactor

        world = TcpWorld(self.store, dialog, reactor)
        await world.set_up()
        world.listen(world.lmtp())
        run = Run(dialog, world)
        try:
            await run.hold()
        finally:
            await run.hang_up()
            await world.tear_down()
