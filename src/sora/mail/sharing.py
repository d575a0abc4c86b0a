"""The only place that checks rights in other people's mailboxes (RFC 4314), and where names of such mailboxes lead.

One's own mailboxes come through here untouched: whatever lists they have, their owner may do everything. A name that
begins with one of two prefixes leads to someone else: `Other Users/ann/Work`, or `Shared/Sales` of the domain itself.
`mail.shared_store` looks at each name that a command says; what a session does in the mailbox that it has selected is
asked of `here`.

A mailbox in which one has not even the right to look it up is one that does not exist, whatever one tries.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from sora.core.errors import NoSuchMailbox, NotPermitted
from sora.core.ids import AccountId, MailboxId
from sora.core.rights import ALL, KNOWING, Edit, Rights
from sora.imap.mailbox_name import SEPARATOR
from sora.store.grants import ANYONE, COMMONS, Entry, Grants, Seen
from sora.store.interfaces import Mailboxes
from sora.store.model import MailboxRow, NewMailbox

MISSING: Final = "the mailbox does not exist"
OWN: Final = MailboxId(0)
DENIED: Final = "you do not have the right to do this"


@attrs.frozen(kw_only=True)
class Settings:
    """What an operator says of shared mailboxes."""

    shared_prefix: str = "Shared/"
    users_prefix: str = "Other Users/"
    users_create: bool = False
    """Whether users may create mailboxes of their domain."""
    creator_rights: Rights = ALL
    anyone: bool = False
    """Whether rights may be given to everyone in a domain."""
    seen_per_user: bool = False
    """Whether each user has a \\Seen of his own in mailboxes of others."""


@attrs.frozen
class Place:
    """Where a name leads, and what its reader may do there."""

    mailbox: MailboxId
    """`OWN` of one's own: nobody had to look."""
    owner: AccountId
    name: str
    """As the owner calls it."""
    rights: Rights
    owner_address: str = ""

    def need(self, *wanted: str) -> "Place":
        """Return it if all these rights are there. Raises `NoSuchMailbox` if even `l` is not, `NotPermitted`."""
        if all(right in self.rights for right in wanted):
            return self
        raise NotPermitted(DENIED) if "l" in self.rights else NoSuchMailbox(MISSING)


@attrs.frozen
class Administered:
    """A mailbox whose list one may read and change."""

    mailbox: MailboxId
    owner_address: str

    @property
    def domain(self) -> str:
        """The domain that everyone on the list is of."""
        return self.owner_address.rpartition("@")[2]


Find = Callable[[AccountId, str], Awaitable[MailboxRow]]


