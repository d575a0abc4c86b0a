"""NOTIFY (RFC 5465) where a dialog cannot go: the feed is lost, there is too much, the store fails."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core import limits
from sora.core.errors import DatabaseUnavailable
from sora.core.events import FeedLost
from sora.mail.mailboxes import MailboxUseCases
from sora.store.memory_state import EVERY
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import MemoryWorld

SET = b"b NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))\r\n"
NEWS = b'* STATUS "INBOX" (UIDNEXT 2 MESSAGES 1)\r\n'


class NotifyTests(unittest.TestCase):
    async def setUp(self) -> None:
        self.account = Account("demo@example.org", "secret", [])
        self.world = MemoryWorld(Dialog("notify", [self.account], {}, (), []))
        await self.world.set_up()
        self.world.factory = self.world.imap()

    async def client(self) -> MemoryClient:
        """Return a client that has signed in."""
        client = await self.world.connect()
        self.addCleanup(client.hang_up)
        await client.send(b"a LOGIN demo@example.org secret\r\n")
        await self.until(client, b"a OK")
        return client

    async def until(self, client: MemoryClient, start: bytes) -> bytes:
        """Return what is said up to the line that begins so."""
        said = b""
        while (line := await client.line()) is not None:
            said += line + b"\r\n"
            if line.startswith(start):
                return said
        raise AssertionError(said)

    async def deliver(self) -> None:
        """Store a message in INBOX."""
        await self.world._insert(self.account, "INBOX", [], b"", b"Subject: x\r\n\r\n")

    def listeners(self) -> int:
        """Return how many listen to the feed."""
        return sum(map(len, self.world.store.state.listeners.values()))

    async def test_what_happened_while_the_feed_was_lost_is_told_when_it_is_back(self) -> None:
        client = await self.client()
        await client.send(SET)
        await self.until(client, b"b OK")
        self.patch(self.world.store.state, "announce", lambda *changes: None)
        await self.deliver()
        self.assertEqual(client.rest(), b"")
        for mailbox, listeners in list(self.world.store.state.listeners.items()):
            if mailbox != EVERY:
                for listener in list(listeners):
                    listener(FeedLost())
        self.assertEqual(client.rest(), NEWS)

    async def test_a_store_that_fails_is_asked_again_with_the_next_event(self) -> None:
        client = await self.client()
        await client.send(SET)
        await self.until(client, b"b OK")
        listing = MailboxUseCases.listing

        async def away(*_: Any) -> Any:
            raise DatabaseUnavailable("gone")

        self.patch(MailboxUseCases, "listing", away)
        await self.deliver()
        self.assertEqual(client.rest(), b"")
        self.patch(MailboxUseCases, "listing", listing)
        await self.deliver()
        self.assertEqual(client.rest(), b'* STATUS "INBOX" (UIDNEXT 3 MESSAGES 2)\r\n')

    async def test_l4_too_many_mailboxes_are_refused_and_later_ones_end_it(self) -> None:
        client, other = await self.client(), await self.client()
        self.patch(limits, "IMAP_NOTIFY_MAILBOXES_MAX", 0)
        await client.send(SET)
        self.assertIn(b"b NO [NOTIFICATIONOVERFLOW]", await self.until(client, b"b "))
        self.patch(limits, "IMAP_NOTIFY_MAILBOXES_MAX", 1)
        await client.send(SET)
        await self.until(client, b"b OK")
        await other.send(b"c CREATE one\r\nd CREATE two\r\n")
        await self.until(other, b"d OK")
        self.assertIn(b"* OK [NOTIFICATIONOVERFLOW]", client.rest())
        await self.deliver()
        self.assertNotIn(b"STATUS", client.rest())

    async def test_l4_too_many_annotations_and_too_long_ones_are_refused_and_later_ones_end_it(self) -> None:
        watch = b"b NOTIFY SET (personal (MailboxMetadataChange))\r\n"
        for bound, most in (("IMAP_NOTIFY_ENTRIES_MAX", 1), ("METADATA_READ_MAX", 12)):
            self.patch(limits, bound, most)
            client, other = await self.client(), await self.client()
            await other.send(b'c SETMETADATA INBOX (/private/a "1" /private/b "2")\r\n')
            await self.until(other, b"c OK")
            await client.send(watch)
            self.assertIn(b"b NO [NOTIFICATIONOVERFLOW]", await self.until(client, b"b "))
            await other.send(b"d SETMETADATA INBOX (/private/b NIL)\r\n")
            await self.until(other, b"d OK")
            await client.send(watch)
            await self.until(client, b"b OK")
            await other.send(b'e SETMETADATA INBOX (/private/b "2")\r\n')
            await self.until(other, b"e OK")
            self.assertIn(b"* OK [NOTIFICATIONOVERFLOW]", client.rest())
            self.patch(limits, bound, 1_000_000)

    async def test_nobody_listens_when_a_client_has_gone_or_does_not_want_to_hear(self) -> None:
        client = await self.client()
        before = self.listeners()
        await client.send(SET)
        await self.until(client, b"b OK")
        self.assertGreater(self.listeners(), before)
        await client.send(b"c NOTIFY NONE\r\n")
        await self.until(client, b"c OK")
        self.assertEqual(self.listeners(), before)
        await client.send(SET)
        await self.until(client, b"b OK")
        await client.send(b"d UNAUTHENTICATE\r\n")
        await self.until(client, b"d OK")
        self.assertEqual(self.listeners(), before)
        again = await self.client()
        await again.send(SET)
        await self.until(again, b"b OK")
        await again.hang_up()
        self.assertEqual(self.listeners(), before)

    async def test_what_happens_while_mailboxes_are_read_is_told_as_one(self) -> None:
        client = await self.client()
        await client.send(SET)
        await self.until(client, b"b OK")
        gate: Deferred[None] = Deferred()
        listing = MailboxUseCases.listing

        async def late(*args: Any) -> Any:
            if not gate.called:
                await gate
            return await listing(*args)

        self.patch(MailboxUseCases, "listing", late)
        for _ in range(50):
            await self.deliver()
        self.assertEqual(client.rest(), b"")
        gate.callback(None)
        self.assertEqual(client.rest(), b'* STATUS "INBOX" (UIDNEXT 51 MESSAGES 50)\r\n')
