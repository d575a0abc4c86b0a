"""When an index of texts is asked, and what for."""

from typing import Any

from twisted.trial import unittest

from sora.core import criteria as keys
from sora.core import limits
from sora.core.criteria import Criteria
from sora.core.flags import SEEN
from sora.imap.view import SessionView
from sora.jobs.text_index import TextIndexer
from sora.mail import search
from sora.mail.search import Searcher
from sora.mail.search_texts import SoughtTexts
from tests.contract.mail import message
from tests.unit.mail.post import Held, Post

SEGMENT = 8


def body(needle: str) -> keys.Text:
    """Seek a text in bodies."""
    return keys.Text(keys.Field.BODY, needle)


class Watched(Held):
    """Remembers the arguments too."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.asked: list[Any] = []

    def read(self, mailbox: Any, places: Any, *, want: bool) -> Any:
        self.asked.append((len(places), want))
        return self._inner.read(mailbox, places, want=want)

    def search(self, *args: Any, among: Any = None, **kwargs: Any) -> Any:
        self.asked.append(among)
        return self._inner.search(*args, among=among, **kwargs)


class SearchTextsTests(unittest.SynchronousTestCase):
    """mail/search_texts.py, through mail/search.py"""

    def setUp(self) -> None:
        self.patch(search, "_FEW", 2)
        self.post = Post(self)
        self.post.deliver(*[message(text=f"word{number}") for number in range(10, 10 + SEGMENT)], flags=SEEN)
        self.post.deliver(message(text="other"))
        self.mailbox = self.post.open()
        self.view = SessionView(self.mailbox.version, recent_from=1)
        self.indexes, self.messages = Watched(self.post.store.text_indexes), Watched(self.post.store.messages)
        self.searcher = self.make(SEGMENT)

    def make(self, segment: int) -> Searcher:
        """Make a searcher for segments of a length."""
        return Searcher(self.messages, self.post.reader, SoughtTexts(self.indexes, segment=segment))

    def find(self, *steps: keys.Step) -> list[int]:
        """Search INBOX, and forget what was asked before."""
        self.indexes.asked.clear()
        self.messages.asked.clear()
        return self.post.done(self.searcher.search(self.mailbox, self.view, Criteria(steps)))

    def test_the_second_search_wants_an_index_and_the_third_has_it(self) -> None:
        for wanted in (False, True):
            self.assertEqual(self.find(body("word12")), [3])
            self.assertEqual((self.indexes.asked, self.messages.asked), ([(7, wanted)], [None]))
        self.post.done(TextIndexer(self.post.store.text_indexes, clock=self.post.store.state.clock, segment=8).step())
        self.assertEqual(self.find(body("word12")), [3])
        # The candidate, and what came after the index was made.
        self.assertEqual(self.messages.asked, [[3, 9]])
        self.assertEqual(self.find(body("word")), [1, 2, 3, 4, 5, 6, 7, 8])
        self.assertEqual(self.messages.asked, [None])

    def test_an_index_that_leaves_nothing_is_all_that_is_asked(self) -> None:
        self.find(body("first"))
        self.find(body("second"))
        self.post.done(TextIndexer(self.post.store.text_indexes, clock=self.post.store.state.clock, segment=8).step())
        self.assertEqual(self.find(body("nowhere"), keys.Flag(SEEN), keys.And(2)), [])
        self.assertEqual((len(self.indexes.asked), self.messages.asked), (1, []))

    def test_few_messages_are_looked_at_without_it(self) -> None:
        self.assertEqual(self.find(body("other"), keys.Flag(SEEN, False), keys.And(2)), [9])
        self.assertEqual((self.indexes.asked, self.messages.asked), ([], [[9]]))
        self.assertEqual(self.find(body("other"), keys.Flag(SEEN), keys.Not(), keys.Not(), keys.Or(2)), [*range(1, 10)])
        self.assertEqual((self.indexes.asked, self.messages.asked), ([], [[9]]))

    def test_what_the_view_excludes_is_not_asked_for_at_all(self) -> None:
        self.assertEqual(self.find(body("other"), keys.All(), keys.Not(), keys.And(2)), [])
        self.assertEqual((self.indexes.asked, self.messages.asked), ([], []))

    def test_a_small_mailbox_and_a_short_text_have_no_index(self) -> None:
        self.find(body("wo"))
        self.find(keys.Text(keys.Field.SUBJECT, "lunch"))
        self.searcher = self.make(SEGMENT + 2)
        self.find(body("word12"))
        self.assertEqual(self.indexes.asked, [])

    def test_no_more_texts_are_asked_for_than_the_bound(self) -> None:
        most = limits.TEXT_SOUGHT_MAX
        steps = [body(f"x{number:04}") for number in range(most + 3)]
        self.find(*steps, keys.Or(len(steps)))
        ((count, _),) = self.indexes.asked
        self.assertLessEqual(count, most * limits.TEXT_GRAMS_MAX)
        self.assertGreater(count, (most - 1) * 4)
        self.assertLess(count, (most + 1) * 5)
