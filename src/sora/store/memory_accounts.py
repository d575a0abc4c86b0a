"""The only place for accounts, addresses and credentials in memory."""

from collections.abc import Sequence

from sora.core.errors import AccountExists, NoSuchAccount
from sora.core.ids import AccountId
from sora.store.memory_mailboxes import add_mailbox
from sora.store.memory_state import State, StoredAccount, fired
from sora.store.model import AccountRow, AccountStatus, Credential, Login, NewMailbox, Recipient


class MemoryAccounts:
    """`interfaces.Accounts` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def login(self, address: str) -> Login | None:
        """Find the account that an address opens."""
        account = self._state.addresses.get(address)
        if account is None:
            return None
        bare = not account.mailboxes.keys() - {"INBOX"}
        return Login(account.id, account.address, account.status, account.credentials, bare=bare)

    @fired
    def recipients(self, addresses: Sequence[str]) -> dict[str, Recipient]:
        """Resolve addresses; unknown and deleted ones are absent."""
        found = {}
        for address in addresses:
            account = self._state.addresses.get(address)
            if account is None or account.status is AccountStatus.DELETED:
                continue
            inbox = account.mailboxes.get("INBOX")
            if inbox is not None:
                found[address] = Recipient(account.id, account.address, account.status, inbox.id)
        return found

    @fired
    def create(
        self, address: str, password_hash: str, mailboxes: Sequence[NewMailbox], *, aliases: Sequence[str] = ()
    ) -> AccountId:
        """Create an account with its first mailboxes."""
        state = self._state
        taken = [name for name in (address, *aliases) if name in state.addresses]
        if taken:
            raise AccountExists(f"{taken[0]} is taken")
        account = StoredAccount(
            id=AccountId(state.number("account")),
            address=address,
            created_at=state.now(),
            credentials=(self._credential(password_hash),),
            aliases=set(aliases) - {address},
        )
        state.accounts[account.id] = account
        state.addresses.update(dict.fromkeys((address, *aliases), account))
        for mailbox in mailboxes:
            add_mailbox(state, account, mailbox)
        return account.id

    @fired
    def rows(self, *, after: str = "", limit: int = 1000, domain: str | None = None) -> list[AccountRow]:
        """List accounts, ascending by address."""
        accounts = sorted(self._state.accounts.values(), key=lambda account: account.address)
        return [
            self._row(account)
            for account in accounts
            if account.address > after and (domain is None or account.address.endswith("@" + domain))
        ][:limit]

    @fired
    def row(self, address: str) -> AccountRow:
        """Read one account by any of its addresses."""
        account = self._state.addresses.get(address)
        if account is None:
            raise NoSuchAccount(f"no account has the address {address}")
        return self._row(account)

    @fired
    def set_password(self, account: AccountId, password_hash: str) -> None:
        """Replace all credentials by one."""
        self._state.account(account).credentials = (self._credential(password_hash),)

    @fired
    def replace_hash(self, credential: int, old_hash: str, new_hash: str) -> None:
        """Store a stronger hash of the same secret, unless it changed meanwhile."""
        old, new = Credential(credential, old_hash), Credential(credential, new_hash)
        for account in self._state.accounts.values():
            if old in account.credentials:
                account.credentials = tuple(new if held == old else held for held in account.credentials)

    @fired
    def add_alias(self, account: AccountId, address: str) -> None:
        """Give the account another address."""
        owner = self._state.account(account)
        if address in self._state.addresses:
            raise AccountExists(f"{address} is taken")
        owner.aliases.add(address)
        self._state.addresses[address] = owner

    @fired
    def remove_alias(self, account: AccountId, address: str) -> None:
        """Take an address that is not the primary one away."""
        owner = self._state.account(account)
        if address not in owner.aliases:
            raise NoSuchAccount(f"{address} is no alias of this account")
        owner.aliases.remove(address)
        del self._state.addresses[address]

    @fired
    def set_status(self, account: AccountId, status: AccountStatus) -> None:
        """Suspend, reactivate or delete."""
        owner = self._state.account(account)
        owner.status = status
        owner.deleted_at = self._state.seconds() if status is AccountStatus.DELETED else None

    def _credential(self, password_hash: str) -> Credential:
        return Credential(self._state.number("credential"), password_hash)

    def _row(self, account: StoredAccount) -> AccountRow:
        messages = [m.size for mailbox in account.mailboxes.values() for m in mailbox.messages.values()]
        return AccountRow(
            id=account.id,
            address=account.address,
            aliases=tuple(sorted(account.aliases)),
            status=account.status,
            created_at=account.created_at,
            mailboxes=len(account.mailboxes),
            messages=len(messages),
            size=sum(messages),
        )
