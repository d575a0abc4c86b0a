"""The counter of domains: keeps what domains with a quota hold up to date, since no delivery counts it."""

import random

from twisted.internet.interfaces import IReactorTime

from sora.jobs.worker import Random, Worker
from sora.store.quotas import Quotas


class DomainCounter(Worker):
    """Counts the domains that have a quota; `interval` is in seconds, shared by all nodes."""

    def __init__(
        self, quotas: Quotas, *, clock: IReactorTime, interval: float = 60.0, random_number: Random = random.random
    ) -> None:
        super().__init__("quota", clock=clock, interval=interval, random_number=random_number)
        self._quotas = quotas
        self._older = interval / 2

    async def step(self) -> bool:
        """Count once; there is nothing more to do before the next interval."""
        await self._quotas.count_domains(older=self._older)
        return False
