"""The states of children, with children that are no processes and a clock that stands still."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial import unittest

from sora import aio
from sora.core.errors import ConfigurationInvalid
from sora.service.supervisor import (
    KILL_AFTER,
    PAUSE_FIRST,
    PAUSE_LAST,
    START_LIMIT,
    STEADY,
    ChildFailed,
    Supervisor,
)

LIMIT = 10.0


class FakeChild:
    """A child that does what the test says."""

    def __init__(self, slot: str, pid: int) -> None:
        self.slot = slot
        self.pid = pid
        self.ready: aio.Once[None] = aio.Once()
        self.ended: aio.Once[str] = aio.Once()
        self.told: list[str] = []

    def drain(self) -> None:
        self.told.append("drain")

    def kill(self) -> None:
        self.told.append("kill")

    def serve(self) -> None:
        """Become ready."""
        self.ready.fire(None)

    def end(self, why: str = "was ended by signal 9") -> None:
        """Be gone, as `spawn.ChildProcess` reports it."""
        if not self.ready.done:
            self.ready.fail(Failure(ChildFailed(f"it {why}")))  # type: ignore[no-untyped-call]
        self.ended.fire(why)


class SupervisorTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.children: list[FakeChild] = []
        self.supervisor = Supervisor(["0", "1"], self.launch, clock=self.clock, limit=LIMIT)

    def launch(self, slot: str) -> FakeChild:
        child = FakeChild(slot, 100 + len(self.children))
        self.children.append(child)
        return child

    def started(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.supervisor.start())

    def serving(self, seconds: float = STEADY) -> list[FakeChild]:
        """Start both children and let them serve for a while."""
        started = self.started()
        for child in self.children:
            child.serve()
        self.successResultOf(started)
        self.clock.advance(seconds)
        return list(self.children)

    def current(self, slot: str) -> FakeChild | None:
        child = self.supervisor.slots[slot].current
        assert child is None or isinstance(child, FakeChild)
        return child

    # ------------------------------------------------------------ starting

    def test_it_has_started_when_all_children_serve(self) -> None:
        started = self.started()
        self.assertEqual([child.slot for child in self.children], ["0", "1"])
        self.children[0].serve()
        self.assertNoResult(started)
        self.children[1].serve()
        self.successResultOf(started)
        self.assertEqual((self.supervisor.alive, self.supervisor.restarts), (2, 0))

    def test_what_a_child_complains_of_is_why_it_cannot_start(self) -> None:
        started = self.started()
        self.children[1].ready.fail(Failure(ConfigurationInvalid(["the disk is full"])))  # type: ignore[no-untyped-call]
        error = self.failureResultOf(started, ConfigurationInvalid).value
        self.assertEqual(error.complaints, ["the disk is full"])

    def test_a_child_that_is_never_ready_does_not_keep_the_start_waiting(self) -> None:
        started = self.started()
        self.children[0].serve()
        self.clock.advance(START_LIMIT)
        self.failureResultOf(started, ChildFailed)

    # ------------------------------------------------------------ deaths

    def test_a_child_that_served_for_long_is_replaced_at_once(self) -> None:
        first, _ = self.serving()
        first.end()
        self.clock.advance(0)
        self.assertEqual([child.slot for child in self.children], ["0", "1", "0"])
        self.assertIs(self.current("0"), self.children[2])
        self.assertEqual(self.supervisor.restarts, 1)

    def test_the_others_are_left_alone(self) -> None:
        first, second = self.serving()
        first.end()
        self.clock.advance(0)
        self.assertIs(self.current("1"), second)
        self.assertEqual(second.told, [])

    def test_deaths_in_a_row_are_replaced_later_and_later_up_to_a_bound(self) -> None:
        self.serving(0)
        pauses = []
        for _ in range(8):
            self.children[-1 if len(self.children) > 2 else 0].end()
            [call] = self.clock.getDelayedCalls()
            pauses.append(call.getTime() - self.clock.seconds())
            self.clock.advance(pauses[-1])
        self.assertEqual(pauses[:4], [0.0, PAUSE_FIRST, 2 * PAUSE_FIRST, 4 * PAUSE_FIRST])
        self.assertEqual(pauses[-1], PAUSE_LAST)

    def test_what_a_child_takes_to_begin_is_no_time_of_serving(self) -> None:
        self.serving(0)
        self.children[0].end()
        self.clock.advance(0)
        self.clock.advance(START_LIMIT / 2)
        self.children[-1].end()
        [call] = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.clock.seconds(), PAUSE_FIRST)

    def test_a_child_that_lasts_ends_the_row_of_deaths(self) -> None:
        self.serving(0)
        self.children[0].end()
        self.clock.advance(0)
        self.children[-1].end()
        self.clock.advance(PAUSE_FIRST)
        self.children[-1].serve()
        self.clock.advance(STEADY)
        self.children[-1].end()
        self.clock.advance(0)
        self.assertEqual(len(self.children), 5)

    def test_a_replacement_that_is_never_ready_is_killed(self) -> None:
        self.serving()[0].end()
        self.clock.advance(0)
        self.clock.advance(START_LIMIT)
        self.assertEqual(self.children[2].told, ["kill"])
        self.children[2].end()
        self.clock.advance(PAUSE_LAST)
        self.assertEqual(len(self.children), 4)

    # ------------------------------------------------------------ rolling

    def test_the_old_child_is_drained_only_when_the_new_one_is_ready_and_one_slot_after_the_other(self) -> None:
        first, second = self.serving()
        rolled = self.supervisor.roll()
        self.assertEqual([child.slot for child in self.children[2:]], ["0"])
        self.assertEqual(first.told, [])
        self.children[2].serve()
        self.assertEqual(first.told, ["drain"])
        self.assertIs(self.current("0"), self.children[2])
        self.assertEqual(len(self.children), 3)
        first.end("ended with status 0")
        self.assertEqual([child.slot for child in self.children[2:]], ["0", "1"])
        self.children[3].serve()
        self.assertEqual(second.told, ["drain"])
        self.assertNoResult(rolled)
        second.end("ended with status 0")
        self.assertTrue(self.successResultOf(rolled))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_successor_that_fails_leaves_its_predecessor_and_ends_the_restart(self) -> None:
        first, second = self.serving()
        rolled = self.supervisor.roll()
        self.children[2].end("ended with status 1")
        self.assertFalse(self.successResultOf(rolled))
        self.assertEqual((first.told, second.told), ([], []))
        self.assertIs(self.current("0"), first)
        self.assertEqual(len(self.children), 3)

    def test_a_child_that_dies_while_its_successor_starts_is_followed_by_that_one_only(self) -> None:
        first, _ = self.serving()
        self.supervisor.roll()
        first.end()
        self.clock.advance(PAUSE_LAST)
        self.assertEqual(len(self.children), 3)
        self.children[2].serve()
        self.assertIs(self.current("0"), self.children[2])
        self.assertEqual(first.told, [])

    def test_if_both_die_there_is_another_one(self) -> None:
        first, _ = self.serving()
        rolled = self.supervisor.roll()
        first.end()
        self.children[2].end()
        self.assertFalse(self.successResultOf(rolled))
        self.clock.advance(PAUSE_LAST)
        self.assertEqual([child.slot for child in self.children[2:]], ["0", "0"])

    def test_a_child_that_does_not_end_its_drain_is_killed(self) -> None:
        first, _ = self.serving()
        self.supervisor.roll()
        self.children[2].serve()
        self.clock.advance(LIMIT + KILL_AFTER)
        self.assertEqual(first.told, ["drain", "kill"])

    def test_a_second_restart_waits_for_the_first(self) -> None:
        self.serving()
        one, two = self.supervisor.roll(), self.supervisor.roll()
        for number in (2, 3, 4, 5):
            self.assertEqual(len(self.children), number + 1)
            self.children[number].serve()
            self.children[number - 2].end("ended with status 0")
        self.assertTrue(self.successResultOf(one))
        self.assertTrue(self.successResultOf(two))

    # ------------------------------------------------------------ the end

    def test_stopping_drains_all_and_waits_for_them(self) -> None:
        children = self.serving()
        stopped = Deferred.fromCoroutine(self.supervisor.stop())
        self.assertEqual([child.told for child in children], [["drain"], ["drain"]])
        children[0].end("ended with status 0")
        self.assertNoResult(stopped)
        children[1].end("ended with status 0")
        self.successResultOf(stopped)
        self.assertEqual((len(self.children), self.clock.getDelayedCalls()), (2, []))

    def test_stopping_during_a_restart_ends_both_children_of_a_slot(self) -> None:
        first, second = self.serving()
        rolled = self.supervisor.roll()
        stopped = Deferred.fromCoroutine(self.supervisor.stop())
        for child in (first, second, self.children[2]):
            self.assertIn("drain", child.told)
            child.end("ended with status 0")
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(rolled))
        self.assertEqual(len(self.children), 3)

    def test_stopping_starts_nobody_whose_turn_was_still_to_come(self) -> None:
        first, second = self.serving(0)
        first.end()
        stopped = Deferred.fromCoroutine(self.supervisor.stop())
        second.end("ended with status 0")
        self.successResultOf(stopped)
        self.clock.advance(PAUSE_LAST)
        self.assertEqual(len(self.children), 2)

    def test_ending_at_once_kills_all_and_replaces_nobody(self) -> None:
        children = self.serving()
        self.supervisor.kill()
        for child in children:
            self.assertEqual(child.told, ["kill"])
            child.end()
        self.clock.advance(PAUSE_LAST)
        self.assertEqual(len(self.children), 2)
