"""The only place for quotas in memory; domains are counted when they are asked for, not lazily."""

import attrs

from sora.core.errors import OverQuota
from sora.core.ids import AccountId
from sora.core.quota import NO_LIMITS, Filled, Limits, Usage, thousandths
from sora.store.memory_state import State, StoredAccount, fired


def admit(state: State, account: AccountId, octets: int, messages: int) -> Filled | None:
    """Return how full messages will make an account, None if it has no quota. Raises `OverQuota`."""
    owner = state.accounts[account]
    limits = _limits(state, owner)
    if limits is NO_LIMITS and not state.domain_quotas:
        return None
    had = _held([owner], limits)
    domain = _domain(state, owner.address.rpartition("@")[2])
    for usage in (had, domain):
        storage, count = usage.limits.storage, usage.limits.messages
        if storage is not None and usage.storage + octets > storage:
            raise OverQuota("the quota leaves no room for the message")
        if count is not None and usage.messages + messages > count:
            raise OverQuota("the quota leaves no room for the message")
    if limits.storage is None and limits.messages is None and not domain.limits:
        return None
    after = attrs.evolve(had, storage=had.storage + octets, messages=had.messages + messages)
    return Filled(_fullness(had), _fullness(after))


def admit_mailboxes(state: State, account: AccountId, count: int) -> None:
    """Raise `OverQuota` if an account may not have so many more mailboxes."""
    owner = state.accounts[account]
    limit = _limits(state, owner).mailboxes
    if limit is not None and len(owner.mailboxes) + count > limit:
        raise OverQuota("the quota of mailboxes is reached")


def _fullness(usage: Usage) -> int:
    return min(
        1000,
        max(thousandths(usage.storage, usage.limits.storage), thousandths(usage.messages, usage.limits.messages)),
    )


def _limits(state: State, owner: StoredAccount) -> Limits:
    return state.quota if owner.quota is None else owner.quota


def _held(accounts: list[StoredAccount], limits: Limits) -> Usage:
    boxes = [mailbox for account in accounts for mailbox in account.mailboxes.values()]
    sizes = [message.size for mailbox in boxes for message in mailbox.messages.values()]
    return Usage(limits=limits, storage=sum(sizes), messages=len(sizes), mailboxes=len(boxes))


def _domain(state: State, domain: str) -> Usage:
    limits = state.domain_quotas.get(domain)
    if limits is None:
        return Usage()
    members = [account for account in state.accounts.values() if account.address.endswith("@" + domain)]
    return _held(members, limits)


class MemoryQuotas:
    """`store.quotas.Quotas` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def usage(self, account: AccountId) -> Usage:
        """Read what an account holds and may hold."""
        owner = self._state.account(account)
        return _held([owner], _limits(self._state, owner))

    @fired
    def limit(self, account: AccountId, limits: Limits | None) -> Usage:
        """Give an account limits of its own, or the defaults again."""
        owner = self._state.account(account)
        owner.quota = limits
        return _held([owner], _limits(self._state, owner))

    @fired
    def domain(self, domain: str) -> Usage:
        """Read what a domain may hold and holds."""
        return _domain(self._state, domain)

    @fired
    def limit_domain(self, domain: str, limits: Limits | None) -> Usage:
        """Give a domain limits, or take them away."""
        if limits is None:
            self._state.domain_quotas.pop(domain, None)
        else:
            self._state.domain_quotas[domain] = attrs.evolve(limits, mailboxes=None)
        return _domain(self._state, domain)

    @fired
    def count_domains(self, *, older: float) -> int:
        """Nothing is counted ahead here."""
        return len(self._state.domain_quotas)
