"""The timer wheel: never early, at most a second late, and nobody held who has gone."""

import math

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sora.net.wheel import Wheel


class Member:
    def __init__(self, wheel: Wheel, deadline: float) -> None:
        self.wheel = wheel
        self.expires_at = deadline
        self.watched_at: int | None = None
        self.expired: list[float] = []
        self.again = 0.0

    def due(self) -> None:
        self.expired.append(self.wheel.now())
        if self.again:
            self.expires_at = self.wheel.now() + self.again


class WheelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock)

    def watch(self, deadline: float) -> Member:
        member = Member(self.wheel, deadline)
        self.wheel.watch(member)
        return member

    def test_a_deadline_is_kept_within_a_second_and_never_early(self) -> None:
        members = [self.watch(deadline / 7) for deadline in range(1, 100)]
        self.clock.pump([0.25] * 80)
        for member in members:
            self.assertEqual(len(member.expired), 1)
            self.assertGreaterEqual(member.expired[0], member.expires_at)
            self.assertLess(member.expired[0], member.expires_at + 2)

    def test_a_deadline_that_moved_is_kept_where_it_moved_to(self) -> None:
        member = self.watch(5)
        member.expires_at = 20
        self.clock.pump([1.0] * 19)
        self.assertEqual(member.expired, [])
        self.clock.pump([1.0] * 2)
        self.assertEqual(len(member.expired), 1)

    def test_an_earlier_deadline_is_kept_after_watching_again(self) -> None:
        member = self.watch(100)
        member.expires_at = 3
        self.wheel.watch(member)
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(member.expired), 1)

    def test_a_deadline_set_while_expiring_is_kept(self) -> None:
        member = self.watch(2)
        member.again = 3.0
        self.clock.pump([1.0] * 12)
        self.assertEqual(len(member.expired), 4)

    def test_none_and_forgotten_never_expire_and_leave_no_timer(self) -> None:
        never = self.watch(math.inf)
        gone = self.watch(2)
        self.wheel.forget(gone)
        self.clock.pump([1.0] * 5)
        self.assertEqual((never.expired, gone.expired), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_leaves_no_timer(self) -> None:
        self.watch(2)
        self.wheel.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
