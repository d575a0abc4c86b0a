"""Every dialog of tests/dialogs/lmtp: over the in-memory store, also octet by octet; over PostgreSQL and TCP."""

from twisted.trial import unittest

from tests.dialogs.every import every_dialog, hold_in_memory, hold_over_tcp
from tests.dialogs.script import Dialog
from tests.integration.database import DatabaseTests


@every_dialog("lmtp", over_memory=True)
class LmtpInMemoryTests(unittest.TestCase):
    """LMTP over memory."""

    piece: int | None = None

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        await hold_in_memory("lmtp", dialog, piece=self.piece)


class LmtpOctetByOctetTests(LmtpInMemoryTests):
    """The same in the smallest segments: no answer depends on how octets are cut (case T4)."""

    piece = 1


@every_dialog("lmtp", over_memory=False)
class LmtpOverPostgresTests(DatabaseTests):
    """LMTP over PostgreSQL and TCP."""

    async def hold(self, dialog: Dialog) -> None:
        """Hold one dialog."""
        await hold_over_tcp("lmtp", dialog, self.store)
