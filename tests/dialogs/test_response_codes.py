"""Response codes of RFC 5530 that tell of faults, which no dialog can make: what fails is patched, over memory."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import fail
from twisted.trial import unittest

from sora.core.errors import BodyUnavailable, Busy, CommitUnknown, Corrupt, DatabaseUnavailable
from sora.front.imap import session
from sora.imap import commands
from sora.store.memory import PlainReader
from sora.store.model import BodyRef
from tests.dialogs.world import MemoryWorld
from tests.property import bytes_kept
from tests.property.imap_client import ImapClient


class FaultCodeTests(unittest.TestCase):
    """A client that has selected a mailbox of three messages."""

    async def setUp(self) -> None:
        self.world = MemoryWorld(bytes_kept.SCENE)
        await self.world.set_up()
        self.world.factory = self.world.imap()
        self.client = await bytes_kept.signed_in(self.world)
        for number in range(3):
            await bytes_kept.append(self.client, b"Subject: %d\r\n\r\ntext %d\r\n" % (number, number))

    def failing(self, owner: object, name: str, error: Exception) -> None:
        """Have what returns a Deferred fail."""
        self.patch(owner, name, lambda *_, **__: fail(error))

    def unreadable(self, *errors: Exception | None) -> None:
        """Have the bytes of messages be errors, in the order in which they are read."""
        left = list(errors)
        read = PlainReader.read

        async def broken(reader: PlainReader, refs: Sequence[BodyRef]) -> dict[Any, Any]:
            found = await read(reader, refs)
            for body in found:
                error = left.pop(0) if left else None
                found[body] = found[body] if error is None else error
            return found

        self.patch(PlainReader, "read", broken)

    async def refused(self, command: bytes) -> bytes:
        """Return how a command was refused, and see the session go on."""
        *_, answer = await self.client.command(command)
        self.assertTrue(answer.startswith(b"NO ["), answer)
        await self.client.ok(b"NOOP")
        return answer[4:].partition(b"]")[0]

    async def test_unavailable_when_the_database_is_away_also_to_a_login(self) -> None:
        stranger = ImapClient(await self.world.connect())
        await stranger.answer()
        store, away = self.world.store, DatabaseUnavailable("no server answers")
        for owner, name in (
            (store.accounts, "login"),
            (store.mailboxes, "find"),
            (store.mailboxes, "create"),
            (store.messages, "insert"),
        ):
            self.failing(owner, name, away)
        (answer,) = await stranger.command(b"LOGIN demo@example.org secret")
        self.assertTrue(answer.startswith(b"NO [UNAVAILABLE] "), answer)
        for command in (b"STATUS INBOX (MESSAGES)", b"CREATE x", b"APPEND INBOX {2+}\r\nhi"):
            self.assertEqual(await self.refused(command), b"UNAVAILABLE")

    async def test_unavailable_when_nobody_knows_whether_it_was_done(self) -> None:
        self.failing(self.world.store.mailboxes, "create", CommitUnknown("the answer to the commit was lost"))
        self.assertEqual(await self.refused(b"CREATE x"), b"UNAVAILABLE")

    async def test_inuse_when_a_lock_is_not_granted_or_too_much_waits(self) -> None:
        for name, command in (("delete", b"DELETE Work"), ("create", b"CREATE x")):
            self.failing(self.world.store.mailboxes, name, Busy("a lock was not granted in time"))
            self.assertEqual(await self.refused(command), b"INUSE")

    async def test_corruption_when_what_was_stored_is_not_what_is_there(self) -> None:
        wrong = Corrupt("the stored bytes are not those that were stored")
        for command in (b"FETCH 1:3 BODY.PEEK[]", b"UID FETCH 1:3 BINARY.SIZE[1]"):
            self.unreadable(None, wrong, wrong)
            *untagged, answer = await self.client.command(command)
            self.assertEqual([line.partition(b" FETCH")[0] for line in untagged], [b"* 1"])
            self.assertTrue(answer.startswith(b"NO [CORRUPTION] "), answer)
        self.unreadable(wrong)
        url = b"APPEND INBOX CATENATE (URL /INBOX/;UID=1)"
        self.assertEqual(await self.refused(url), b"CORRUPTION")

    async def test_a_fetch_that_can_be_tried_again_for_some_is_unavailable(self) -> None:
        self.unreadable(Corrupt("wrong"), BodyUnavailable("away"), Corrupt("wrong"))
        self.assertEqual(await self.refused(b"FETCH 1:3 BODY.PEEK[]"), b"UNAVAILABLE")

    async def test_serverbug_when_a_command_breaks(self) -> None:
        async def broken(*_: object) -> None:
            raise KeyError("secret")

        self.patch(session, "HANDLERS", {**session.HANDLERS, commands.Status: broken})
        *_, answer = await self.client.command(b"STATUS INBOX (MESSAGES)")
        self.assertEqual(answer, b"NO [SERVERBUG] an internal error; it has been logged")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        await self.client.ok(b"NOOP")
