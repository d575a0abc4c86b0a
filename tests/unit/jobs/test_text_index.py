"""The indexer: whole segments, of what searches want, in small turns."""

from typing import Any

from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.aio import start
from sora.core import limits
from sora.jobs import text_index
from sora.jobs.text_index import TextIndexer
from tests.contract.mail import message
from tests.unit.mail.post import Held, Post

SEGMENT = 4


class TextIndexerTests(unittest.SynchronousTestCase):
    """jobs/text_index.py"""

    def setUp(self) -> None:
        self.post = Post(self)
        self.inbox = self.post.id("INBOX")
        self.indexes = Held(self.post.store.text_indexes)
        self.clock = self.post.store.state.clock
        self.indexer = TextIndexer(self.indexes, clock=self.clock, segment=SEGMENT, random_number=lambda: 0.5)

    def step(self) -> bool:
        """Do a round."""
        return self.post.done(self.indexer.step())

    def segments(self) -> list[list[int]]:
        """Return the UIDs of the segments of INBOX."""
        return [list(rows.uids) for rows in self.post.done(self.indexed(want=False))]

    def want(self) -> None:
        """Want an index of INBOX."""
        self.post.done(self.indexed(want=True))

    def indexed(self, *, want: bool) -> Any:
        """Read the index of INBOX."""
        return self.post.store.text_indexes.read(self.inbox, (0,), want=want)

    def test_only_what_is_wanted_is_indexed_in_whole_segments(self) -> None:
        self.post.deliver(*[None] * (2 * SEGMENT + 3))
        self.assertFalse(self.step())
        self.want()
        self.assertEqual([self.step() for _ in range(3)], [True, True, False])
        self.assertEqual(self.segments(), [[1, 2, 3, 4], [5, 6, 7, 8]])
        self.post.deliver(None)
        self.assertEqual([self.step(), self.step()], [True, False])
        self.assertEqual(self.segments()[2:], [[9, 10, 11, 12]])

    def test_texts_are_read_in_pages(self) -> None:
        self.patch(text_index, "_PAGE", 3)
        self.post.deliver(*[None] * SEGMENT)
        self.want()
        self.step()
        self.assertEqual(self.indexes.calls, ["claim", "texts", "texts", "add"])
        self.assertEqual(self.segments(), [[1, 2, 3, 4]])

    def test_messages_that_go_meanwhile_leave_the_segment_to_their_successors(self) -> None:
        self.post.deliver(*[None] * SEGMENT)
        self.want()
        self.indexes.holding.add("claim")
        running = start(self.indexer.step())
        state = self.post.store.state.mailboxes[self.inbox]
        self.post.store.state.bury(state, [state.messages[2]], modseq=state.advance(), actor=self.post.actor)
        self.indexes.holding.clear()
        self.indexes.release()
        self.assertTrue(self.successResultOf(running))
        self.assertEqual(self.segments(), [])
        self.post.deliver(None)
        self.clock.pump([10] * 100)
        self.step()
        self.assertEqual(self.segments(), [[1, 3, 4, 5]])

    def test_others_have_their_turn_while_a_segment_is_made(self) -> None:
        text = " ".join(f"{number:07}" for number in range(5_000))
        self.post.deliver(*[message(f"Number {number}", text=text) for number in range(SEGMENT)])
        self.want()

        class Slow(Clock):
            """Time goes on by itself; counts how often others have their turn."""

            turns = 0

            def seconds(self) -> float:
                self.rightNow += limits.TURN_TIME_MAX
                return super().seconds()

            def callLater(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  the name is Twisted's
                self.turns += 1
                return super().callLater(*args, **kwargs)

        clock = Slow()
        running = start(TextIndexer(self.indexes, clock=clock, segment=SEGMENT).step())
        clock.pump([10] * 100)
        self.successResultOf(running)
        self.assertGreater(clock.turns, 3)
        self.assertEqual(self.segments(), [[1, 2, 3, 4]])

    def test_what_nobody_uses_goes_and_is_looked_for_once_an_hour(self) -> None:
        self.post.deliver(*[None] * SEGMENT)
        self.want()
        self.step()
        self.step()
        self.clock.advance(limits.TEXT_INDEX_UNUSED_MAX + 1)
        self.indexes.calls.clear()
        self.step()
        self.step()
        self.assertEqual(self.indexes.calls, ["claim", "tidy", "claim"])
        self.assertEqual(self.segments(), [])

    def test_it_looks_again_every_few_seconds(self) -> None:
        self.indexer.startService()
        self.clock.pump([1.0] * 21)
        self.successResultOf(self.indexer.stopService())
        self.assertEqual(self.indexes.calls.count("claim"), 5)
