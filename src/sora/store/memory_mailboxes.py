"""The only place for mailboxes and subscriptions in memory."""

from array import array
from collections.abc import Sequence

from sora.core import limits
from sora.core.errors import LimitReached, MailboxExists, MailboxHasChildren, MailboxNameInvalid, SpecialUseTaken
from sora.core.events import names_of
from sora.core.ids import AccountId, MailboxId, ModSeq, Uid
from sora.store.memory_messages import transfer
from sora.store.memory_quota import admit_mailboxes
from sora.store.memory_state import State, StoredAccount, StoredMailbox, fired
from sora.store.model import Actor, Changes, Listing, MailboxRow, NewMailbox, Opened


def add_mailbox(state: State, account: StoredAccount, new: NewMailbox) -> StoredMailbox:
    """Create a mailbox and its missing parents. Raises `MailboxExists`, `SpecialUseTaken`, `LimitReached`."""
    if new.name in account.mailboxes:
        raise MailboxExists("the mailbox exists")
    if new.special_use is not None and any(one.special_use == new.special_use for one in account.mailboxes.values()):
        raise SpecialUseTaken("another mailbox has this special use")
    _room(account, [*_missing_parents(account, new.name), new.name])
    admit_mailboxes(state, account.id, len(_missing_parents(account, new.name)) + 1)
    for parent in _missing_parents(account, new.name):
        _add(state, account, NewMailbox(parent))
    return _add(state, account, new)


def _missing_parents(account: StoredAccount, name: str) -> list[str]:
    levels = name.split("/")
    parents = ["/".join(levels[:depth]) for depth in range(1, len(levels))]
    return [parent for parent in parents if parent not in account.mailboxes]


def _room(account: StoredAccount, names: list[str]) -> None:
    if len(account.mailboxes) + len(names) > limits.MAILBOXES_MAX:
        raise LimitReached(f"more than {limits.MAILBOXES_MAX} mailboxes")


def _add(state: State, account: StoredAccount, new: NewMailbox) -> StoredMailbox:
    mailbox = StoredMailbox(
        id=MailboxId(state.number("mailbox")),
        account=account.id,
        name=new.name,
        special_use=new.special_use,
        uid_validity=state.uid_validity(),
    )
    account.mailboxes[new.name] = mailbox
    state.mailboxes[mailbox.id] = mailbox
    state.inherit(mailbox)
    if new.subscribed:
        account.subscriptions.add(new.name)
    return mailbox


