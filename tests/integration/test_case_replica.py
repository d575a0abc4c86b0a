"""V5: what a session sees never goes back, however far the read endpoint lags, and even when it dies.

Two databases stand for a primary and its standby: the second is a copy of an earlier moment, as a standby
that lags is, or one that was stopped.
"""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.core.events import MailboxChanged
from sora.core.flags import DELETED, SEEN, Change
from sora.mail.bodies import Reader
from sora.mail.live import Live
from sora.mail.read import MessageReader
from sora.postgres.store import PostgresStore, open_store
from sora.store.memory import MemoryObjects
from sora.store.model import Actor, FlagChange, NewMailbox, Want
from tests.contract.mail import message, new_message
from tests.integration.database import DatabaseTests, server

ALL = Want.SIZE | Want.DATES | Want.ENVELOPE | Want.HEADER | Want.BYTES


class LaggingStandbyTests(DatabaseTests):
    """A store whose read endpoint stands still at three messages."""

    async def _set_up(self) -> None:
        await super()._set_up()
        account = await self.store.accounts.create(
            "alice@example.org", "hash", [NewMailbox("INBOX"), NewMailbox("Work")]
        )
        self.account, self.actor = account, Actor(account, "alice@example.org", "imap", "1")
        self.inbox = (await self.store.mailboxes.find(account, "INBOX")).id
        self.work = (await self.store.mailboxes.find(account, "Work")).id
        await self.store.messages.insert([new_message(self.inbox, message(f"old {n}")) for n in range(3)])
        await self.store.stop()
        self.standby = server().create(self.settings.name)
        self.addCleanup(server().drop, self.standby)
        self.store = await self.open_both()

    async def open_both(self) -> PostgresStore:
        """Open the primary with the stale copy as its read endpoint."""
        stale = server().settings(self.standby, writable=False)
        store = open_store(self.settings, reactor, reading=stale)
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    def asked(self) -> int:
        """Return how many round trips the primary has had."""
        return self.store.pool.counters.round_trips

    async def test_v5_what_the_standby_does_not_have_is_asked_of_the_primary(self) -> None:
        await self.store.messages.insert([new_message(self.inbox, message(f"new {n}")) for n in range(2)])
        before = self.asked()
        rows = await self.store.messages.fetch(self.inbox, [1, 2, 3], ALL)
        self.assertEqual(([row.uid for row in rows], self.asked()), ([1, 2, 3], before))
        rows = await self.store.messages.fetch(self.inbox, [1, 4, 5], ALL)
        self.assertEqual(([row.uid for row in rows], self.asked()), ([1, 4, 5], before + 1))
        self.assertIn(b"Subject: new 1", rows[2].header)
        before = self.asked()
        listed = await self.store.messages.listing(self.inbox, [1, 2, 3], Want.LISTED)
        self.assertEqual((list(listed.uids), self.asked()), ([1, 2, 3], before))
        listed = await self.store.messages.listing(self.inbox, [1, 4, 5], Want.LISTED)
        self.assertEqual((list(listed.uids), len(listed.envelopes), self.asked()), ([1, 4, 5], 3, before + 1))

    async def test_v5_a_session_sees_its_own_writes_at_once(self) -> None:
        live = Live(self.store.mailboxes, self.store.feed)
        mailbox = await live.open(self.account, "INBOX", claim_recent=False)
        self.addCleanup(lambda: Deferred.fromCoroutine(live.stop()))
        self.assertEqual(len(mailbox.version.uids), 3)
        await self.store.messages.insert([new_message(self.inbox, message("mine"))])
        await self.store.messages.store(self.inbox, [FlagChange((1,), Change.ADD, SEEN | DELETED, ("mine",))])
        await self.store.messages.expunge(self.inbox, [1], self.actor)
        await self.store.messages.store(self.inbox, [FlagChange((2,), Change.ADD, SEEN, ())])
        await mailbox.refresh()
        version = mailbox.version
        self.assertEqual(list(version.uids), [2, 3, 4])
        self.assertEqual(list(version.flags), [SEEN, 0, 0])
        copied = await self.store.messages.copy(self.inbox, [4], self.work)
        (row,) = await self.store.messages.fetch(self.work, copied.target, ALL)
        self.assertIn(b"Subject: mine", row.header)
        mailbox.close()

    async def test_v5_a_body_uploaded_since_is_read_though_the_standby_says_staged(self) -> None:
        objects = MemoryObjects(reactor)
        for upload in await self.store.bodies.claim_uploads(10, 60.0):
            await objects.put(upload.ref.object_key, upload.data)
            await self.store.bodies.uploaded([upload.ref.id])
        bodies = Reader(self.store.bodies, objects, clock=reactor, memory_max=0)
        reader = MessageReader(self.store.messages, bodies)
        read: list[Any] = []
        async for page in reader.pages(self.inbox, [1, 2, 3], Want.BYTES):
            read += page
        self.assertTrue(all(one.row.ref.staged for one in read), "the standby was not asked")
        self.assertEqual([one.data for one in read], [message(f"old {n}") for n in range(3)])

    async def test_v5_a_standby_that_dies_is_not_noticed(self) -> None:
        self.assertEqual(len(await self.store.messages.fetch(self.inbox, [1, 2, 3], ALL)), 3)
        server().drop(self.standby)
        for _ in range(3):
            rows = await self.store.messages.fetch(self.inbox, [1, 2, 3], ALL)
            self.assertEqual([row.uid for row in rows], [1, 2, 3])

    async def test_v5_news_come_from_the_primary(self) -> None:
        heard: list[Any] = []
        told: Deferred[None] = Deferred()
        self.store.feed.subscribe(self.inbox, lambda event: (heard.append(event), told.called or told.callback(None)))
        await self.store.messages.insert([new_message(self.inbox)])
        await told
        self.assertIsInstance(heard[0], MailboxChanged)
        changes = await self.store.mailboxes.changes(self.inbox, heard[0].modseq - 1)
        self.assertEqual(list(changes.columns.uids), [4])
