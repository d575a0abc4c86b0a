"""Timers that do not care what time it is said to be."""

import time

from twisted.internet.base import ReactorBase
from twisted.trial import unittest

from sora.service.steady import steady


class Bare(ReactorBase):
    """A reactor that waits for nothing."""

    def installWaker(self) -> None:  # noqa: N802  Twisted's name
        """None is needed."""


class SteadyTests(unittest.SynchronousTestCase):
    """The clock of a reactor."""

    def setUp(self) -> None:
        self.reactor = Bare()
        self.wall, self.since_start = 1_000_000.0, 50.0
        self.patch(ReactorBase, "seconds", lambda _: self.wall)
        self.patch(time, "monotonic", lambda: self.since_start)
        self.made: list[float] = []

    def pass_by(self, seconds: float) -> None:
        """Let time go by, and whatever is due happen."""
        self.wall += seconds
        self.since_start += seconds
        self.reactor.runUntilCurrent()

    def test_a_clock_that_is_set_back_delays_nothing(self) -> None:
        self.assertTrue(steady(self.reactor))
        self.reactor.callLater(10, self.made.append, 1)
        self.wall -= 3600
        self.pass_by(11)
        self.assertEqual(self.made, [1])

    def test_a_clock_that_is_set_ahead_hurries_nothing(self) -> None:
        self.assertTrue(steady(self.reactor))
        self.reactor.callLater(10, self.made.append, 1)
        self.wall += 3600
        self.pass_by(9)
        self.assertEqual(self.made, [])
        self.pass_by(2)
        self.assertEqual(self.made, [1])

    def test_without_it_a_clock_that_is_set_back_would_delay(self) -> None:
        self.reactor.callLater(10, self.made.append, 1)
        self.wall -= 3600
        self.pass_by(11)
        self.assertEqual(self.made, [])

    def test_a_reactor_that_somebody_waits_on_already_keeps_its_clock(self) -> None:
        self.reactor.callLater(10, self.made.append, 1)
        self.assertFalse(steady(self.reactor))
        self.pass_by(11)
        self.assertEqual(self.made, [1])
