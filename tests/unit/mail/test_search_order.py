"""Orders and threads that are kept: right after what arrives and goes, and bounded."""

from twisted.internet.defer import succeed
from twisted.trial import unittest

from sora.aio import start
from sora.core.errors import LimitReached
from sora.core.flags import SEEN
from sora.core.ordering import SortKey
from sora.imap.search_commands import Algorithm
from sora.mail import search_order
from sora.mail.search_order import Orders
from tests.contract.mail import message, new_body
from tests.unit.mail.post import Post

BY_SUBJECT = ((SortKey.SUBJECT, False),)


class OrdersTests(unittest.SynchronousTestCase):
    """Orders."""

    def setUp(self) -> None:
        self.post = Post(self)
        for subject in ("c", "a", "b", "d", "e"):
            self.post.deliver(message(subject), flags=SEEN)
        self.orders = Orders(self.post.messages)
        self.inbox = self.post.id("INBOX")
        self.told = [1, 2, 3, 4, 5]
        self.post.messages.calls.clear()

    def order(self, *uids: int) -> list[int]:
        answer = start(self.orders.order(self.inbox, BY_SUBJECT, uids or self.told, told=self.told))
        return self.successResultOf(answer)

    def test_an_order_is_read_once_and_everything_is_picked_out_of_it(self) -> None:
        self.assertEqual(self.order(), [2, 3, 1, 4, 5])
        self.assertEqual(self.order(1, 2), [2, 1])
        self.told = [1, 3, 4, 5]
        self.assertEqual(self.order(), [3, 1, 4, 5])
        self.assertEqual(self.post.messages.calls, ["order"])

    def test_another_sessions_messages_are_never_in_it(self) -> None:
        self.order()
        # As many, but others: one session has not heard of the last message, and counts one that is gone.
        self.told = [0, 1, 2, 3, 4]
        self.assertEqual(self.order(), [2, 3, 1, 4])

    def test_what_arrives_makes_it_read_anew(self) -> None:
        self.order()
        self.post.deliver(message("aa"))
        self.post.messages.calls.clear()
        self.told.append(6)
        self.assertEqual(self.order(), [2, 6, 3, 1, 4, 5])
        self.assertEqual(self.post.messages.calls, ["order"])

    def test_few_are_ordered_alone_and_one_or_none_without_asking(self) -> None:
        self.told += range(6, 40)
        self.assertEqual(self.order(1, 2), [2, 1])
        self.assertEqual(self.order(1, 2), [2, 1])
        self.assertEqual(self.post.messages.calls, ["order", "order"])
        self.assertEqual(self.order(3), [3])
        self.assertEqual(len(self.post.messages.calls), 2)

    def test_what_is_kept_is_bounded(self) -> None:
        self.patch(search_order, "KEPT_ORDERED", 12)
        for key in (SortKey.SUBJECT, SortKey.DATE, SortKey.SIZE):
            self.successResultOf(start(self.orders.order(self.inbox, ((key, False),), self.told, told=self.told)))
        self.post.messages.calls.clear()
        self.order()
        self.assertEqual(self.post.messages.calls, ["order"])
        self.assertLessEqual(self.orders._ordered, 12)


class ThreadsTests(unittest.SynchronousTestCase):
    """Threads."""

    def setUp(self) -> None:
        self.post = Post(self)
        self.put("a")
        self.put("b", "a")
        self.put("c", "b")
        self.orders = Orders(self.post.messages)
        self.inbox = self.post.id("INBOX")
        self.told = [1, 2, 3]
        self.post.messages.calls.clear()

    def put(self, own: str, *references: str) -> None:
        raw = message(own)
        body = new_body(raw, message_id=f"{own}@x", references=tuple(f"{one}@x" for one in references))
        self.post.deliver(body=body)

    def threads(self, *uids: int, how: Algorithm = Algorithm.REFERENCES) -> bytes:
        chosen = list(uids or self.told)
        return self.successResultOf(start(self.orders.threads(self.inbox, how, chosen, chosen, told=self.told)))

    def test_a_mailbox_is_read_once_and_only_arrivals_are_added(self) -> None:
        self.assertEqual(self.threads(), b"(1 2 3)")
        self.assertEqual(self.threads(), b"(1 2 3)")
        self.assertEqual(self.threads(2, 3), b"(2 3)")
        self.assertEqual(self.threads(1, 3), b"(1)(3)")
        self.assertEqual(self.threads(how=Algorithm.REFS), b"(1 2 3)")
        self.assertEqual(self.post.messages.calls, ["threading"])
        self.put("d", "b")
        self.told.append(4)
        self.assertEqual(self.threads(), b"(1 2 (3)(4))")

    def test_messages_that_are_gone_are_left_out(self) -> None:
        self.told.append(9)
        self.assertEqual(self.threads(), b"(1 2 3)")
        self.assertEqual(self.threads(9), b"")

    def test_l4_the_number_of_messages_is_bounded(self) -> None:
        self.patch(search_order, "IMAP_THREAD_MESSAGES_MAX", 2)
        self.failureResultOf(
            start(self.orders.threads(self.inbox, Algorithm.REFS, self.told, self.told, told=self.told)), LimitReached
        )
        self.assertEqual(self.threads(1, 2), b"(1 2)")

    def test_very_many_are_threaded_elsewhere(self) -> None:
        self.patch(search_order, "_AT_ONCE", 2)
        elsewhere = []

        def background(work, argument):
            elsewhere.append(work)
            return succeed(work(argument))

        self.orders = Orders(self.post.messages, background=background)
        self.assertEqual(self.threads(), b"(1 2 3)")
        self.assertEqual(len(elsewhere), 1)
        self.assertEqual(self.threads(1, 2), b"(1 2)")
        self.assertEqual(len(elsewhere), 1)
