"""Background jobs: rounds, wakes, failures, stops."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import DatabaseUnavailable
from sora.jobs.worker import Worker, backoff


class Job(Worker):
    """Calls `act` each round and counts."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("test", clock=clock, interval=10.0, backoff_base=4.0, random_number=lambda: 1.0)
        self.rounds = 0
        self.act: Callable[[], object] = lambda: False

    async def step(self) -> bool:
        """Do what the test says."""
        self.rounds += 1
        result = self.act()
        return bool(await result if isinstance(result, Deferred) else result)


def broken(error: Exception) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


class WorkerTests(unittest.SynchronousTestCase):
    """A job on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.job = Job(self.clock)

    def tearDown(self) -> None:
        self.successResultOf(self.job.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_starts_with_a_round_and_goes_by_its_interval(self) -> None:
        self.job.startService()
        self.assertEqual(self.job.rounds, 1)
        self.clock.advance(9.9)
        self.assertEqual(self.job.rounds, 1)
        self.clock.advance(0.2)
        self.assertEqual(self.job.rounds, 2)

    def test_a_wake_begins_a_round_at_once(self) -> None:
        self.job.startService()
        self.job.wake()
        self.assertEqual(self.job.rounds, 2)

    def test_wakes_during_a_round_ask_for_one_more(self) -> None:
        gate: Deferred[bool] = Deferred()
        self.job.act = lambda: gate
        self.job.startService()
        for _ in range(5):
            self.job.wake()
        self.assertEqual(self.job.rounds, 1)
        self.job.act = lambda: False
        gate.callback(False)
        self.clock.advance(0)
        self.assertEqual(self.job.rounds, 2)
        self.clock.advance(1)
        self.assertEqual(self.job.rounds, 2)

    def test_a_round_that_asks_for_more_gets_it_without_waiting(self) -> None:
        self.job.act = lambda: self.job.rounds < 3
        self.job.startService()
        self.clock.pump([0, 0, 0, 0])
        self.assertEqual(self.job.rounds, 3)

    def test_failures_are_waited_out_longer_each_time_and_wakes_do_not_shorten_it(self) -> None:
        self.job.act = broken(DatabaseUnavailable("away"))
        self.job.startService()
        for rounds, delay in ((1, 4.0), (2, 8.0), (3, 16.0)):
            self.assertEqual(self.job.rounds, rounds)
            self.job.wake()
            self.clock.advance(delay - 0.1)
            self.assertEqual(self.job.rounds, rounds)
            self.clock.advance(0.1)
        self.job.act = lambda: False
        self.clock.advance(32)
        rounds = self.job.rounds
        self.job.wake()
        self.assertEqual(self.job.rounds, rounds + 1)

    def test_a_bug_is_logged_and_the_job_goes_on(self) -> None:
        self.job.act = broken(ZeroDivisionError())
        self.job.startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.job.act = lambda: False
        self.clock.advance(4)
        self.assertEqual(self.job.rounds, 2)

    def test_stopping_cancels_the_round_and_waits_for_its_end(self) -> None:
        cancelled = []
        self.job.act = lambda: Deferred(cancelled.append)
        self.job.startService()
        self.successResultOf(self.job.stopService())
        self.assertEqual(len(cancelled), 1)
        self.job.wake()
        self.clock.advance(100)
        self.assertEqual(self.job.rounds, 1)

    def test_a_stopped_job_can_be_started_again(self) -> None:
        self.job.startService()
        self.successResultOf(self.job.stopService())
        self.job.startService()
        self.assertEqual(self.job.rounds, 2)


class BackoffTests(unittest.SynchronousTestCase):
    """`backoff` as a function."""

    def test_it_doubles_up_to_its_maximum(self) -> None:
        waits = [backoff(attempts, 1.0, 10.0, lambda: 1.0) for attempts in range(1, 7)]
        self.assertEqual(waits, [1, 2, 4, 8, 10, 10])

    def test_jitter_spreads_it_and_never_makes_it_nothing(self) -> None:
        self.assertAlmostEqual(backoff(3, 1.0, 10.0, lambda: 0.0), 0.4)
        self.assertAlmostEqual(backoff(3, 1.0, 10.0, lambda: 0.5), 2.2)

    def test_a_huge_number_of_attempts_is_no_overflow(self) -> None:
        self.assertEqual(backoff(10**6, 1.0, 10.0, lambda: 1.0), 10.0)
