"""How often a command asks the database: counted at the pool, through the real front ends, over PostgreSQL."""

import re
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sora.core import limits
from sora.jobs.text_index import TextIndexer
from sora.store.model import Named, NewMessage
from tests.budget.counting import MESSAGES, PASSWORD, USER, Client, CountedTests
from tests.dialogs.connections import TcpClient
from tests.dialogs.script import simple

IDLERS = 8
REPEATED = 40


def append(number: int, mailbox: str) -> str:
    """Write an APPEND."""
    mail = simple(number).decode()
    return f"APPEND {mailbox} (\\Seen) {{{len(mail)}+}}\r\n{mail}"


def replace(number: int, another: int, mailbox: str) -> str:
    """Write a REPLACE."""
    return f"REPLACE {number} {append(another, mailbox)[7:]}"


class BudgetTests(CountedTests):
    """Commands held against what they may take."""

    async def hold(self, client: Client, budgets: Sequence[tuple[int, str]]) -> None:
        """Send commands in their order; each takes exactly its number of round trips."""
        taken = [(await client.cost(command), command) for _, command in budgets]
        self.assertEqual(taken, list(budgets))


class SignInTests(BudgetTests):
    async def test_signing_in_and_looking_around_are_one_each(self) -> None:
        client = await self.connected()
        await self.hold(
            client,
            [
                (0, "CAPABILITY"),
                (1, f"LOGIN {USER} {PASSWORD}"),
                (0, "NAMESPACE"),
                (1, 'LIST "" "*"'),
                (1, 'LIST (SUBSCRIBED RECURSIVEMATCH) "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES SIZE MAILBOXID))'),
                (1, 'LSUB "" "*"'),
                (1, "STATUS Archive (MESSAGES UNSEEN)"),
                (0, "LOGOUT"),
            ],
        )


