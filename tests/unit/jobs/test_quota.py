"""The counter of domains."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.jobs.quota import DomainCounter


class Counted:
    """Remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def count_domains(self, *, older: float) -> "Deferred[int]":
        self.asked.append(older)
        return succeed(0)


class DomainCounterTests(unittest.TestCase):
    """jobs/quota.py"""

    def test_domains_are_counted_at_once_and_once_an_interval(self) -> None:
        clock, quotas = Clock(), Counted()
        counter = DomainCounter(quotas, clock=clock, interval=60.0, random_number=lambda: 0.5)
        counter.startService()
        self.assertEqual(quotas.asked, [30.0])
        clock.pump([1.0] * 200)
        self.assertIn(len(quotas.asked), (3, 4, 5))
        return counter.stopService()
