"""The only place where sessions change messages: flags, copies, moves, expunges; each is one round trip.

After each change the session's mailbox shows it. An answer to COMMIT that was lost (`CommitUnknown`) is
passed on where the change may be repeated without harm or cannot be told from another's; a STORE is
idempotent. COPY is not: it is never repeated here, so that no message is doubled unasked, and a MOVE is one
transaction, whose source is never expunged by itself: the message is in one of the two places.
"""

from collections.abc import Sequence

from twisted.logger import Logger

from sora.core.errors import CommitUnknown, SoraError
from sora.core.ids import MailboxId, ModSeq
from sora.mail.live import OpenMailbox
from sora.store.interfaces import Messages
from sora.store.model import Actor, Copied, FlagChange, FlagsStored, Named, Sight


class Changer:
    """Changes messages in an open mailbox."""

    log = Logger()

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def store(self, mailbox: OpenMailbox, changes: Sequence[FlagChange]) -> list[FlagsStored]:
        """Change flags, atomically and in order. Raises `NoSuchMailbox`, `LimitReached`, `CommitUnknown`."""
        with mailbox.writing():
            try:
                results = await self._messages.store(mailbox.row.id, changes, reader=mailbox.reader)
            except CommitUnknown:
                await self.show(mailbox)
                raise
            await mailbox.absorb_stored(results)
        return results

    async def expunge(self, mailbox: OpenMailbox, uids: Sequence[int] | None, actor: Actor) -> list[int]:
        """Remove those messages that are \\Deleted, of the named ones or of all; returns their UIDs.

        Raises `NoSuchMailbox`, `CommitUnknown`.
        """
        with mailbox.writing():
            try:
                modseq, gone = await self._messages.expunge(mailbox.row.id, uids, actor)
            except CommitUnknown:
                await self.show(mailbox)
                raise
            await self._without(mailbox, modseq, gone)
        return list(gone)

    async def copy(self, mailbox: OpenMailbox, uids: Sequence[int], target: MailboxId | Named) -> Copied:
        """Copy messages, all or none. Raises `NoSuchMailbox`, `UidsExhausted`, `OverQuota`, `CommitUnknown`."""
        copied = await self._messages.copy(mailbox.row.id, uids, target, sight=_sight(mailbox))
        if copied.mailbox == mailbox.row.id:
            await self.show(mailbox)
        return copied

    async def move(self, mailbox: OpenMailbox, uids: Sequence[int], target: MailboxId | Named, actor: Actor) -> Copied:
        """Move messages in one transaction. Raises as `copy`.

        After `CommitUnknown` the mailbox shows whether the messages are still there.
        """
        with mailbox.writing():
            try:
                moved = await self._messages.move(mailbox.row.id, uids, target, actor, sight=_sight(mailbox))
            except CommitUnknown:
                await self.show(mailbox)
                raise
            if moved.left is not None:
                if moved.mailbox == mailbox.row.id:
                    await self.show(mailbox)
                else:
                    await self._without(mailbox, moved.left, moved.source)
        return moved

    async def show(self, mailbox: OpenMailbox) -> None:
        """Refresh after a change whose outcome stands, whether or not it can be seen yet."""
        try:
            await mailbox.refresh()
        except SoraError as error:
            self._unseen(error)

    async def _without(self, mailbox: OpenMailbox, modseq: ModSeq, uids: Sequence[int]) -> None:
        """Show the mailbox without messages that have left it."""
        try:
            await mailbox.absorb_expunged(modseq, uids)
        except SoraError as error:
            self._unseen(error)

    def _unseen(self, error: SoraError) -> None:
        # The change is made: a NO would have the client repeat it. The change feed brings it to the view.
        self.log.warn("a change was made but could not be read back yet: {error}", error=error)


def _sight(mailbox: OpenMailbox) -> Sight | None:
    return None if mailbox.reader is None else Sight(mailbox.reader, here=True)
