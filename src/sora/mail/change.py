"""The only place where sessions change messages: flags, copies, moves, expunges; each is one round trip.

After each change the session's mailbox shows it. An answer to COMMIT that was lost (`CommitUnknown`) is
passed on where the change may be repeated without harm or cannot be told from another's; a STORE is
idempotent. COPY is not: it is never repeated here, so that no message is doubled unasked, and a MOVE is one
transaction, whose source is never expunged by itself: the message is in one of the two places.
"""

from collections.abc import Sequence

from sora.core.errors import CommitUnknown
from sora.core.ids import MailboxId
from sora.mail.live import OpenMailbox
from sora.store.interfaces import Messages
from sora.store.model import Actor, Copied, FlagChange, FlagsStored


class Changer:
    """Changes messages in an open mailbox."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def store(self, mailbox: OpenMailbox, changes: Sequence[FlagChange]) -> list[FlagsStored]:
        """Change flags, atomically and in order. Raises `NoSuchMailbox`, `LimitReached`, `CommitUnknown`."""
        try:
            results = await self._messages.store(mailbox.row.id, changes)
        except CommitUnknown:
            await mailbox.refresh()
            raise
        await mailbox.absorb_stored(results)
        return results

    async def expunge(self, mailbox: OpenMailbox, uids: Sequence[int] | None, actor: Actor) -> list[int]:
        """Remove those messages that are \\Deleted, of the named ones or of all; returns their UIDs.

        Raises `NoSuchMailbox`, `CommitUnknown`.
        """
        try:
            modseq, gone = await self._messages.expunge(mailbox.row.id, uids, actor)
        except CommitUnknown:
            await mailbox.refresh()
            raise
        await mailbox.absorb_expunged(modseq, gone)
        return list(gone)

    async def copy(self, mailbox: OpenMailbox, uids: Sequence[int], target: MailboxId) -> Copied:
        """Copy messages, all or none. Raises `NoSuchMailbox`, `UidsExhausted`, `OverQuota`, `CommitUnknown`."""
        copied = await self._messages.copy(mailbox.row.id, uids, target)
        if target == mailbox.row.id:
            await mailbox.refresh()
        return copied

    async def move(self, mailbox: OpenMailbox, uids: Sequence[int], target: MailboxId, actor: Actor) -> Copied:
        """Move messages in one transaction. Raises as `copy`.

        After `CommitUnknown` the mailbox shows whether the messages are still there.
        """
        try:
            moved = await self._messages.move(mailbox.row.id, uids, target, actor)
        except CommitUnknown:
            await mailbox.refresh()
            raise
        if moved.source:
            await mailbox.refresh()
        return moved