class SelectedTests(BudgetTests):
    async def test_a_mailbox_is_opened_in_one_round_trip(self) -> None:
        client = await self.signed_in()
        await self.hold(
            client,
            [(1, "SELECT INBOX"), (1, "SELECT INBOX"), (1, "SELECT Archive"), (1, "EXAMINE INBOX"), (0, "CLOSE")],
        )
        # Also when there are \Recent messages to claim.
        await self.fill([1], claim=False)
        await self.hold(client, [(1, "SELECT INBOX"), (1, "SELECT INBOX")])

    async def test_what_the_view_knows_costs_nothing(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        await self.hold(
            client,
            [
                (0, "FETCH 1:* (UID FLAGS)"),
                (0, "UID FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE 1)"),
                (0, "UID SEARCH UNSEEN NOT DELETED"),
                (0, "SEARCH RETURN (COUNT) 1:5 OR SEEN UID 7:*"),
            ],
        )

    async def test_reading_is_one_a_page(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        await self.hold(
            client,
            [
                (1, "FETCH 1:10 (UID RFC822.SIZE ENVELOPE)"),
                (2, f"FETCH 1:{MESSAGES} (UID INTERNALDATE ENVELOPE BODYSTRUCTURE)"),
                (1, "FETCH 1:10 (EMAILID THREADID SAVEDATE PREVIEW)"),
                (1, "UID FETCH 1:* (PREVIEW (LAZY)) (PARTIAL -1:-10)"),
                (1, "FETCH 1:10 BODY.PEEK[HEADER]"),
                # The rows, then the staged bytes: there is no cache here.
                (2, "FETCH 1:10 BODY.PEEK[]"),
                # And \Seen.
                (3, "FETCH 1:10 BODY[]"),
            ],
        )

    async def test_texts_are_searched_in_two_and_an_index_that_leaves_nothing_is_one(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        # What the index knows, and the search itself; the second has one made.
        await self.hold(client, [(2, "UID SEARCH TEXT number"), (2, "UID SEARCH BODY number")])
        indexer = TextIndexer(self.store.text_indexes, clock=Clock())
        while await indexer.step():
            pass
        await self.hold(
            client,
            [
                (1, f"UID SEARCH 1:{limits.TEXT_SEGMENT} TEXT nowhere"),
                (2, "UID SEARCH BODY number"),
                (1, "UID SEARCH 7:9 BODY number"),
                (1, "UID SEARCH BODY no"),
            ],
        )

    async def test_searching_is_one_and_nothing_when_it_is_repeated(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        await self.hold(
            client,
            [
                (1, "SEARCH SUBJECT number"),
                (1, "SEARCH SUBJECT other"),
                (0, "SEARCH SUBJECT anything OR SEEN UNSEEN"),
                (1, "SORT (SUBJECT) UTF-8 ALL"),
                (0, "UID SORT RETURN (PARTIAL 1:10) (SUBJECT) UTF-8 UNSEEN"),
                (1, "THREAD REFERENCES UTF-8 ALL"),
                (0, "UID THREAD REFS UTF-8 SUBJECT number"),
                (0, "SEARCH RETURN (SAVE) 1:5"),
                (0, "UID SEARCH UID $ UNSEEN"),
                # The own mailboxes and those shared by others; the index of the selected one; then all of them at once.
                (4, "ESEARCH IN (personal) BODY nowhere"),
            ],
        )

    async def test_changing_is_one(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        await self.hold(
            client,
            [
                (1, "NOOP"),
                (1, "STORE 2:5 +FLAGS (\\Seen)"),
                (1, "UID STORE 2:5 +FLAGS.SILENT (\\Deleted $Work)"),
                (1, "COPY 1:3 Archive"),
                (1, "MOVE 6:8 Archive"),
                (1, "EXPUNGE"),
                (1, append(9_001, "Archive")),
                # Its flags are read back, as its commit may be one of several.
                (2, append(9_002, "INBOX")),
                (1, append(9_003, "Archive") + append(9_004, "")[7:]),
                (1, "APPEND Archive CATENATE (TEXT {10+}\r\nX-Y: z\r\n\r\n)"),
                # And the mailbox as it is now.
                (2, replace(1, 9_005, "Archive")),
                (2, replace(1, 9_006, "INBOX")),
                (1, "CREATE Fresh (USE (\\Junk))"),
                (1, "RENAME Fresh Stale"),
                (1, "DELETE Stale"),
                (1, "SUBSCRIBE Archive"),
                (1, "UNSUBSCRIBE Archive"),
            ],
        )

    async def test_an_own_change_is_not_read_back_when_its_announcement_comes_first(self) -> None:
        client = await self.signed_in("SELECT INBOX")
        before = await self.settled()
        for number in range(REPEATED):
            await client.ask(f"STORE {number + 1} +FLAGS (\\Flagged)")
        self.assertEqual(await self.settled() - before, REPEATED)


class ResyncTests(BudgetTests):
    async def known(self, client: Client) -> str:
        """Select INBOX and return its UIDVALIDITY and HIGHESTMODSEQ."""
        told = b" ".join(await client.ask("SELECT INBOX")).decode()
        return " ".join(
            word for name in ("UIDVALIDITY", "HIGHESTMODSEQ") for word in re.findall(rf"\[{name} (\d+)", told)
        )

    async def test_a_phone_that_missed_nothing_comes_back_in_two_round_trips(self) -> None:
        known = await self.known(await self.signed_in())
        phone = await self.connected()
        select = f"SELECT INBOX (QRESYNC ({known} 1:{MESSAGES}))"
        await self.hold(phone, [(1, f"LOGIN {USER} {PASSWORD}"), (0, "ENABLE QRESYNC"), (1, select)])
        before = await self.settled()
        await phone.connection.send(b"i IDLE\r\n")
        await phone.until(b"+ ")
        await phone.connection.send(b"DONE\r\n")
        await phone.until(b"i OK")
        await phone.ask("LOGOUT")
        self.assertEqual(await self.settled(), before)

    async def test_what_a_phone_missed_comes_with_the_select_also_where_nobody_knows_the_mailbox(self) -> None:
        other = await self.signed_in()
        known = await self.known(other)
        await other.ask("UID STORE 3:5 +FLAGS.SILENT (\\Deleted)")
        await other.ask("EXPUNGE")
        select = f"SELECT INBOX (QRESYNC ({known}))"
        fresh = await self.serve(await self.open())
        fresh.ids = self.world.ids
        fresh.listen(fresh.imap())
        for phone in (await self.signed_in("ENABLE QRESYNC"), await self.signed_in("ENABLE QRESYNC", world=fresh)):
            before = (self.store.pool.counters.round_trips, fresh.store.pool.counters.round_trips)
            self.assertIn(b"* VANISHED (EARLIER) 3:5", await phone.ask(select))
            after = (self.store.pool.counters.round_trips, fresh.store.pool.counters.round_trips)
            self.assertEqual(sum(after) - sum(before), 1)

    async def test_what_left_is_one_round_trip_and_none_if_nothing_can_have(self) -> None:
        client = await self.signed_in("ENABLE QRESYNC")
        modseq = int((await self.known(client)).split()[1])
        await self.hold(client, [(0, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")])
        await client.ask("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
        await self.hold(
            client,
            [
                (1, "EXPUNGE"),
                (1, "UID MOVE 4 Archive"),
                (1, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)"),
            ],
        )


class IdleTests(BudgetTests):
    async def test_idling_costs_nothing_and_a_change_one_for_all_sessions(self) -> None:
        idlers = [await self.signed_in("SELECT INBOX") for _ in range(IDLERS)]
        other = await self.open()
        await self.settled()
        before = self.store.pool.counters.round_trips
        for client in idlers:
            await client.connection.send(b"i IDLE\r\n")
            await client.until(b"+ ")
        self.assertEqual(await self.settled(), before)
        body = await self.world.appender.prepare(simple(7), account=self.world.ids[USER], domain="example.org")
        await other.messages.insert([NewMessage(Named(self.world.ids[USER], "INBOX"), body)])
        for client in idlers:
            await client.until(b"* %d EXISTS" % (MESSAGES + 1))
        self.assertEqual(await self.settled() - before, 1)


class DeliveryTests(BudgetTests):
    async def begin(self) -> TcpClient:
        """Connect to an LMTP server over the same store."""
        self.post = await self.serve(self.store)
        self.post.listen(self.post.lmtp())
        peer = await self.post.connect()
        self.addCleanup(lambda: Deferred.fromCoroutine(peer.hang_up()))
        await self.said(peer, b"220 ")
        await peer.send(b"LHLO client.example.com\r\n")
        await self.said(peer, b"250 ")
        return peer

    async def said(self, peer: TcpClient, start: bytes) -> None:
        """Wait for a line that begins so."""
        while not (line := await peer.line() or b"").startswith(start):
            self.assertRegex(line, b"^(250|354)")

    async def test_a_recipient_is_one_and_a_mail_one(self) -> None:
        peer = await self.begin()
        steps = [
            (0, b"MAIL FROM:<ann@example.com>\r\n", b"250 "),
            (1, f"RCPT TO:<{USER}>\r\n".encode(), b"250 "),
            (0, b"DATA\r\n", b"354 "),
            (1, simple(1) + b".\r\n", b"250 "),
        ]
        taken = []
        for _, data, answer in steps:
            before = await self.settled()
            await peer.send(data)
            await self.said(peer, answer)
            taken.append((await self.settled() - before, data, answer))
        self.assertEqual(taken, steps)

    async def test_recipients_in_one_segment_are_one(self) -> None:
        peer = await self.begin()
        before = await self.settled()
        await peer.send(b"MAIL FROM:<ann@example.com>\r\n" + f"RCPT TO:<{USER}>\r\n".encode() * 5 + b"DATA\r\n")
        await self.said(peer, b"354 ")
        self.assertEqual(await self.settled() - before, 1)
