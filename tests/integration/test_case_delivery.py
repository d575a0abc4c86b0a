"""Delivery over PostgreSQL as the sender and the reader meet it: D2, D3 and D9 end to end."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.core.errors import BodyUnavailable, Corrupt, ObjectStoreUnavailable
from sora.jobs.upload import Uploader
from sora.mail.append import Appender
from sora.mail.bodies import Reader
from sora.mail.deliver import Deliverer, Envelope, Outcome
from sora.postgres.store import PostgresStore
from sora.store.memory import MemoryObjects
from sora.store.model import Inserted, NewMailbox, Want
from tests.dialogs.world import AtOnce
from tests.integration.database import DatabaseTests

NAMES = ("alice@example.org", "bob@example.org", "carol@example.net")
MAIL = b"From: Ann <ann@example.com>\r\nMessage-ID: <1@example.com>\r\nSubject: Lunch\r\n\r\nShall we?\r\n"


class DeliveryTests(DatabaseTests):
    """Three accounts, and as many nodes as a test opens."""

    async def _set_up(self) -> None:
        await super()._set_up()
        self.objects = MemoryObjects(reactor)
        self.inboxes = {}
        for name in NAMES:
            account = await self.store.accounts.create(name, "hash", [NewMailbox("INBOX")])
            self.inboxes[name] = (await self.store.mailboxes.find(account, "INBOX")).id

    async def deliver(self, raw: bytes, *names: str, lhlo: str = "mx", store: Any = None) -> list[Outcome]:
        """Deliver as a new session of a node does."""
        node: PostgresStore = store or self.store
        appender = Appender(
            node.messages, node.mailboxes, objects=self.objects, background=AtOnce().run, staging_max=10_000
        )
        deliverer = Deliverer(
            node.accounts, node.mailboxes, node.messages, appender=appender, hostname="mx.example.org"
        )
        targets: Any = await deliverer.resolve(names)
        return await deliverer.deliver(Envelope("ann@example.com", lhlo, "192.0.2.7", "LMTP"), targets, raw)

    async def rows(self, name: str, store: Any = None) -> list[Any]:
        """Return an inbox's messages as a node reads them."""
        return await (store or self.store).messages.fetch(self.inboxes[name], range(1, 100), Want.BYTES)

    async def test_d2_a_full_mailbox_is_answered_for_itself_and_fails_nobody_else(self) -> None:
        self.sql("UPDATE mailboxes SET uid_next = 4294967296 WHERE id = %s", (self.inboxes[NAMES[1]],))
        answers = await self.deliver(MAIL, *NAMES)
        self.assertEqual([isinstance(one, Inserted) for one in answers], [True, False, True])
        self.assertEqual([len(await self.rows(name)) for name in NAMES], [1, 0, 1])
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_d3_a_retry_to_another_node_leaves_one_copy_in_each_mailbox(self) -> None:
        other = await self.open()
        await self.deliver(MAIL, *NAMES)
        again = await self.deliver(MAIL, *NAMES, lhlo="mx2", store=other)
        self.assertTrue(all(isinstance(one, Inserted) and one.duplicate for one in again), again)
        await self.deliver(MAIL.replace(b"Shall", b"Shan't"), *NAMES, store=other)
        self.assertEqual([len(await self.rows(name)) for name in NAMES], [2, 2, 2])

    async def test_d9_a_body_awaiting_upload_is_read_by_every_node_before_during_and_after_the_upload(self) -> None:
        await self.deliver(MAIL, NAMES[0])
        other = await self.open()
        (row,) = await self.rows(NAMES[0], other)
        self.assertTrue(row.ref.staged)
        before = await self.read(other, row.ref)
        uploader = Uploader(self.store.bodies, self.objects, clock=reactor, interval=0.05)
        uploader.startService()
        while self.sql("SELECT 1 FROM staged_bodies"):
            self.assertEqual(await self.read(other, row.ref), MAIL)
        await uploader.stopService()
        # `row` still says that the body is staged, as a node knows it that has not looked since.
        after = await self.read(other, row.ref)
        self.assertEqual((before, after, len(self.objects.objects)), (MAIL, MAIL, 1))

    async def test_d9_a_body_that_is_nowhere_now_is_an_error_and_never_an_empty_message(self) -> None:
        await self.deliver(MAIL, NAMES[0])
        (row,) = await self.rows(NAMES[0])
        self.sql("DELETE FROM staged_bodies; UPDATE bodies SET stored = true")
        self.assertIsInstance(await self.read(self.store, row.ref), BodyUnavailable)
        await self.objects.put(row.ref.object_key, b"x" * len(MAIL))
        self.assertIsInstance(await self.read(self.store, row.ref), Corrupt)
        self.objects.away = True
        self.assertTrue(getattr(await self.read(self.store, row.ref), "temporary", False))

    async def test_d9_without_the_object_store_small_mail_is_taken_and_large_mail_is_refused_for_now(self) -> None:
        self.objects.away = True
        (small,) = await self.deliver(MAIL, NAMES[0])
        (large,) = await self.deliver(MAIL + b"x" * 20_000, NAMES[0])
        self.assertIsInstance(small, Inserted)
        self.assertIsInstance(large, ObjectStoreUnavailable)
        (row,) = await self.rows(NAMES[0])
        self.assertEqual(await self.read(self.store, row.ref), MAIL)

    async def read(self, node: PostgresStore, ref: Any) -> bytes | Exception:
        """Read a body as a node without any cache does."""
        reader = Reader(node.bodies, self.objects, clock=reactor, memory_max=0)
        waiting: Deferred[Any] = reader.read([ref])
        return (await waiting)[ref.id]
