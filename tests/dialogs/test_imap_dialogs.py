"""Every dialog of tests/dialogs/imap: over the in-memory store, also octet by octet; over PostgreSQL and TCP."""

from twisted.trial import unittest

from tests.dialogs.every import every_dialog, hold_in_memory, hold_over_tcp
from tests.dialogs.script import Dialog
from tests.integration.database import DatabaseTests


@every_dialog("imap", over_memory=True)
class ImapInMemoryTests(unittest.TestCase):
    """IMAP over memory."""

    piece: int | None = None

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        await hold_in_memory("imap", dialog, piece=self.piece)


class ImapOctetByOctetTests(ImapInMemoryTests):
    """The same in the smallest segments: no answer depends on how octets are cut (case T4)."""

    piece = 1


@every_dialog("imap", over_memory=False)
class ImapOverPostgresTests(DatabaseTests):
    """IMAP over PostgreSQL and TCP."""

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        await hold_over_tcp("imap", dialog, self.store)
