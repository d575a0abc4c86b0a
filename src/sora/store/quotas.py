"""What the use cases ask of storage about quotas; the values are those of `core.quota`."""

from typing import Protocol

from twisted.internet.defer import Deferred

from sora.core.ids import AccountId
from sora.core.quota import Limits, Usage


class Quotas(Protocol):
    """How much accounts and domains may hold, and what they do. Insertions, copies and CREATE respect it by themselves.

    The usage of an account is exact at any moment; that of a domain is as of the last `count_domains`.
    """

    def usage(self, account: AccountId) -> "Deferred[Usage]":
        """Read what an account holds and may hold. Raises `NoSuchAccount`."""

    def limit(self, account: AccountId, limits: Limits | None) -> "Deferred[Usage]":
        """Give an account limits of its own, or with None the defaults again. Raises `NoSuchAccount`."""

    def domain(self, domain: str) -> "Deferred[Usage]":
        """Read what a domain may hold and held when it was counted last; no limits if it has none."""

    def limit_domain(self, domain: str, limits: Limits | None) -> "Deferred[Usage]":
        """Give a domain limits (those of mailboxes do not exist), or with None take them away; counts it."""

    def count_domains(self, *, older: float) -> "Deferred[int]":
        """Count the domains that have limits and were not counted for `older` seconds; returns how many."""
