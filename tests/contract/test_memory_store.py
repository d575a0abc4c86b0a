"""The contract suites over the in-memory store, and what is its own: a body reader and an object store that is away."""

from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import BodyUnavailable, Corrupt, ObjectStoreUnavailable
from sora.core.events import FeedLost
from sora.core.ids import MailboxId
from sora.store.interfaces import ObjectStore, Store
from sora.store.memory import MemoryObjects, MemoryStore, PlainReader
from sora.store.model import BodyRef
from tests.contract.accounts import AccountsContract
from tests.contract.annotations import AnnotationsContract
from tests.contract.base import StoreContract
from tests.contract.bodies import BodiesContract
from tests.contract.feed import FeedContract
from tests.contract.mail import message, new_message
from tests.contract.mailboxes import MailboxesContract
from tests.contract.messages import MessagesContract
from tests.contract.objects import ObjectStoreContract
from tests.contract.ordering import OrderContract
from tests.contract.quotas import QuotasContract
from tests.contract.searching import SearchContract
from tests.contract.seen import SeenContract
from tests.contract.sharing import SharingContract
from tests.contract.text_index import TextIndexContract


class Memory(StoreContract):
    """Makes in-memory stores on a clock that tests move."""

    async def make_store(self) -> Store:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        return MemoryStore(self.clock)

    async def set_uid_next(self, mailbox: MailboxId, number: int) -> None:
        self.store.state.mailboxes[mailbox].uid_next = number


class MemoryAccountsTests(Memory, AccountsContract, unittest.TestCase):
    """Accounts in memory."""


class MemoryMailboxesTests(Memory, MailboxesContract, unittest.TestCase):
    """Mailboxes in memory."""


class MemoryMessagesTests(Memory, MessagesContract, unittest.TestCase):
    """Messages in memory, and what only a movable clock can show."""

    async def test_d3_the_same_mail_after_the_window_is_a_new_message(self) -> None:
        raw = message("Again")
        for moment, duplicate in ((0, False), (3599, True), (2, False), (10, True)):
            self.clock.advance(moment)
            (done,) = await self.insert(new_message(self.inbox, raw, suppress=("Delivered-To: a", 3600.0)))
            self.assertEqual(done.duplicate, duplicate)


class MemoryOrderTests(Memory, OrderContract, unittest.TestCase):
    """Orders and threads in memory."""


class MemorySearchTests(Memory, SearchContract, unittest.TestCase):
    """Searching in memory."""


class MemoryBodiesTests(Memory, BodiesContract, unittest.TestCase):
    """Bodies in memory."""

    async def test_the_backlog_tells_the_age_of_the_oldest(self) -> None:
        await self.stage()
        self.clock.advance(90)
        await self.stage()
        self.assertEqual((await self.store.bodies.upload_backlog())[2], 90.0)


class MemoryFeedTests(Memory, FeedContract, unittest.TestCase):
    """The feed in memory."""

    async def test_listeners_hear_that_the_feed_was_lost(self) -> None:
        inbox, work = await self.heard_by(self.inbox, self.work)
        self.store.lose_feed()
        self.assertEqual((inbox.events, work.events), ([FeedLost()], [FeedLost()]))


class MemoryObjectsTests(ObjectStoreContract, unittest.TestCase):
    """Objects in memory."""

    async def make_objects(self) -> ObjectStore:
        return MemoryObjects(Clock())

    async def test_everything_fails_while_the_store_is_away(self) -> None:
        self.objects.away = True
        for attempt in (lambda: self.objects.get("k"), lambda: self.objects.put("k", b""), self.objects.keys):
            with self.assertRaises(ObjectStoreUnavailable):
                await attempt()


class PlainReaderTests(Memory, unittest.TestCase):
    """A reader over staging and objects."""

    async def read(self, ref: BodyRef) -> bytes | Exception:
        """Read one body."""
        return (await self.reader.read([ref]))[ref.id]

    async def setUp(self) -> None:
        await super().setUp()
        self.objects = MemoryObjects(self.clock)
        self.reader = PlainReader(self.store.bodies, self.objects)
        self.raw = message("Read me")
        (done,) = await self.insert(new_message(self.inbox, self.raw))
        self.ref = done.body

    async def test_d9_staged_and_uploaded_bodies_are_read_alike(self) -> None:
        self.assertEqual(await self.read(self.ref), self.raw)
        await self.objects.put(self.ref.object_key, self.raw)
        await self.store.bodies.uploaded([self.ref.id])
        self.assertEqual(await self.read(self.ref), self.raw)

    async def test_d9_a_body_that_cannot_be_read_is_an_error_and_never_empty(self) -> None:
        await self.store.bodies.uploaded([self.ref.id])
        self.assertIsInstance(await self.read(self.ref), BodyUnavailable)
        self.objects.away = True
        self.assertIsInstance(await self.read(self.ref), BodyUnavailable)

    async def test_bytes_with_another_hash_are_corrupt(self) -> None:
        await self.store.bodies.uploaded([self.ref.id])
        await self.objects.put(self.ref.object_key, self.raw.replace(b"Read", b"Fake"))
        self.assertIsInstance(await self.read(self.ref), Corrupt)


class MemoryQuotasTests(Memory, QuotasContract, unittest.TestCase):
    """Quotas in memory."""


class MemorySharingTests(Memory, SharingContract, unittest.TestCase):
    """Rights in mailboxes in memory."""


class MemoryAnnotationsTests(Memory, AnnotationsContract, unittest.TestCase):
    """Annotations in memory."""


class MemorySeenTests(Memory, SeenContract, unittest.TestCase):
    """A \\Seen of one's own in memory."""


class MemoryTextIndexTests(Memory, TextIndexContract, unittest.TestCase):
    """Indexes of texts in memory."""
