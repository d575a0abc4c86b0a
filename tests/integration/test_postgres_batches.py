"""Batches and the judgement of errors, without a server: what goes together, what fails alone, what may be repeated."""

import psycopg2
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import Busy, CommitUnknown, DatabaseUnavailable, NoSuchMailbox
from sora.postgres.batch import Batches
from sora.postgres.failures import NAMED, Outcome, outcome, translate
from sora.postgres.statement import Statement, integers


class BatchesTests(unittest.SynchronousTestCase):
    """Requests are numbers, answers their doubles."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[list[int], Deferred[list[int]]]] = []
        self.batches: Batches[int, int] = Batches(
            self.send, reactor=self.clock, in_flight_max=2, count_max=4, weight_max=100
        )

    def send(self, requests: list[int]) -> "Deferred[list[int]]":
        answer: Deferred[list[int]] = Deferred()
        self.sent.append((requests, answer))
        return answer

    def add(self, *requests: int, weight: int = 0) -> "list[Deferred[int]]":
        return [self.batches.add(request, weight) for request in requests]

    def answer(self, index: int) -> None:
        requests, answer = self.sent[index]
        answer.callback([2 * request for request in requests])
        self.clock.advance(0)

    @property
    def batched(self) -> list[list[int]]:
        return [requests for requests, _ in self.sent]

    def test_requests_of_one_turn_go_together_and_each_has_its_answer(self) -> None:
        waits = self.add(1, 2, 3)
        self.assertEqual(self.batched, [])
        self.clock.advance(0)
        self.assertEqual(self.batched, [[1, 2, 3]])
        self.answer(0)
        self.assertEqual([self.successResultOf(wait) for wait in waits], [2, 4, 6])

    def test_batches_are_bounded_and_the_rest_waits_for_a_place(self) -> None:
        self.add(*range(12))
        self.clock.advance(0)
        self.assertEqual(self.batched, [[0, 1, 2, 3], [4, 5, 6, 7]])
        self.assertEqual(self.batches.waiting, 4)
        self.answer(1)
        self.assertEqual(self.batched[2:], [[8, 9, 10, 11]])

    def test_weight_ends_a_batch_but_the_heaviest_request_still_goes(self) -> None:
        self.add(1, weight=60)
        self.add(2, weight=500)
        self.clock.advance(0)
        self.assertEqual(self.batched, [[1], [2]])

    def test_a_cancelled_request_is_not_sent_if_it_waited_and_harms_nobody_if_it_was_sent(self) -> None:
        before, other = self.add(1, 2)
        before.cancel()
        self.failureResultOf(before, CancelledError)
        self.clock.advance(0)
        (late,) = self.add(3)
        self.clock.advance(0)
        late.cancel()
        self.failureResultOf(late, CancelledError)
        self.assertEqual(self.batched, [[2], [3]])
        self.answer(0)
        self.answer(1)
        self.assertEqual(self.successResultOf(other), 4)

    def test_when_a_batch_fails_its_members_are_sent_alone(self) -> None:
        one, two = self.add(1, 2)
        self.clock.advance(0)
        self.sent[0][1].errback(ValueError("one of them"))
        self.assertEqual(self.batched[1:], [[1], [2]])
        self.answer(1)
        self.sent[2][1].errback(ValueError("this one"))
        self.assertEqual(self.successResultOf(one), 2)
        self.failureResultOf(two, ValueError)
        self.add(5)
        self.clock.advance(0)
        self.assertEqual(self.batched[3:], [[5]])

    def test_a_small_batch_waits_for_the_one_before_it_but_not_for_ever(self) -> None:
        self.batches = Batches(self.send, reactor=self.clock, in_flight_max=2, count_max=4, patience=0.05)
        self.add(1)
        self.clock.advance(0)
        self.add(2)
        self.clock.advance(0.04)
        self.add(3)
        self.assertEqual(self.batched, [[1]])
        self.answer(0)
        self.assertEqual(self.batched, [[1], [2, 3]])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.add(4)
        self.clock.advance(0.05)
        self.assertEqual(self.batched[2:], [[4]])

    def test_a_full_batch_waits_for_nobody(self) -> None:
        self.batches = Batches(self.send, reactor=self.clock, in_flight_max=2, count_max=4, patience=0.05)
        self.add(1)
        self.clock.advance(0)
        self.add(2, 3, 4, 5)
        self.clock.advance(0)
        self.assertEqual(self.batched, [[1], [2, 3, 4, 5]])

    def test_what_fails_for_all_is_not_sent_again(self) -> None:
        waits = self.add(1, 2)
        self.clock.advance(0)
        self.sent[0][1].errback(CommitUnknown())
        for wait in waits:
            self.failureResultOf(wait, CommitUnknown)
        self.assertEqual(len(self.sent), 1)


def error(code: str | None, kind: type[psycopg2.Error] = psycopg2.Error) -> psycopg2.Error:
    """Make an error as psycopg2 would."""
    return type("Made", (kind,), {"pgcode": code})("made")


class FailureTests(unittest.SynchronousTestCase):
    """What an error means for a read and for a change."""

    def test_a_lost_connection_leaves_a_change_in_doubt_and_a_read_undone(self) -> None:
        for lost in (error(None, psycopg2.OperationalError), error("57P01"), error("08006")):
            self.assertIs(outcome(lost), Outcome.LOST)
            self.assertIsInstance(translate(lost, changes=True), CommitUnknown)
            self.assertIsInstance(translate(lost, changes=False), DatabaseUnavailable)

    def test_a_server_that_takes_no_writes_changed_nothing(self) -> None:
        self.assertIsInstance(translate(error("25006"), changes=True), DatabaseUnavailable)

    def test_what_was_rolled_back_for_others_may_be_repeated(self) -> None:
        for code in ("40001", "40P01", "23503"):
            self.assertIs(outcome(error(code)), Outcome.REPEAT)
            self.assertIsInstance(translate(error(code), changes=True), Busy)

    def test_limits_of_time_are_busy(self) -> None:
        for code in ("57014", "55P03"):
            self.assertIs(outcome(error(code)), Outcome.REFUSED)
            self.assertIsInstance(translate(error(code), changes=True), Busy)

    def test_our_own_codes_are_our_own_errors(self) -> None:
        self.assertIs(NAMED["SO001"], NoSuchMailbox)
        for code, kind in NAMED.items():
            self.assertIs(type(translate(error(code), changes=True)), kind)

    def test_wrong_sql_stays_what_it_is(self) -> None:
        wrong = error("42601")
        self.assertIs(translate(wrong, changes=True), wrong)


class StatementTests(unittest.SynchronousTestCase):
    """Named parameters become numbers, in the order they are first met."""

    def test_each_parameter_is_sent_once(self) -> None:
        statement = Statement("SELECT %(b)s + %(a)s + %(b)s, '%%'")
        self.assertIn("AS SELECT $1 + $2 + $1, '%%'; EXECUTE", statement.prepare)
        self.assertTrue(statement.execute.endswith("(%(b)s, %(a)s)"))

    def test_integers_are_an_array_literal(self) -> None:
        self.assertEqual((integers([1, None, 3]), integers([])), ("{1,NULL,3}", "{}"))
