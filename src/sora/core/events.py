"""What one part of the program tells the others."""

import attrs

from sora.core.ids import AccountId, MailboxId, ModSeq


@attrs.frozen
class MailboxChanged:
    """A committed change: everything in `mailbox` up to `modseq` can be read now."""

    mailbox: MailboxId
    modseq: ModSeq
    reader: AccountId | None = None
    """Whose alone it is: a \\Seen of one user's own changed, and nothing that others see."""

    def concerns(self, reader: AccountId | None) -> bool:
        """Tell whether it is for one who sees the mailbox as `reader` (None: as its owner)."""
        return self.reader is None or self.reader == reader


def names_of(account: AccountId) -> MailboxId:
    """Return what stands in the feed for the names, subscriptions and access of all mailboxes of an account.

    No mailbox has such an id; what is announced for it has modseq 0.
    """
    return MailboxId(-account)


@attrs.frozen
class FeedLost:
    """The change feed was interrupted: whoever waits must ask the store again, once it is back."""
