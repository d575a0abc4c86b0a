"""Every dialog of tests/dialogs/imap: over the in-memory store, also octet by octet; over PostgreSQL and TCP."""

from twisted.trial import unittest

from tests.dialogs.every import every_dialog
from tests.dialogs.runner import Run
from tests.dialogs.script import Dialog
from tests.dialogs.world import MemoryWorld, TcpWorld
from tests.integration.database import DatabaseTests


@every_dialog("imap", over_memory=True)
class ImapInMemoryTests(unittest.TestCase):
    """IMAP over memory."""

    piece: int | None = None

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        world = MemoryWorld(dialog, piece=self.piece)
        await world.set_up()
        world.factory = world.imap()
        run = Run(dialog, world)
        try:
            await run.hold()
        finally:
            await run.hang_up()


class ImapOctetByOctetTests(ImapInMemoryTests):
    """The same in the smallest segments: no answer depends on how octets are cut (case T4)."""

    piece = 1


@every_dialog("imap", over_memory=False)
class ImapOverPostgresTests(DatabaseTests):
    """IMAP over PostgreSQL and TCP."""

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        from twisted.internet import reactor

        world = TcpWorld(self.store, dialog, reactor)
        await world.set_up()
        world.listen(world.imap())
        run = Run(dialog, world)
        try:
            await run.hold()
        finally:
            await run.hang_up()
            await world.tear_down()
