"""The only place for what a quota is: limits, what is used of them, and when someone is to be warned (RFC 9208)."""

from collections.abc import Sequence
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Limits:
    """How much may be held; None: no limit of that kind."""

    storage: int | None = None
    """Octets of all messages."""
    messages: int | None = None
    mailboxes: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return (self.storage, self.messages, self.mailboxes) != (None, None, None)


NO_LIMITS: Final = Limits()


@attrs.frozen(kw_only=True)
class Usage:
    """What an account or a domain holds, and how much it may."""

    limits: Limits = NO_LIMITS
    storage: int = 0
    """Octets of all messages."""
    messages: int = 0
    mailboxes: int = 0


@attrs.frozen
class Filled:
    """How full an account with a quota was before a message arrived and is after it, in thousandths."""

    before: int
    after: int

    def crossed(self, thresholds: Sequence[int]) -> int | None:
        """Return the highest threshold, in hundredths, that this message reached, or None."""
        reached = [one for one in thresholds if self.before < one * 10 <= self.after]
        return max(reached, default=None)


def thousandths(used: int, limit: int | None) -> int:
    """Return how much of a limit is used; nothing of a limit that there is not."""
    if limit is None:
        return 0
    return 1000 if limit == 0 else used * 1000 // limit
