"""The breaker: closed, open, one trial."""

from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import ObjectStoreUnavailable
from sora.s3.breaker import Breaker, State


class BreakerTests(unittest.SynchronousTestCase):
    """Three failures open it for ten seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(clock=self.clock, failures_max=3, pause=10.0, pause_max=15.0)

    def fail_times(self, times: int) -> None:
        for _ in range(times):
            self.breaker.enter()
            self.breaker.failed()

    def test_it_opens_after_failures_in_a_row_only(self) -> None:
        self.fail_times(2)
        self.breaker.succeeded()
        self.fail_times(2)
        self.breaker.enter()
        self.fail_times(1)
        self.assertRaises(ObjectStoreUnavailable, self.breaker.enter)

    def test_after_the_pause_one_request_is_tried_and_success_closes_it(self) -> None:
        self.fail_times(3)
        self.clock.advance(9.9)
        self.assertRaises(ObjectStoreUnavailable, self.breaker.enter)
        self.clock.advance(0.2)
        self.breaker.enter()
        self.assertRaises(ObjectStoreUnavailable, self.breaker.enter)
        self.breaker.succeeded()
        self.breaker.enter()
        self.assertIs(self.breaker.state, State.CLOSED)

    def test_a_failed_trial_lengthens_the_pause_up_to_its_maximum(self) -> None:
        self.fail_times(3)
        for pause in (10.0, 15.0, 15.0):
            self.clock.advance(pause - 0.1)
            self.assertRaises(ObjectStoreUnavailable, self.breaker.enter)
            self.clock.advance(0.2)
            self.breaker.enter()
            self.breaker.failed()

    def test_an_abandoned_trial_lets_the_next_one_try(self) -> None:
        self.fail_times(3)
        self.clock.advance(10)
        self.breaker.enter()
        self.breaker.abandoned()
        self.breaker.enter()
        self.assertIs(self.breaker.state, State.TRIAL)
