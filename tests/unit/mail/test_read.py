"""Reading pages of messages: bounded, one ahead, and a bad one harms no other."""

from twisted.trial import unittest

from sora.aio import start
from sora.core.errors import BodyUnavailable
from sora.mail.read import MessageReader
from sora.store.model import Want
from tests.contract.mail import message, new_body
from tests.unit.mail.post import Held, Post


class ReadTests(unittest.SynchronousTestCase):
    def setUp(self):
        self.post = Post(self)
        self.bodies = Held(self.post.reader)

    def read(self, uids, want, **options):
        reader = MessageReader(self.post.messages, self.bodies, **options)

        async def collect():
            return [page async for page in reader.pages(self.post.id("INBOX"), uids, want)]

        return self.post.done(collect())

    def test_messages_come_in_pages_in_order(self):
        uids = self.post.deliver(*[None] * 5)
        pages = self.read(uids, Want.SIZE, page=2)
        self.assertEqual([[one.row.uid for one in page] for page in pages], [[1, 2], [3, 4], [5]])
        self.assertEqual(self.bodies.calls, [])

    def test_a_listing_comes_in_pages_of_columns(self):
        uids = [*self.post.deliver(*[None] * 5), 9]
        reader = MessageReader(self.post.messages, self.bodies, listing_page=2)

        async def collect():
            return [list(page.uids) async for page in reader.listing(self.post.id("INBOX"), uids, Want.SIZE)]

        self.assertEqual(self.post.done(collect()), [[1, 2], [3, 4], [5]])

    def test_messages_that_are_gone_are_left_out(self):
        self.post.deliver(None, None)
        self.assertEqual([one.row.uid for one in self.read([1, 2, 3], Want.SIZE)[0]], [1, 2])

    def test_bodies_come_as_received_with_the_trace_apart(self):
        raw = message("Hello")
        self.post.deliver(raw, trace=b"Received: here\r\n")
        ((one,),) = self.read([1], Want.BYTES)
        self.assertEqual((one.data, one.row.trace), (raw, b"Received: here\r\n"))

    def test_bodies_are_read_in_portions_and_a_larger_one_alone(self):
        raws = [message(str(n), text="x" * size) for n, size in enumerate((100, 100, 5_000, 100))]
        self.post.deliver(*raws)
        pages = self.read([1, 2, 3, 4], Want.BYTES, body_page_max=1_000)
        self.assertEqual([[one.row.uid for one in page] for page in pages], [[1, 2], [3], [4]])
        self.assertEqual([one.data for page in pages for one in page], raws)

    def test_d9_a_body_that_cannot_be_read_is_a_value_and_the_others_come(self):
        self.post.deliver(message("one"))
        self.post.deliver(body=new_body(message("two"), staged=False))
        ((one, two),) = self.read([1, 2], Want.BYTES)
        self.assertEqual(one.data, message("one"))
        self.assertIsInstance(two.data, BodyUnavailable)

    def test_a_header_that_is_not_stored_apart_comes_as_the_body(self):
        raw = message("large")
        self.post.deliver(message("small"))
        self.post.deliver(body=new_body(raw, header=None))
        ((small, large),) = self.read([1, 2], Want.HEADER)
        self.assertEqual((small.row.header is None, small.data), (False, None))
        self.assertEqual((large.row.header, large.data), (None, raw))

    def test_the_next_page_is_read_while_the_present_one_is_written_and_no_further(self):
        uids = self.post.deliver(*[None] * 6)
        self.post.messages.calls.clear()
        pages = MessageReader(self.post.messages, self.bodies, page=2).pages(self.post.id("INBOX"), uids, Want.SIZE)
        self.post.done(pages.__anext__())
        self.assertEqual(self.post.messages.calls, ["fetch", "fetch"])
        self.post.done(pages.aclose())

    def test_a_listing_is_one_page_ahead_of_its_writer_and_no_further(self):
        uids = self.post.deliver(*[None] * 8)
        self.post.messages.calls.clear()
        reader = MessageReader(self.post.messages, self.bodies, listing_page=2)
        pages = reader.listing(self.post.id("INBOX"), uids, Want.SIZE)
        for page in (1, 2):
            self.post.done(pages.__anext__())
            self.assertEqual(self.post.messages.calls, ["listing"] * (page + 1))
        self.post.done(pages.aclose())

    def test_leaving_early_cancels_what_was_read_ahead(self):
        uids = self.post.deliver(*[None] * 4)
        pages = MessageReader(self.post.messages, self.bodies, page=2).pages(self.post.id("INBOX"), uids, Want.SIZE)
        first = start(pages.__anext__())
        self.successResultOf(first)
        self.post.messages.holding.add("fetch")
        second = start(pages.__anext__())
        self.successResultOf(second)
        self.post.done(pages.aclose())
        self.assertEqual(self.flushLoggedErrors(), [])
