"""What one part of the program tells the others."""

import attrs

from sora.core.ids import MailboxId, ModSeq


@attrs.frozen
class MailboxChanged:
    """A committed change: everything in `mailbox` up to `modseq` can be read now."""

    mailbox: MailboxId
    modseq: ModSeq


@attrs.frozen
class FeedLost:
    """The change feed was interrupted: whoever waits must ask the store again, once it is back."""