class MemoryMailboxes:
    """`interfaces.Mailboxes` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def listing(self, account: AccountId) -> Listing:
        """Read all mailboxes with counters, and all subscriptions."""
        owner = self._state.accounts.get(account)
        if owner is None:
            return Listing((), ())
        rows = [self._state.row(owner.mailboxes[name]) for name in sorted(owner.mailboxes)]
        return Listing(tuple(rows), tuple(sorted(owner.subscriptions)))

    @fired
    def find(self, account: AccountId, name: str, *, reader: AccountId | None = None) -> MailboxRow:
        """Read one mailbox."""
        return self._state.row(self._state.named(account, name), reader)

    @fired
    def create(self, account: AccountId, mailbox: NewMailbox) -> MailboxRow:
        """Create a mailbox and its missing parents."""
        row = self._state.row(add_mailbox(self._state, self._state.account(account), mailbox))
        self._state.announce((names_of(account), 0))
        return row

    @fired
    def furnish(self, account: AccountId, mailboxes: Sequence[NewMailbox]) -> None:
        """Create mailboxes, unless the account has any besides INBOX."""
        owner = self._state.account(account)
        if owner.mailboxes.keys() - {"INBOX"}:
            return
        missing = [new for new in mailboxes if new.name not in owner.mailboxes]
        admit_mailboxes(self._state, account, len(missing))
        for new in missing:
            _add(self._state, owner, new)
        self._state.announce((names_of(account), 0))

    @fired
    def set_special_use(self, mailbox: MailboxId, use: str | None) -> None:
        """Give a mailbox a special use, or take it away."""
        stored = self._state.mailbox(mailbox)
        others = [one for one in self._state.account(stored.account).mailboxes.values() if one is not stored]
        if use is not None and any(one.special_use == use for one in others):
            raise SpecialUseTaken("another mailbox has this special use")
        stored.special_use = use
        self._state.announce((names_of(stored.account), 0))

    @fired
    def delete(self, account: AccountId, name: str, actor: Actor) -> MailboxId:
        """Delete a mailbox; its messages become tombstones."""
        state = self._state
        mailbox = state.named(account, name)
        siblings = state.account(account).mailboxes
        if any(other.startswith(name + "/") for other in siblings):
            raise MailboxHasChildren("there are mailboxes below this one")
        state.bury(mailbox, mailbox.messages.values(), modseq=mailbox.advance(), actor=actor)
        del siblings[name]
        del state.mailboxes[mailbox.id]
        state.announce((mailbox.id, 0), (names_of(account), 0))
        return mailbox.id

    @fired
    def rename(self, account: AccountId, old: str, new: str) -> None:
        """Rename a mailbox and all below it."""
        state = self._state
        state.named(account, old)
        owner = state.account(account)
        if new in owner.mailboxes:
            raise MailboxExists("the mailbox exists")
        if new.startswith(old + "/"):
            raise MailboxNameInvalid("a mailbox cannot be moved below itself")
        parents = _missing_parents(owner, new)
        _room(owner, parents)
        moving = [name for name in owner.mailboxes if name == old or name.startswith(old + "/")]
        moved = [owner.mailboxes.pop(name) for name in moving]
        for mailbox in moved:
            mailbox.name = new + mailbox.name[len(old) :]
            owner.mailboxes[mailbox.name] = mailbox
        for parent in parents:
            _add(state, owner, NewMailbox(parent))
        state.announce((names_of(account), 0))

    @fired
    def rename_inbox(self, account: AccountId, new: str, actor: Actor) -> None:
        """Create `new` and move all messages of INBOX into it."""
        state = self._state
        inbox = state.named(account, "INBOX")
        target = add_mailbox(state, state.account(account), NewMailbox(new))
        transfer(state, inbox, list(inbox.messages), target, actor=actor)
        # RFC 5464 4.1: INBOX keeps its annotations, and the new mailbox has them too.
        for (mailbox, whose), values in list(state.annotations.items()):
            if mailbox == inbox.id:
                state.annotations[target.id, whose] = dict(values)
        state.announce((names_of(account), 0))

    @fired
    def subscribe(self, account: AccountId, name: str) -> None:
        """Subscribe to a name, whether or not it exists."""
        names = self._state.account(account).subscriptions
        if name not in names and len(names) >= limits.SUBSCRIPTIONS_MAX:
            raise LimitReached(f"more than {limits.SUBSCRIPTIONS_MAX} subscriptions")
        if name not in names:
            names.add(name)
            self._state.announce((names_of(account), 0))

    @fired
    def unsubscribe(self, account: AccountId, name: str) -> None:
        """Unsubscribe from a name."""
        names = self._state.account(account).subscriptions
        if name in names:
            names.remove(name)
            self._state.announce((names_of(account), 0))

    @fired
    def open(
        self,
        account: AccountId,
        name: str,
        *,
        claim_recent: bool,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> Opened:
        """Read a mailbox with all its messages' UIDs and flags."""
        mailbox = self._state.named(account, name)
        row = self._state.row(mailbox, reader)
        recent_from = Uid(mailbox.recent_from)
        if claim_recent:
            mailbox.recent_from = mailbox.uid_next
        columns = mailbox.columns(mailbox.messages.values(), reader)
        return Opened(row, columns, recent_from, mailbox.reach, mailbox.departed(vanished_since))

    @fired
    def changes(
        self,
        mailbox: MailboxId,
        since: ModSeq,
        *,
        claim_recent: bool = False,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> Changes:
        """Read what changed after `since`."""
        stored = self._state.mailbox(mailbox)
        whole = not stored.reach.tells_departures(since)
        known = [stored.seen_as(message, reader) for message in stored.messages.values()]
        changed = [message for message in known if whole or message.modseq > since]
        vanished = stored.departed(since) or array("I")
        row, recent_from = self._state.row(stored, reader), Uid(stored.recent_from)
        if claim_recent:
            stored.recent_from = stored.uid_next
        return Changes(
            row,
            stored.columns(changed),
            vanished,
            recent_from,
            whole,
            stored.reach,
            stored.departed(vanished_since),
        )
