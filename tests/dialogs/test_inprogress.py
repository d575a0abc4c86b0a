"""INPROGRESS (RFC 9585): who waits is told once a second how far its command is, and whole lines only."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core import limits
from sora.mail.change import Changer
from sora.mail.search import Searcher
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import MemoryWorld


class InProgressTests(unittest.TestCase):
    async def begin(self, *, messages: int = 1) -> MemoryClient:
        """Return a client that has selected INBOX."""
        account = Account("demo@example.org", "secret", [])
        account.messages = [("INBOX", [], b"", simple(number)) for number in range(messages)]
        self.world = MemoryWorld(Dialog("inprogress", [account], {}, (), []))
        await self.world.set_up()
        self.world.factory = self.world.imap()
        client = await self.world.connect()
        await client.send(b"a LOGIN demo@example.org secret\r\nb SELECT INBOX\r\n")
        await self.until(client, b"b OK")
        self.gate: Deferred[None] = Deferred()
        self.addCleanup(client.hang_up)
        return client

    async def until(self, client: MemoryClient, start: bytes) -> list[bytes]:
        """Return the lines up to one that begins so."""
        lines = []
        while (line := await client.line()) is not None:
            lines.append(line)
            if line.startswith(start):
                return lines
        raise AssertionError(lines)

    def hold_back(self, owner: type, name: str) -> None:
        """Have a method wait for the gate."""
        real = getattr(owner, name)

        async def late(*args: Any, **kwargs: Any) -> Any:
            gate, self.gate = self.gate, Deferred()
            self.held = gate
            await gate
            return await real(*args, **kwargs)

        self.patch(owner, name, late)

    async def test_a_search_that_takes_long_is_told_of_once_a_second(self) -> None:
        client = await self.begin()
        self.hold_back(Searcher, "search")
        await client.send(b'c SEARCH TEXT "number"\r\n')
        self.world.advance(4)
        self.assertIn(client.rest().count(b'* OK [INPROGRESS ("c" NIL NIL)] '), (3, 4))
        self.held.callback(None)
        await self.until(client, b"c OK")
        self.world.advance(5)
        self.assertEqual(client.rest(), b"")

    async def test_work_that_goes_in_pieces_says_how_many_are_done(self) -> None:
        self.patch(limits, "IMAP_CHANGE_PAGE", 2)
        client = await self.begin(messages=5)
        self.hold_back(Changer, "store")
        await client.send(b"c STORE 1:5 +FLAGS (\\Seen)\r\n")
        told = []
        for _ in range(3):
            self.world.advance(2)
            told += [line for line in client.rest().split(b"\r\n") if b"INPROGRESS" in line][-1:]
            self.held.callback(None)
            client._turn()
        codes = [line.partition(b"]")[0] for line in told]
        self.assertEqual(codes, [b'* OK [INPROGRESS ("c" %d 5)' % done for done in (0, 2, 4)])
        await self.until(client, b"c OK")

    async def test_a_command_that_is_quick_says_nothing_of_it(self) -> None:
        client = await self.begin()
        await client.send(b"c SEARCH ALL\r\n")
        await self.until(client, b"c OK")
        self.world.advance(10)
        self.assertEqual(client.rest(), b"")

    async def test_a_command_that_takes_too_long_is_given_up_and_the_session_goes_on(self) -> None:
        client = await self.begin()
        services = self.world.factory.services  # type: ignore[union-attr]
        services.command_timeout = 30.0
        self.hold_back(Searcher, "search")
        for _ in range(2):
            await client.send(b'c SEARCH TEXT "number"\r\n')
            self.world.advance(29)
            self.assertNotIn(b"c NO", client.rest())
            self.world.advance(3)
            self.assertRegex(client.rest(), rb"\r\nc NO \[LIMIT\] [^\r]+\r\n\Z")
            await client.send(b"d FETCH 1 UID\r\n")
            await self.until(client, b"d OK")
        # Nothing is left of it that could end a later command, or hold the connection.
        self.world.advance(60)
        self.assertEqual(client.rest(), b"")
        await client.send(b'e SEARCH TEXT "number"\r\n')
        await client.hang_up()
        self.assertEqual(services.sessions, set())

    async def test_what_was_changed_before_a_command_was_given_up_stays_and_is_told(self) -> None:
        self.patch(limits, "IMAP_CHANGE_PAGE", 2)
        client = await self.begin(messages=5)
        self.world.factory.services.command_timeout = 10.0  # type: ignore[union-attr]
        self.hold_back(Changer, "store")
        await client.send(b"c STORE 1:5 +FLAGS.SILENT (\\Flagged)\r\n")
        self.held.callback(None)
        self.world.advance(12)
        self.assertIn(b"c NO [LIMIT] ", (await self.until(client, b"c "))[-1])
        await client.send(b"d UID SEARCH FLAGGED\r\n")
        self.assertIn(b"* SEARCH 1 2", await self.until(client, b"d OK"))

    async def test_reading_is_as_slow_as_the_reader_and_is_not_given_up(self) -> None:
        client = await self.begin()
        self.world.factory.services.command_timeout = 10.0  # type: ignore[union-attr]
        session = next(iter(self.world.factory.services.sessions))  # type: ignore[union-attr]
        session.pauseProducing()
        await client.send(b"c FETCH 1 (FLAGS BODY.PEEK[])\r\n")
        self.world.advance(60)
        session.resumeProducing()
        await self.until(client, b"c OK")

    async def test_the_time_that_the_client_takes_to_read_is_not_the_commands(self) -> None:
        client = await self.begin()
        self.world.factory.services.command_timeout = 10.0  # type: ignore[union-attr]
        session = next(iter(self.world.factory.services.sessions))  # type: ignore[union-attr]
        self.hold_back(Searcher, "search")
        await client.send(b'c SEARCH TEXT "number"\r\n')
        session.pauseProducing()
        self.world.advance(60)
        session.resumeProducing()
        self.world.advance(5)
        self.assertNotIn(b"c NO", client.rest())
        self.world.advance(10)
        self.assertIn(b"c NO [LIMIT] ", client.rest())

    async def test_nothing_comes_into_a_message_that_is_sent_in_pieces(self) -> None:
        client = await self.begin()
        session = next(iter(self.world.factory.services.sessions))  # type: ignore[union-attr]
        session.progress.begin(bounded=False)
        session.in_pieces = True
        self.world.advance(5)
        self.assertEqual(client.rest(), b"")
        session.progress.end()
