"""Stands before a store: the only place where names that commands say become mailboxes of others.

Each method is the store's own (`store.interfaces`), by the names that a user knows and with the rights that RFC 4314 4
asks for. What names no mailbox of others goes straight to the store.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core.errors import Impossible, NotPermitted
from sora.core.flags import SEEN, Change
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.core.rights import ALL, settable
from sora.imap.mailbox_name import INBOX
from sora.mail.sharing import DENIED, Place, Settings, Sharing
from sora.store.grants import Grants
from sora.store.interfaces import Mailboxes, Messages
from sora.store.model import (
    Actor,
    Copied,
    FlagChange,
    Inserted,
    Listing,
    MailboxRow,
    Named,
    NewMailbox,
    NewMessage,
    Opened,
    Sight,
)


class SharedMailboxes:
    """`store.interfaces.Mailboxes` by the names that a user knows; what is one's own goes straight to the store."""

    def __init__(self, inner: Mailboxes, sharing: Sharing) -> None:
        self._inner = inner
        self._sharing = sharing

    def __getattr__(self, name: str) -> Any:
        # What takes no name of a mailbox, or a subscription's, is the store's own.
        return getattr(self._inner, name)

    @deferred
    async def listing(self, account: AccountId) -> Listing:
        """Read all mailboxes with counters, those of others that may be looked up among them, and all subscriptions."""
        looking = Deferred.fromCoroutine(self._sharing.rows(account))
        try:
            own = await self._inner.listing(account)
        except BaseException:
            looking.addErrback(lambda _: None)
            looking.cancel()
            raise
        others = await looking
        if not others:
            return own
        subscribed = frozenset(own.subscriptions)
        rows = [attrs.evolve(row, subscribed=row.name in subscribed, rights=rights) for row, rights in others]
        mine = [row for row in own.mailboxes if not self._sharing.foreign(row.name)]
        return attrs.evolve(own, mailboxes=tuple(sorted([*mine, *rows], key=lambda row: row.name)))

    @deferred
    async def find(self, account: AccountId, name: str) -> MailboxRow:
        """Read one mailbox that one may read. Raises `NoSuchMailbox`, `NotPermitted`."""
        owner, owned, reader = await self._sharing.readable(account, name)
        return attrs.evolve(await self._inner.find(owner, owned, reader=reader), name=name)

    @deferred
    async def open(self, account: AccountId, name: str, **options: Any) -> Opened:
        """Open a mailbox that one may read. Raises `NoSuchMailbox`, `NotPermitted`."""
        owner, owned, reader = await self._sharing.readable(account, name)
        return await self._inner.open(owner, owned, reader=reader, **options)

    @deferred
    async def create(self, account: AccountId, mailbox: NewMailbox) -> MailboxRow:
        """Create a mailbox and its missing parents, in another's place with `k` on what is above."""
        if not self._sharing.foreign(mailbox.name):
            return await self._inner.create(account, mailbox)
        if mailbox.special_use is not None:
            raise NotPermitted("only a mailbox of one's own can have a special use")
        await self._sharing.create(account, mailbox.name, self._inner)
        place = await self._sharing.place(account, mailbox.name)
        return attrs.evolve(await self._inner.find(place.owner, place.name), name=mailbox.name)

    @deferred
    async def delete(self, account: AccountId, name: str, actor: Actor) -> MailboxId:
        """Delete a mailbox, another's with `x`. Raises as the store, and `NotPermitted`."""
        if not self._sharing.foreign(name):
            return await self._inner.delete(account, name, actor)
        place = (await self._sharing.place(account, name)).need("x")
        if place.name == INBOX:
            raise Impossible("INBOX cannot be deleted")
        return await self._inner.delete(place.owner, place.name, actor)

    @deferred
    async def rename(self, account: AccountId, old: str, new: str) -> None:
        """Rename a mailbox and all below it, another's with `x`, to below what one has `k` on; its owner stays."""
        sharing = self._sharing
        if not sharing.foreign(old) and not sharing.foreign(new):
            await self._inner.rename(account, old, new)
            return
        place = (await sharing.place(account, old)).need("x")
        above = await sharing.above(account, new) if sharing.foreign(new) else None
        if above is None or "k" not in above.rights or above.owner != place.owner or place.name == INBOX:
            raise NotPermitted(DENIED)
        await self._inner.rename(place.owner, place.name, sharing.split(new)[1])

    @deferred
    async def rename_inbox(self, account: AccountId, new: str, actor: Actor) -> None:
        """Create `new`, one's own, and move all messages of INBOX into it."""
        if self._sharing.foreign(new):
            raise NotPermitted(DENIED)
        await self._inner.rename_inbox(account, new, actor)


