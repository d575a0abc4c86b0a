"""Reads from a standby where that cannot show: columns of messages that never change once they are written.

What a standby does not have yet is asked of the primary, and so is everything while the standby is away; what
sessions see therefore never depends on how far it lags behind.
"""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from sora.aio import deferred
from sora.core.errors import SoraError
from sora.core.ids import MailboxId
from sora.core.quota import NO_LIMITS, Limits
from sora.postgres.messages import PostgresMessages
from sora.postgres.work import Database
from sora.store.model import FetchRow, Listed, Want


class ReplicatedMessages(PostgresMessages):
    """`store.interfaces.Messages` on a primary, with FETCH served by a standby."""

    log = Logger()

    def __init__(
        self,
        primary: Database,
        standby: Database,
        *,
        flags_wait_for_disk: bool = False,
        quota: Limits = NO_LIMITS,
    ) -> None:
        super().__init__(primary, flags_wait_for_disk=flags_wait_for_disk, quota=quota)
        self._standby = PostgresMessages(standby)

    @deferred
    async def fetch(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> list[FetchRow]:
        """Read columns of messages, ascending by UID; messages that are gone are absent."""
        try:
            rows = await self._standby.fetch(mailbox, uids, want)
        except CancelledError:
            raise
        except SoraError as error:
            self.log.warn("the read endpoint did not answer: {error}", error=error)
            rows = []
        found = {row.uid for row in rows}
        missing = [uid for uid in uids if uid not in found]
        if missing:
            rows = sorted([*rows, *await super().fetch(mailbox, missing, want)], key=lambda row: row.uid)
        return rows

    @deferred
    async def listing(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> Listed:
        """Read as `fetch` does what is within `Want.LISTED`, as columns."""
        try:
            listed = await self._standby.listing(mailbox, uids, want)
        except CancelledError:
            raise
        except SoraError as error:
            self.log.warn("the read endpoint did not answer: {error}", error=error)
        else:
            if len(listed.uids) == len(uids):
                return listed
        return await super().listing(mailbox, uids, want)
