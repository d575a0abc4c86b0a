"""The only place for the rules of mailbox names, and for what users do with mailboxes as a whole."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from twisted.logger import Logger

from sora.core.errors import Impossible, LimitReached, MailboxExists, MailboxNameInvalid, SoraError
from sora.core.ids import AccountId, MailboxId
from sora.core.limits import MAILBOX_DEPTH_MAX, MAILBOX_NAME_MAX
from sora.imap import mailbox_name
from sora.imap.mailbox_name import INBOX, SEPARATOR
from sora.store.interfaces import Mailboxes
from sora.store.model import Actor, Listing, MailboxRow, NewMailbox

DEFAULTS: Final = (
    NewMailbox(INBOX, subscribed=True),
    NewMailbox("Archive", special_use="\\Archive", subscribed=True),
    NewMailbox("Drafts", special_use="\\Drafts", subscribed=True),
    NewMailbox("Junk", special_use="\\Junk", subscribed=True),
    NewMailbox("Sent", special_use="\\Sent", subscribed=True),
    NewMailbox("Trash", special_use="\\Trash", subscribed=True),
)
"""What a new account begins with (RFC 6154)."""
SPECIAL_USES: Final = frozenset(("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"))
"""What a mailbox can be given (RFC 6154 2); the others are views of other mailboxes, which sora does not have."""


def canonical(name: str) -> str:
    """Return a name as it is compared: NFC, with INBOX in capitals as the first level (RFC 3501 5.1)."""
    return mailbox_name.canonical(unicodedata.normalize("NFC", name))


def valid(name: str) -> str:
    """Return the canonical form of a name for a mailbox; one separator at its end is dropped (RFC 3501 6.3.3).

    Raises `MailboxNameInvalid`, and `LimitReached` if it is too long or has too many levels.
    """
    name = canonical(name.removesuffix(SEPARATOR))
    try:
        octets = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        raise MailboxNameInvalid("the mailbox name is not valid Unicode") from None
    if octets > MAILBOX_NAME_MAX:
        raise LimitReached(f"a mailbox name of more than {MAILBOX_NAME_MAX} octets")
    levels = name.split(SEPARATOR)
    if len(levels) > MAILBOX_DEPTH_MAX:
        raise LimitReached(f"more than {MAILBOX_DEPTH_MAX} levels of mailboxes")
    if any(level in ("", ".", "..") for level in levels):
        raise MailboxNameInvalid("a level of the mailbox name is empty or made of dots")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise MailboxNameInvalid("the mailbox name contains control characters")
    if any(wildcard in name for wildcard in "*%"):
        raise MailboxNameInvalid("the mailbox name contains a wildcard")
    return name


class MailboxUseCases:
    """What a user does with mailboxes; errors of the store pass through."""

    log = Logger()

    def __init__(self, mailboxes: Mailboxes, *, defaults: Sequence[NewMailbox] = DEFAULTS) -> None:
        """`defaults` are what an account gets that has nothing but INBOX."""
        self._mailboxes = mailboxes
        self._defaults = defaults

    async def furnish(self, account: AccountId) -> None:
        """Give an account that has nothing but INBOX the default mailboxes; what fails is tried at the next sign-in."""
        if not self._defaults:
            return
        try:
            await self._mailboxes.furnish(account, self._defaults)
        except SoraError as error:
            self.log.warn("the default mailboxes could not be made: {error}", error=error)

    async def listing(self, account: AccountId) -> Listing:
        """Read all mailboxes with counters, and all subscriptions."""
        return await self._mailboxes.listing(account)

    async def find(self, account: AccountId, name: str) -> MailboxRow:
        """Read one mailbox with its counters. Raises `NoSuchMailbox`."""
        return await self._mailboxes.find(account, canonical(name))

    async def create(self, account: AccountId, name: str, *, special_use: str | None = None) -> MailboxRow:
        """Create a mailbox and the levels above it. Raises `MailboxExists`, `MailboxNameInvalid`, `LimitReached`."""
        name = valid(name)
        if name == INBOX:
            raise MailboxExists("INBOX exists always")
        return await self._mailboxes.create(account, NewMailbox(name, special_use))

    async def delete(self, account: AccountId, name: str, actor: Actor) -> MailboxId:
        """Delete a mailbox and return which one it was.

        Raises `Impossible` for INBOX, `NoSuchMailbox`, `MailboxHasChildren`.
        """
        name = canonical(name)
        if name == INBOX:
            raise Impossible("INBOX cannot be deleted")
        return await self._mailboxes.delete(account, name, actor)

    async def rename(self, account: AccountId, old: str, new: str, actor: Actor) -> None:
        """Rename a mailbox with all below it; INBOX gives its messages to the new one (RFC 3501 6.3.5).

        Raises `Impossible` into its own subtree, `NoSuchMailbox`, `MailboxExists`, `MailboxNameInvalid`.
        """
        old, new = canonical(old), valid(new)
        if new in (INBOX, old):
            raise MailboxExists("a mailbox of the new name exists")
        if old == INBOX:
            await self._mailboxes.rename_inbox(account, new, actor)
            return
        if new.startswith(old + SEPARATOR):
            raise Impossible("a mailbox cannot be moved below itself")
        await self._mailboxes.rename(account, old, new)

    async def subscribe(self, account: AccountId, name: str) -> None:
        """Subscribe to a name, whether or not it exists (RFC 3501 6.3.6). Raises `MailboxNameInvalid`."""
        await self._mailboxes.subscribe(account, valid(name))

    async def unsubscribe(self, account: AccountId, name: str) -> None:
        """Unsubscribe from a name; harmless if not subscribed."""
        await self._mailboxes.unsubscribe(account, canonical(name))
