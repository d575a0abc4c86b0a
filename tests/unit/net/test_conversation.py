"""The conversation: one coroutine per connection, held back by its peer and by itself, ended cleanly."""

import math
from itertools import pairwise

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sora.core import limits
from sora.net.conversation import Conversation
from sora.net.wheel import Wheel


class Echo(Conversation[bytes]):
    """Answers each octet; `w` waits for the gate, `q` ends, `x` is a bug."""

    def __init__(self, wheel: Wheel) -> None:
        super().__init__(wheel)
        self.gate: Deferred[None] = Deferred()
        self.has_ended = False
        self.seen: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        return [bytes([octet]) for octet in data]

    async def converse(self) -> None:
        while True:
            event = await self.receive()
            self.seen.append(event)
            if event == b"w":
                await self.gate
            if event == b"q":
                return
            if event == b"x":
                raise ZeroDivisionError
            self.send(event)
            await self.drained()

    def broke(self, failure: Failure) -> None:
        self.send(b"!")

    def ended(self) -> None:
        self.has_ended = True


class Recorder(StringTransport):
    """Counts writes."""

    writes = 0
    aborting = False

    def abortConnection(self) -> None:  # noqa: N802
        self.aborting = True
        super().abortConnection()

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock)
        self.echo = Echo(self.wheel)
        self.transport = Recorder()
        self.echo.makeConnection(self.transport)

    def lose(self) -> None:
        self.echo.connectionLost(Failure(ConnectionDone()))

    def test_events_of_one_segment_are_answered_in_one_write(self) -> None:
        self.echo.dataReceived(b"abc")
        self.assertEqual((self.transport.value(), self.transport.writes), (b"abc", 1))

    def test_reading_pauses_while_events_wait_and_resumes_after(self) -> None:
        self.echo.dataReceived(b"awb")
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual(self.echo.next_waiting(), b"b")
        self.echo.gate.callback(None)
        self.assertEqual(self.transport.producerState, "producing")
        self.assertIsNone(self.echo.next_waiting())
        self.assertEqual(self.transport.value(), b"awb")

    def test_a_slow_reader_holds_the_coroutine_back(self) -> None:
        self.echo.pauseProducing()
        self.echo.dataReceived(b"ab")
        self.assertEqual(self.echo.seen, [b"a"])
        self.echo.resumeProducing()
        self.assertEqual(self.echo.seen, [b"a", b"b"])

    def test_losing_the_connection_cancels_the_coroutine_wherever_it_waits(self) -> None:
        for octets in (b"", b"w"):
            echo = Echo(self.wheel)
            echo.makeConnection(StringTransport())
            echo.dataReceived(octets)
            echo.connectionLost(Failure(ConnectionDone()))
            self.assertTrue(echo.has_ended)
        slow = Echo(self.wheel)
        slow.makeConnection(StringTransport())
        slow.pauseProducing()
        slow.dataReceived(b"a")
        slow.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(slow.has_ended)

    def test_a_return_closes_and_what_comes_after_is_ignored(self) -> None:
        self.echo.dataReceived(b"aqb")
        self.assertTrue(self.transport.disconnecting)
        self.echo.dataReceived(b"c")
        self.assertEqual(self.echo.seen, [b"a", b"q"])
        self.lose()

    def test_a_bug_is_logged_answered_and_closes(self) -> None:
        self.echo.dataReceived(b"x")
        self.assertEqual(self.transport.value(), b"!")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_event_pushed_from_outside_is_taken_like_one_from_the_peer(self) -> None:
        self.echo.push(b"p")
        self.assertEqual(self.transport.value(), b"p")

    def test_a_deadline_closes_and_a_lost_connection_is_not_held(self) -> None:
        self.echo.expire_in(5)
        self.clock.pump([1.0] * 4)
        self.assertFalse(self.transport.disconnecting)
        self.clock.pump([1.0] * 3)
        self.assertTrue(self.transport.disconnecting)
        other = Echo(self.wheel)
        other.makeConnection(StringTransport())
        other.expire_in(1000)
        other.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(other.watched_at)

    def test_an_earlier_deadline_counts_even_after_a_later_one(self) -> None:
        self.echo.expire_in(1000)
        self.echo.expire_in(2)
        self.clock.pump([1.0] * 4)
        self.assertTrue(self.transport.disconnecting)

    def test_l10_a_peer_that_takes_nothing_is_cut_off(self) -> None:
        self.echo.dataReceived(b"a")
        self.echo.pauseProducing()
        self.echo.dataReceived(b"b")
        self.clock.pump([1.0] * int(limits.SLOW_READER_TIME_MAX - 1))
        self.assertFalse(self.transport.aborting)
        self.clock.pump([1.0] * 3)
        self.assertTrue(self.transport.aborting)

    def test_l10_a_peer_that_takes_a_piece_in_time_goes_on(self) -> None:
        for _ in range(5):
            self.echo.pauseProducing()
            self.echo.dataReceived(b"a")
            self.clock.pump([1.0] * int(limits.SLOW_READER_TIME_MAX - 2))
            self.echo.resumeProducing()
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(self.echo.expires_at, math.inf)

    def test_l10_waiting_for_commands_is_no_slow_reading(self) -> None:
        self.echo.dataReceived(b"a")
        self.clock.pump([60.0] * 100)
        self.assertFalse(self.transport.disconnecting)

    def test_l10_who_sends_without_reading_is_not_listened_to(self) -> None:
        self.echo.pauseProducing()
        self.echo.dataReceived(b"abc")
        self.assertEqual(self.echo.seen, [b"a"])
        self.assertEqual(self.transport.producerState, "paused")
        self.echo.resumeProducing()
        self.assertEqual(self.echo.seen, [b"a", b"b", b"c"])

    def test_l10_a_large_answer_is_given_piece_by_piece(self) -> None:
        piece = limits.WRITE_PIECE_MAX
        sent = Deferred.fromCoroutine(self.echo.send_paced(b"x" * (3 * piece + 1)))
        self.successResultOf(sent)
        self.echo.flush()
        self.assertEqual(len(self.transport.value()), 3 * piece + 1)
        self.transport.clear()
        self.echo.pauseProducing()
        sent = Deferred.fromCoroutine(self.echo.send_paced(b"x" * (2 * piece)))
        self.assertNoResult(sent)
        self.assertEqual(len(self.transport.value()), piece)
        self.echo.resumeProducing()
        self.successResultOf(sent)
        self.assertEqual(len(self.transport.value()), 2 * piece)

    def test_last_words_that_are_not_taken_do_not_keep_the_connection(self) -> None:
        self.echo.dataReceived(b"q")
        self.assertTrue(self.transport.disconnecting)
        self.clock.pump([1.0] * int(limits.LINGER_TIME_MAX - 1))
        self.assertFalse(self.transport.aborting)
        self.clock.pump([1.0] * 3)
        self.assertTrue(self.transport.aborting)

    def test_l12_long_work_lets_others_have_their_turn(self) -> None:
        self.echo.dataReceived(b"w")
        # The clock does not move while the coroutine works, unless it works long.
        self.clock.rightNow += 2 * limits.TURN_TIME_MAX
        self.echo.dataReceived(b"a" * 1_000)
        self.echo.gate.callback(None)
        self.assertLess(len(self.echo.seen), 100)
        self.clock.advance(0)
        self.assertEqual(self.echo.seen, [b"w"] + [b"a"] * 1_000)

    def test_l12_many_answers_let_others_have_their_turn(self) -> None:
        def write(data: bytes) -> None:
            # What compressing and encrypting them takes.
            self.clock.rightNow += limits.TURN_TIME_MAX * 0.75
            Recorder.write(self.transport, data)

        async def answer() -> None:
            for _ in range(100):
                await self.echo.send_paced(b"a" * 50_000)

        def other() -> None:
            turns.append(self.transport.writes)
            if not answered.called:
                self.clock.callLater(0, other)

        self.patch(self.transport, "write", write)
        turns: list[int] = []
        answered = Deferred.fromCoroutine(answer())
        self.clock.callLater(0, other)
        self.clock.advance(0)
        self.assertEqual(len(self.transport.value()), 5_000_000)
        self.assertGreater(len(turns), 20)
        self.assertLessEqual(max(after - before for before, after in pairwise(turns)), 2)

    def test_l12_whoever_leaves_while_others_have_their_turn_is_not_missed(self) -> None:
        self.echo.dataReceived(b"w")
        self.clock.rightNow += 2 * limits.TURN_TIME_MAX
        self.echo.gate.callback(None)
        self.echo.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(0)
        self.assertTrue(self.echo.has_ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])
