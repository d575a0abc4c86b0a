"""The only place for what people do with quotas: whose quota root is which, who may change one, who is warned.

A quota root is an account, named `#user/` and its address. A domain's quota has no root: what it says is about others.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.logger import Logger

from sora.core import address as addresses
from sora.core.errors import AddressInvalid, NoSuchAccount, NotPermitted
from sora.core.ids import AccountId
from sora.core.quota import Filled, Limits, Usage
from sora.observe import metrics
from sora.store.interfaces import Accounts
from sora.store.quotas import Quotas

ROOT: Final = "#user/"
WARN_AT: Final = (80, 95)
"""Hundredths of a quota at which a warning is due."""

Warned = Callable[[AccountId, int], None]
"""Called with an account and the threshold that it reached, in hundredths."""


def root_of(address: str) -> str:
    """Return the name of an account's quota root."""
    return ROOT + address


class QuotaUseCases:
    """Quotas as users see them; errors of the store pass through."""

    def __init__(self, quotas: Quotas, accounts: Accounts, *, admins: Iterable[str] = ()) -> None:
        """`admins` are addresses of accounts that may set the quotas of their domain's accounts."""
        self._quotas = quotas
        self._accounts = accounts
        self._admins = frozenset(str(addresses.parse(admin)) for admin in admins)

    async def usage(self, account: AccountId) -> Usage:
        """Read what an account holds and may hold."""
        return await self._quotas.usage(account)

    async def read(self, root: str, account: AccountId, address: str) -> Usage:
        """Read a quota root for someone: one's own, or as an administrator any of the domain.

        Raises `NoSuchAccount` for every other, whether or not there is one.
        """
        if root == root_of(address):
            return await self._quotas.usage(account)
        if address not in self._admins:
            raise NoSuchAccount("no such quota root")
        return await self._quotas.usage(await self._owner(root, address))

    async def change(self, root: str, address: str, limits: Limits) -> Usage:
        """Set an account's limits as an administrator of its domain. Raises `NotPermitted`, `NoSuchAccount`."""
        if address not in self._admins:
            raise NotPermitted("quotas are set by administrators")
        return await self._quotas.limit(await self._owner(root, address), limits)

    async def _owner(self, root: str, admin: str) -> AccountId:
        try:
            named = addresses.parse(root.removeprefix(ROOT))
        except AddressInvalid:
            raise NoSuchAccount("no such quota root") from None
        if not root.startswith(ROOT) or named.domain != admin.rpartition("@")[2]:
            raise NoSuchAccount("no such quota root")
        row = await self._accounts.row(str(named))
        if row.address != str(named):
            raise NoSuchAccount("no such quota root")
        return row.id


class QuotaWatch:
    """Warns when a message fills an account up to a threshold: in the log, as a metric, and whoever asked to hear."""

    log = Logger()

    def __init__(self, thresholds: Sequence[int] = WARN_AT, *, warned: Warned | None = None) -> None:
        """`thresholds` are hundredths of the quota."""
        self._thresholds = tuple(thresholds)
        self._warned = warned

    def arrived(self, account: AccountId, filled: Filled | None) -> int | None:
        """Take note of a message that arrived; returns the threshold that it reached, or None."""
        if filled is None:
            return None
        reached = filled.crossed(self._thresholds)
        if reached is None:
            return None
        metrics.QUOTA_WARNINGS.labels(str(reached)).inc()
        self.log.warn("account {account} has reached {reached} % of its quota", account=account, reached=reached)
        if self._warned is not None:
            self._warned(account, reached)
        return reached
