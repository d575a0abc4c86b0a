"""Case L4 where only a session knows the count: what its contexts remember, what CATENATE reads."""

from collections.abc import AsyncIterator
from typing import Any

from twisted.trial import unittest

from sora.core import limits
from sora.front.imap import context
from sora.mail.read import MessageReader
from tests.dialogs.world import MemoryWorld
from tests.property import bytes_kept


class SessionLimitTests(unittest.TestCase):
    """A client that has selected a mailbox of four messages."""

    async def setUp(self) -> None:
        self.world = MemoryWorld(bytes_kept.SCENE)
        await self.world.set_up()
        self.world.factory = self.world.imap()
        self.client = await bytes_kept.signed_in(self.world)
        for number in range(4):
            await bytes_kept.append(self.client, b"Subject: %d\r\n\r\n%b\r\n" % (number, b"x" * 500))

    async def test_l4_what_all_contexts_remember_together_is_bounded(self) -> None:
        self.patch(context, "IMAP_CONTEXT_MESSAGES_MAX", 7)
        for found, followed in ((b"1:3", True), (b"1:4", True), (b"1", False)):
            *refused, answer = await self.client.ok(b"SEARCH RETURN (UPDATE COUNT) " + found)
            self.assertIn(b" COUNT ", answer)
            self.assertEqual([line[:14] for line in refused], [] if followed else [b"* NO [NOUPDATE"])

    async def test_l4_catenate_reads_no_more_than_a_message_may_have(self) -> None:
        read: list[int] = []
        pages = MessageReader.pages

        def counted(reader: MessageReader, mailbox: Any, uids: Any, want: Any) -> AsyncIterator[Any]:
            read.extend(uids)
            return pages(reader, mailbox, uids, want)

        self.patch(MessageReader, "pages", counted)
        self.world.factory.services.append_max = 1_000  # type: ignore[union-attr]
        urls = b" ".join(b"URL /INBOX/;UID=%d" % uid for uid in (1, 2, 3, 4))
        *_, answer = await self.client.command(b"APPEND INBOX CATENATE (" + urls + b")")
        self.assertTrue(answer.startswith(b"NO [TOOBIG] "), answer)
        self.assertEqual(read, [1, 2])

    async def test_l12_many_sections_of_one_message_let_others_have_their_turn(self) -> None:
        data = b"Content-Transfer-Encoding: base64\r\n\r\n" + b"eHh4eHh4eHh4eHh4eHh4\r\n" * 100_000
        await bytes_kept.append(self.client, data)
        turns: list[float] = []
        turn = self.world.wheel.turn
        self.patch(limits, "TURN_TIME_MAX", -1.0)
        self.patch(self.world.wheel, "turn", lambda: turns.append(0) or turn())
        items = b" ".join(b"BINARY.PEEK[1]<%d.1>" % number for number in range(20))
        await self.client.ok(b"UID FETCH 5 (" + items + b")")
        self.assertGreaterEqual(len(turns), 20)