class Sharing:
    """Where names lead, and who may do what there."""

    def __init__(self, grants: Grants, settings: Settings | None = None) -> None:
        """Without `settings` nothing is shared: every name is one's own."""
        self._grants = grants
        self.settings = settings

    # ------------------------------------------------------------ names

    def foreign(self, name: str) -> bool:
        """Tell whether a name is in another namespace than one's own."""
        settings = self.settings
        if settings is None:
            return False
        return any(
            name.startswith(prefix) or name == prefix.removesuffix(SEPARATOR)
            for prefix in (settings.users_prefix, settings.shared_prefix)
        )

    def reader(self, account: AccountId) -> AccountId | None:
        """Return whose \\Seen a user sees in mailboxes of others: his own, or (None) that of all who use them."""
        return account if self.settings is not None and self.settings.seen_per_user else None

    def split(self, name: str) -> tuple[str | None, str]:
        """Return the owner's local part (None: the domain itself) and its name of a mailbox. Raises `NoSuchMailbox`."""
        settings = self.settings
        if settings is not None and name.startswith(settings.shared_prefix):
            owned = name.removeprefix(settings.shared_prefix)
            if owned:
                return None, owned
        elif settings is not None and name.startswith(settings.users_prefix):
            owner, _, owned = name.removeprefix(settings.users_prefix).partition(SEPARATOR)
            if owner and owned and owner != COMMONS:
                return owner, owned
        raise NoSuchMailbox(MISSING)

    def seen_name(self, owner_address: str, name: str) -> str | None:
        """Return how others call an owner's mailbox; None if they cannot."""
        settings, local = self.settings, owner_address.rpartition("@")[0]
        if settings is None or SEPARATOR in local:
            return None
        if local == COMMONS:
            return settings.shared_prefix + name
        return f"{settings.users_prefix}{local}{SEPARATOR}{name}"

    async def place(self, account: AccountId, name: str) -> Place:
        """Find where a name leads. Raises `NoSuchMailbox` also where the reader has no right at all."""
        if not self.foreign(name):
            return Place(OWN, account, name, ALL)
        seen = await self._seen(account, name)
        if not seen.rights:
            raise NoSuchMailbox(MISSING)
        return _place(seen, account)

    async def _seen(self, account: AccountId, name: str) -> Seen:
        owner, owned = self.split(name)
        seen = await self._grants.seen(account, owner, owned)
        if seen.owner == account:
            # One's own mailboxes have one name each.
            raise NoSuchMailbox(MISSING)
        return seen

    async def readable(self, account: AccountId, name: str) -> tuple[AccountId, str, AccountId | None]:
        """Return the owner of a mailbox that one may read, its name there, and as whom one sees it.

        Raises as `Place.need`.
        """
        if not self.foreign(name):
            return account, name, None
        place = (await self.place(account, name)).need("r")
        return place.owner, place.name, self.reader(account)

    async def here(self, account: AccountId, name: str, mailbox: MailboxId) -> Rights:
        """Return the rights in a mailbox selected by a name. Raises `NoSuchMailbox` if it may not be read now."""
        if not self.foreign(name):
            return ALL
        place = await self.place(account, name)
        if place.mailbox != mailbox or "r" not in place.rights:
            raise NoSuchMailbox(MISSING)
        return place.rights

    async def rows(self, account: AccountId) -> "list[tuple[MailboxRow, Rights]]":
        """List the mailboxes of others that one may look up, by the names that one knows them by."""
        if self.settings is None:
            return []
        found = []
        own_seen = self.reader(account) is not None
        for one in await self._grants.visible(account, own_seen=own_seen):
            name = self.seen_name(one.owner_address, one.row.name)
            if name is not None and "l" in one.rights:
                found.append((attrs.evolve(one.row, name=name, special_use=None, subscribed=False), one.rights))
        return found

    # ------------------------------------------------------------ creating

    async def above(self, account: AccountId, name: str) -> Place | None:
        """Return the nearest mailbox above a name in another's namespace, None if there is none."""
        level = name
        while SEPARATOR in level:
            level = level.rpartition(SEPARATOR)[0]
            try:
                return _place(await self._seen(account, level), account)
            except NoSuchMailbox:
                continue
        return None

    async def create(self, account: AccountId, name: str, mailboxes: Mailboxes) -> None:
        """Create a mailbox in another's namespace (RFC 4314 4, CREATE). Raises `NotPermitted`, `MailboxExists`."""
        settings = self.settings
        try:
            owner, owned = self.split(name)
        except NoSuchMailbox:
            raise NotPermitted(DENIED) from None
        above = await self.above(account, name)
        if above is not None:
            if "k" not in above.rights:
                raise NotPermitted(DENIED)
            await mailboxes.create(above.owner, NewMailbox(owned))
            return
        if settings is None or owner is not None or not settings.users_create:
            raise NotPermitted(DENIED)
        await self._grants.create_common(None, owned, settings.creator_rights, account)

    # ------------------------------------------------------------ access control lists

    async def rights(self, account: AccountId, name: str) -> Rights:
        """Return one's rights in a mailbox, for MYRIGHTS. Raises `NoSuchMailbox` without one of `KNOWING`."""
        place = await self.place(account, name)
        if not place.rights & KNOWING:
            raise NoSuchMailbox(MISSING)
        return place.rights

    async def administered(self, account: AccountId, address: str, name: str, find: Find) -> Administered:
        """Return a mailbox that one administers: one's own (`find` finds it), or with `a`. Raises as `Place.need`."""
        if not self.foreign(name):
            return Administered((await find(account, name)).id, address)
        place = (await self.place(account, name)).need("a")
        return Administered(place.mailbox, place.owner_address)

    async def entries(self, mailbox: MailboxId) -> list[Entry]:
        """Read a mailbox's list, without its owner."""
        return await self._grants.entries(mailbox)

    async def grant(self, mailbox: MailboxId, identifier: str, edit: Edit, rights: Rights, *, negative: bool) -> None:
        """Change a mailbox's list; `identifier` is canonical. Raises `NotPermitted`, `NoSuchAccount`."""
        anyone = self.settings is not None and self.settings.anyone
        if identifier == ANYONE and not anyone and not negative and edit is not Edit.REMOVE and rights:
            raise NotPermitted("rights cannot be given to everyone here")
        await self._grants.grant(mailbox, identifier, edit, rights, negative=negative)


def _place(seen: Seen, account: AccountId) -> Place:
    return Place(seen.mailbox, seen.owner, seen.name, seen.rights, seen.owner_address)
