"""FETCH of messages whose bytes cannot be read now: the others are answered, and what was not sent stays unseen."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core.errors import BodyUnavailable
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import MemoryWorld


class UnreadableTests(unittest.TestCase):
    async def begin(self) -> MemoryClient:
        """Return a client that has selected INBOX, whose first message cannot be read."""
        account = Account("demo@example.org", "secret", [])
        account.messages = [("INBOX", [], b"", simple(number)) for number in (1, 2)]
        world = MemoryWorld(Dialog("unreadable", [account], {}, (), []))
        await world.set_up()
        read = world.reader.read

        def without_first(refs: Any) -> "Deferred[Any]":
            return read(refs).addCallback(lambda found: {**found, min(found): BodyUnavailable("the store is away")})

        self.patch(world.reader, "read", without_first)
        world.factory = world.imap()
        client = await world.connect()
        self.addCleanup(client.hang_up)
        await self.said(client, b"a LOGIN demo@example.org secret\r\nb SELECT INBOX\r\n")
        return client

    async def said(self, client: MemoryClient, data: bytes) -> list[bytes]:
        """Send octets and return the lines that they bring."""
        await client.send(data)
        lines = []
        while (line := await client.line()) is not None:
            lines.append(line)
        return lines

    async def test_what_cannot_be_read_is_left_out_and_stays_unseen(self) -> None:
        client = await self.begin()
        lines = await self.said(client, b"c FETCH 1:2 BODY[TEXT]\r\n")
        self.assertEqual(lines[0], b"* 2 FETCH (BODY[TEXT] {19}")
        self.assertIn(b"* 2 FETCH (FLAGS (\\Seen))", lines)
        self.assertTrue(lines[-1].startswith(b"c NO [UNAVAILABLE] "), lines)
        self.assertEqual((await self.said(client, b"d SEARCH UNSEEN\r\n"))[0], b"* SEARCH 1")

    async def test_flags_are_shown_as_they_are_once_the_message_is_sent(self) -> None:
        client = await self.begin()
        lines = await self.said(client, b"c UID FETCH 1:2 (FLAGS BODY[TEXT])\r\n")
        self.assertEqual(lines[0], b"* 2 FETCH (UID 2 FLAGS (\\Seen) BODY[TEXT] {19}")
        self.assertEqual((await self.said(client, b"d FETCH 1 FLAGS\r\n"))[0], b"* 1 FETCH (FLAGS ())")
