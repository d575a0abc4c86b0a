"""What the use cases ask of storage about rights in mailboxes, and the values that it answers with (RFC 4314)."""

from typing import Final, Protocol

import attrs
from twisted.internet.defer import Deferred

from sora.core.ids import AccountId, MailboxId
from sora.core.rights import Edit, Grant, Rights, effective
from sora.store.model import MailboxRow

ANYONE: Final = "anyone"
GROUP: Final = "$"
COMMONS: Final = "(shared)"
"""The local part of whom a domain's own mailboxes belong to; no peer can write such an address."""


@attrs.frozen
class Seen:
    """A mailbox of someone else: where a name led, and what its reader may do there."""

    mailbox: MailboxId
    owner: AccountId
    owner_address: str
    name: str
    """As its owner calls it."""
    grants: tuple[Grant, ...]
    """Those that concern the reader."""

    @property
    def rights(self) -> Rights:
        """What they come to."""
        return effective(self.grants)


@attrs.frozen
class Visible:
    """A mailbox of someone else, with its counters."""

    row: MailboxRow
    """Its name is the owner's; `subscribed` says nothing."""
    owner_address: str
    grants: tuple[Grant, ...]

    @property
    def rights(self) -> Rights:
        """What the grants come to."""
        return effective(self.grants)


@attrs.frozen
class Entry:
    """One line of an access control list: an address, `$group@domain` or `anyone`, and what it has."""

    identifier: str
    grant: Grant


class Grants(Protocol):
    """Rights in mailboxes. Only accounts of the owner's domain can have any; the owner has all, unwritten."""

    def seen(self, reader: AccountId, owner: str | None, name: str) -> "Deferred[Seen]":
        """Find a mailbox by its owner's local part (None: of the domain itself) and name. Raises `NoSuchMailbox`.

        Whatever the reader's rights are, even none.
        """

    def visible(self, reader: AccountId, *, own_seen: bool = False) -> "Deferred[list[Visible]]":
        """List the mailboxes of others that some grant concerns the reader in.

        `own_seen`: count what is unseen by his own \\Seen.
        """

    def entries(self, mailbox: MailboxId) -> "Deferred[list[Entry]]":
        """Read a mailbox's list, ascending by identifier, positive rights first; the owner is not in it."""

    def grant(
        self, mailbox: MailboxId, identifier: str, edit: Edit, rights: Rights, *, negative: bool
    ) -> "Deferred[None]":
        """Change the rights of a canonical identifier; without any left it is off the list.

        Raises `NoSuchMailbox`, `NoSuchAccount` for an account or a group that the owner's domain does not have,
        `LimitReached` for one more than `ACL_ENTRIES_MAX`.
        """

    def create_common(
        self, domain: str | None, name: str, rights: Rights, creator: AccountId | None
    ) -> "Deferred[None]":
        """Create a mailbox that belongs to a domain, with missing parents, and give its creator rights in all of them.

        The domain is the creator's if it is not named.

        Raises `MailboxExists`, `LimitReached`, `OverQuota`.
        """

    def create_group(self, group: str) -> "Deferred[None]":
        """Create a group, written `$name@domain`. Raises `AccountExists`."""

    def delete_group(self, group: str) -> "Deferred[None]":
        """Delete a group with all that was granted to it. Raises `NoSuchAccount`."""

    def join(self, group: str, address: str, *, member: bool) -> "Deferred[None]":
        """Make an account of the group's domain a member, or none. Raises `NoSuchAccount`."""

    def groups(self, domain: str | None = None) -> "Deferred[list[tuple[str, tuple[str, ...]]]]":
        """List groups with their members' addresses, both ascending."""
