"""The only place for rights in mailboxes in memory."""

from collections.abc import Iterator

from sora.core import limits
from sora.core.errors import AccountExists, LimitReached, NoSuchAccount, NoSuchMailbox
from sora.core.events import names_of
from sora.core.ids import AccountId, MailboxId
from sora.core.rights import Edit, Grant, Rights, edited
from sora.store.grants import ANYONE, COMMONS, GROUP, Entry, Seen, Visible
from sora.store.memory_mailboxes import add_mailbox
from sora.store.memory_state import State, StoredAccount, StoredMailbox, fired
from sora.store.model import AccountStatus, NewMailbox


def _domain(account: StoredAccount) -> str:
    return account.address.rpartition("@")[2]


class MemoryGrants:
    """`store.grants.Grants` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._groups: dict[str, set[AccountId]] = {}
        self._lists: dict[MailboxId, dict[tuple[str, bool], Rights]] = {}
        """By mailbox: (account's id, group or `anyone`; whether negative) to rights."""
        state.inherit = self._inherit

    def _inherit(self, mailbox: StoredMailbox) -> None:
        levels = mailbox.name.split("/")
        siblings = self._state.accounts[mailbox.account].mailboxes
        for depth in range(len(levels) - 1, 0, -1):
            parent = siblings.get("/".join(levels[:depth]))
            if parent is not None:
                self._lists[mailbox.id] = dict(self._lists.get(parent.id, {}))
                return

    def _concerning(self, mailbox: StoredMailbox, reader: StoredAccount) -> tuple[Grant, ...]:
        mine = {str(reader.id), ANYONE, *(name for name, members in self._groups.items() if reader.id in members)}
        found = self._lists.get(mailbox.id, {})
        return tuple(Grant(rights, negative) for (who, negative), rights in found.items() if who in mine)

    @fired
    def seen(self, reader: AccountId, owner: str | None, name: str) -> Seen:
        """Find a mailbox by its owner's local part (None: of the domain itself) and name."""
        me = self._state.account(reader)
        account = self._state.addresses.get(f"{COMMONS if owner is None else owner}@{_domain(me)}")
        if account is None or account.status is AccountStatus.DELETED or name not in account.mailboxes:
            raise NoSuchMailbox("the mailbox does not exist")
        if account.address != f"{COMMONS if owner is None else owner}@{_domain(me)}":
            raise NoSuchMailbox("the mailbox does not exist")
        mailbox = account.mailboxes[name]
        return Seen(mailbox.id, account.id, account.address, name, self._concerning(mailbox, me))

    def _others(self, me: StoredAccount) -> Iterator[tuple[StoredAccount, StoredMailbox]]:
        for account in self._state.accounts.values():
            if account is not me and _domain(account) == _domain(me) and account.status is not AccountStatus.DELETED:
                for mailbox in account.mailboxes.values():
                    yield account, mailbox

    @fired
    def visible(self, reader: AccountId, *, own_seen: bool = False) -> list[Visible]:
        """List the mailboxes of others that some grant concerns the reader in."""
        me = self._state.account(reader)
        every = [
            Visible(
                self._state.row(mailbox, reader if own_seen else None), account.address, self._concerning(mailbox, me)
            )
            for account, mailbox in self._others(me)
        ]
        return [one for one in every if one.grants]

    @fired
    def entries(self, mailbox: MailboxId) -> list[Entry]:
        """Read a mailbox's list, ascending by identifier, positive rights first."""
        found = [
            Entry(self._state.accounts[AccountId(int(who))].address if who.isdigit() else who, Grant(rights, negative))
            for (who, negative), rights in self._lists.get(mailbox, {}).items()
        ]
        return sorted(found, key=lambda entry: (entry.identifier, entry.grant.negative))

    @fired
    def grant(self, mailbox: MailboxId, identifier: str, edit: Edit, rights: Rights, *, negative: bool) -> None:
        """Change the rights of a canonical identifier."""
        stored = self._state.mailbox(mailbox)
        domain = _domain(self._state.account(stored.account))
        told = [stored.account]
        if identifier == ANYONE:
            who = ANYONE
        elif identifier.startswith(GROUP):
            if identifier not in self._groups or identifier.rpartition("@")[2] != domain:
                raise NoSuchAccount("no such group")
            who = identifier
        else:
            account = self._member(identifier, domain)
            who = str(account.id)
            told.append(account.id)
        found = self._lists.setdefault(mailbox, {})
        had = found.pop((who, negative), frozenset())
        now = edited(had, edit, rights)
        if now and not had and len(found) >= limits.ACL_ENTRIES_MAX:
            raise LimitReached("too many entries in the access control list")
        if now:
            found[who, negative] = now
        self._state.announce(*((names_of(one), 0) for one in told))

    def _member(self, address: str, domain: str) -> StoredAccount:
        account = self._state.addresses.get(address)
        if account is None or _domain(account) != domain or account.status is AccountStatus.DELETED:
            raise NoSuchAccount("no such account")
        return account

    @fired
    def create_common(self, domain: str | None, name: str, rights: Rights, creator: AccountId | None) -> None:
        """Create a mailbox that belongs to a domain, and give its creator rights in it and in new parents."""
        state = self._state
        if domain is None and creator is not None:
            domain = _domain(state.account(creator))
        address = f"{COMMONS}@{domain}"
        owner = state.addresses.get(address)
        if owner is None:
            owner = StoredAccount(AccountId(state.number("account")), address, state.now(), (), set())
            state.accounts[owner.id] = state.addresses[address] = owner
        had = set(owner.mailboxes)
        add_mailbox(state, owner, NewMailbox(name))
        if creator is not None and rights:
            for new in owner.mailboxes.keys() - had:
                self._lists.setdefault(owner.mailboxes[new].id, {})[str(creator), False] = rights
        state.announce((names_of(owner.id), 0))

    @fired
    def create_group(self, group: str) -> None:
        """Create a group, written `$name@domain`."""
        if group in self._groups:
            raise AccountExists("the group exists")
        self._groups[group] = set()

    @fired
    def delete_group(self, group: str) -> None:
        """Delete a group with all that was granted to it."""
        if group not in self._groups:
            raise NoSuchAccount("no such group")
        del self._groups[group]
        for found in self._lists.values():
            for negative in (False, True):
                found.pop((group, negative), None)

    @fired
    def join(self, group: str, address: str, *, member: bool) -> None:
        """Make an account of the group's domain a member, or none."""
        if group not in self._groups:
            raise NoSuchAccount("no such group")
        account = self._member(address, group.rpartition("@")[2])
        if member:
            self._groups[group].add(account.id)
        else:
            self._groups[group].discard(account.id)

    @fired
    def groups(self, domain: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
        """List groups with their members' addresses, both ascending."""
        return [
            (group, tuple(sorted(self._state.accounts[member].address for member in members)))
            for group, members in sorted(self._groups.items())
            if domain is None or group.endswith("@" + domain)
        ]