class SharedMessages:
    """`store.interfaces.Messages` whose targets are named as a user knows them."""

    def __init__(self, inner: Messages, mailboxes: Mailboxes, sharing: Sharing) -> None:
        self._inner = inner
        self._mailboxes = mailboxes
        self._sharing = sharing

    def __getattr__(self, name: str) -> Any:
        # What takes no name of a mailbox is the store's own.
        return getattr(self._inner, name)

    def _passes(self, target: MailboxId | Named) -> bool:
        return not isinstance(target, Named) or not self._sharing.foreign(target.name)

    async def _target(self, target: Named) -> Place:
        return (await self._sharing.place(target.account, target.name)).need("i")

    async def _admitted(self, messages: Sequence[NewMessage]) -> tuple[list[NewMessage], list[bool]]:
        """Return messages with the mailboxes that their targets are, and with the flags that may be set there.

        And of each, whether whoever puts it there may not read it.
        """
        places: dict[Named, Place] = {}
        admitted, secret = [], []
        for message in messages:
            target = message.mailbox
            hidden = False
            if isinstance(target, Named) and self._sharing.foreign(target.name):
                if target not in places:
                    places[target] = await self._target(target)
                message = _with_rights(message, places[target], self._sharing.reader(target.account))
                hidden = "r" not in places[target].rights
            admitted.append(message)
            secret.append(hidden)
        return admitted, secret

    def insert(self, messages: Sequence[NewMessage]) -> "Deferred[list[Inserted | Exception]]":
        """Insert messages, into another's mailbox with `i`; flags that one may not set there are left out."""
        if all(self._passes(message.mailbox) for message in messages):
            return self._inner.insert(messages)
        return self._after(messages, self._inner.insert)

    def insert_whole(self, messages: Sequence[NewMessage]) -> "Deferred[Any]":
        """Insert messages all or none, as `insert`."""
        if all(self._passes(message.mailbox) for message in messages):
            return self._inner.insert_whole(messages)
        return self._after(messages, self._inner.insert_whole)

    @deferred
    async def _after(self, messages: Sequence[NewMessage], insert: Callable[[Sequence[NewMessage]], Any]) -> Any:
        admitted, secret = await self._admitted(messages)
        done = zip(await insert(admitted), secret, strict=True)
        return [attrs.evolve(one, secret=True) if hidden and isinstance(one, Inserted) else one for one, hidden in done]

    @deferred
    async def replace(self, mailbox: MailboxId, uid: int, message: NewMessage, actor: Actor) -> Any:
        """Insert a message in the place of another, as `insert`."""
        (admitted,), (secret,) = await self._admitted([message])
        done = await self._inner.replace(mailbox, uid, admitted, actor)
        return attrs.evolve(done, secret=True) if secret else done

    def copy(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, *, sight: Sight | None = None
    ) -> "Deferred[Copied]":
        """Copy messages, into another's mailbox with `i`; flags that one may not set there are taken off the copies."""
        if not isinstance(target, Named) or self._passes(target):
            return self._inner.copy(source, uids, target, sight=sight)
        return self._transfer(target, sight, lambda to, seen: self._inner.copy(source, uids, to, sight=seen))

    def move(
        self,
        source: MailboxId,
        uids: Sequence[int],
        target: MailboxId | Named,
        actor: Actor,
        *,
        sight: Sight | None = None,
    ) -> "Deferred[Copied]":
        """Move messages as `copy` copies them."""
        if not isinstance(target, Named) or self._passes(target):
            return self._inner.move(source, uids, target, actor, sight=sight)
        return self._transfer(target, sight, lambda to, seen: self._inner.move(source, uids, to, actor, sight=seen))

    @deferred
    async def _transfer(
        self, target: Named, sight: Sight | None, transfer: "Callable[[MailboxId, Sight | None], Deferred[Copied]]"
    ) -> Copied:
        place = await self._target(target)
        lost = settable(ALL) & ~settable(place.rights)
        reader = self._sharing.reader(target.account)
        if reader is not None:
            # In the messages' rows \Seen is the owner's, and no right of the reader's.
            lost &= ~SEEN
            sight = attrs.evolve(sight or Sight(reader), there=True, kept="s" in place.rights)
        copied = await transfer(place.mailbox, sight)
        if copied.target and lost:
            change = FlagChange(tuple(copied.target), Change.REMOVE, lost, ())
            if "w" not in place.rights:
                row = (await self._mailboxes.changes(place.mailbox, ModSeq(2**62))).mailbox
                change = attrs.evolve(change, keywords=row.keywords)
            await self._inner.store(place.mailbox, [change])
        return copied if "r" in place.rights else attrs.evolve(copied, secret=True)


def _with_rights(message: NewMessage, place: Place, reader: AccountId | None) -> NewMessage:
    flags = message.flags & settable(place.rights)
    return attrs.evolve(
        message,
        mailbox=place.mailbox,
        flags=flags if reader is None else flags & ~SEEN,
        keywords=message.keywords if "w" in place.rights else (),
        seen_by=reader if flags & SEEN else None,
    )


@attrs.frozen
class Shared:
    """What an IMAP server works with when mailboxes may be shared: a store's parts by the names that users know."""

    sharing: Sharing
    mailboxes: Mailboxes
    messages: Messages


def shared(grants: Grants, mailboxes: Mailboxes, messages: Messages, settings: Settings | None) -> Shared:
    """Put the checks before a store's parts; without `settings` there is nothing to check and nothing between."""
    sharing = Sharing(grants, settings)
    if settings is None:
        return Shared(sharing, mailboxes, messages)
    before_mailboxes: Any = SharedMailboxes(mailboxes, sharing)
    before_messages: Any = SharedMessages(messages, mailboxes, sharing)
    return Shared(sharing, before_mailboxes, before_messages)
