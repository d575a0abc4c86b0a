"""Flag changes over PostgreSQL: those of many sessions in one statement, and which commits wait for the disk."""

import signal
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from sora.aio import gather
from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox
from sora.core.events import MailboxChanged
from sora.core.flags import ANSWERED, DELETED, FLAGGED, SEEN, Change
from sora.core.ids import MailboxId, ModSeq
from sora.mail.live import Live
from sora.postgres.flags import BATCH_MAX, BULK_MIN, IN_FLIGHT_MAX
from sora.postgres.store import PostgresStore, open_store
from sora.store.model import Actor, FlagChange, FlagsStored, NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests, server

BOXES = [NewMailbox(name) for name in ("INBOX", "Work", "Later")]


class FlagTests(DatabaseTests):
    """Three mailboxes of three messages each."""

    pool_max = 8

    async def _set_up(self) -> None:
        await super()._set_up()
        self.account = await self.store.accounts.create("alice@example.org", "hash", BOXES)
        rows = [await self.store.mailboxes.find(self.account, box.name) for box in BOXES]
        self.inbox, self.work, self.later = self.boxes = [row.id for row in rows]
        await self.store.messages.insert([new_message(box) for box in self.boxes for _ in range(3)])

    def store_flags(
        self, box: MailboxId, uids: tuple[int, ...], bits: int, *words: str, change: Change = Change.ADD
    ) -> "Deferred[list[FlagsStored]]":
        return self.store.messages.store(box, [FlagChange(uids, change, bits, words)])

    def flags(self, box: MailboxId) -> list[tuple[int, int]]:
        return self.sql("SELECT uid, flags FROM messages WHERE mailbox_id = %s ORDER BY uid", (box,))

    async def trips(self, begin: Callable[[], list[Deferred[Any]]]) -> int:
        """Count the round trips of operations that begin at once."""
        before = self.store.pool.counters.round_trips
        await gather(begin())
        return self.store.pool.counters.round_trips - before


class TogetherTests(FlagTests):
    """What is changed in one turn goes as one statement."""

    async def test_changes_of_many_mailboxes_are_one_round_trip_and_each_has_its_own_answer(self) -> None:
        wanted = [(box, uid) for box in reversed(self.boxes) for uid in (3, 1)]
        waits = [self.store_flags(box, (uid,), FLAGGED) for box, uid in wanted]
        self.assertEqual(await self.trips(lambda: waits), 1)
        for (box, uid), wait in zip(wanted, waits, strict=True):
            (stored,) = wait.result
            self.assertEqual((list(stored.columns.uids), list(stored.columns.flags)), ([uid], [FLAGGED]))
            self.assertEqual((self.flags(box)[uid - 1]), (uid, FLAGGED))

    async def test_changes_of_one_mailbox_keep_their_order_and_each_has_a_modseq_of_its_own(self) -> None:
        before = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        bits = [SEEN, FLAGGED, SEEN | ANSWERED, DELETED]
        results = await gather([self.store_flags(self.inbox, (2,), one, change=Change.REPLACE) for one in bits])
        self.assertEqual([stored.columns.flags[0] for (stored,) in results], bits)
        self.assertEqual([stored.modseq - before for (stored,) in results], [1, 2, 3, 4])
        self.assertEqual(self.flags(self.inbox), [(1, 0), (2, DELETED), (3, 0)])

    async def test_the_counters_equal_a_recount(self) -> None:
        changes = [(Change.ADD, SEEN | DELETED), (Change.REMOVE, SEEN), (Change.ADD, FLAGGED), (Change.REPLACE, SEEN)]
        await gather(
            [
                self.store_flags(box, (uid, uid % 3 + 1)[: 1 + uid % 2], bits, change=change)
                for change, bits in changes
                for box in self.boxes
                for uid in (1, 2, 3)
            ]
        )
        recount = """
            SELECT b.id FROM mailboxes AS b JOIN messages AS m ON m.mailbox_id = b.id GROUP BY b.id
            HAVING (b.unseen, b.deleted, b.deleted_size, b.highest_modseq) IS DISTINCT FROM (
                   count(*) FILTER (WHERE flags & 1 = 0), count(*) FILTER (WHERE flags & 8 <> 0),
                   coalesce(sum(m.size) FILTER (WHERE flags & 8 <> 0), 0), max(m.modseq))"""
        self.assertEqual(self.sql(recount), [])

    async def test_one_announcement_tells_of_all(self) -> None:
        heard: list[MailboxChanged] = []
        done: Deferred[None] = Deferred()
        last = max(self.boxes)
        filled = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq

        def hear(event: Any) -> None:
            if event.modseq <= filled:
                return
            heard.append(event)
            if event.mailbox == last:
                done.callback(None)

        for box in self.boxes:
            self.addCleanup(self.store.feed.subscribe(box, hear))
        results = await gather([self.store_flags(box, (uid,), SEEN) for box in self.boxes for uid in (1, 2)])
        await done
        newest = {
            box: max(stored.modseq for (stored,) in results[2 * n : 2 * n + 2]) for n, box in enumerate(self.boxes)
        }
        self.assertEqual({event.mailbox: event.modseq for event in heard}, newest)
        self.assertEqual(len(heard), len(self.boxes))

    async def test_members_that_cannot_be_done_fail_alone(self) -> None:
        many = tuple(f"k{number}" for number in range(limits.KEYWORDS_PER_MESSAGE_MAX + 1))
        good = [self.store_flags(self.inbox, (1,), SEEN)]
        wordy = self.store_flags(self.inbox, (2,), SEEN, *many)
        gone = self.store_flags(MailboxId(987_654), (1,), SEEN)
        good.append(self.store_flags(self.work, (1,), SEEN))
        with self.assertRaises(LimitReached):
            await wordy
        with self.assertRaises(NoSuchMailbox):
            await gone
        await gather(good)
        self.assertEqual(self.flags(self.inbox), [(1, SEEN), (2, 0), (3, 0)])
        self.assertEqual(self.flags(self.work)[0], (1, SEEN))

    async def test_a_change_that_nobody_waits_for_any_more_harms_no_other(self) -> None:
        first, second = self.store_flags(self.inbox, (1,), SEEN), self.store_flags(self.inbox, (2,), SEEN)
        first.cancel()
        with self.assertRaises(CancelledError):
            await first
        await second
        self.assertEqual(self.flags(self.inbox)[1], (2, SEEN))

    async def test_a_batch_is_bounded_and_what_is_large_goes_by_itself(self) -> None:
        single = [(self.boxes[n % 3], (1,), n % 2) for n in range(BATCH_MAX * IN_FLIGHT_MAX)]
        self.assertEqual(await self.trips(lambda: [self.store_flags(*one) for one in single]), IN_FLIGHT_MAX)
        large = tuple(range(1, BULK_MIN + 1))
        self.assertEqual(await self.trips(lambda: [self.store_flags(self.inbox, large, SEEN) for _ in range(3)]), 3)

    async def test_processes_that_change_the_same_mailboxes_at_once_do_not_block_each_other(self) -> None:
        other = await self.open()
        waits = []
        for number in range(60):
            store = (self.store, other)[number % 2]
            box = self.boxes[number % 3]
            waits.append(store.messages.store(box, [FlagChange((1 + number % 2,), Change.ADD, SEEN, (f"w{number}",))]))
        await gather(waits)
        words = self.sql("SELECT sum(cardinality(keywords)) FROM messages")
        self.assertEqual(words, [(60,)])


SPY = """
CREATE TABLE spied (waits text);
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spied VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE TRIGGER spy AFTER UPDATE ON mailboxes FOR EACH STATEMENT EXECUTE FUNCTION spy();
"""


class DiskTests(FlagTests):
    """Which commits wait for the disk: seen from inside each transaction that changes a mailbox."""

    async def _set_up(self) -> None:
        await super()._set_up()
        self.sql(f"ALTER DATABASE {self.settings.name} SET synchronous_commit = on")
        self.sql(SPY)
        self.addCleanup(self.sql, "DROP TABLE spied; DROP FUNCTION spy CASCADE")
        self.addCleanup(self.sql, f"ALTER DATABASE {self.settings.name} RESET synchronous_commit")

    async def waiting(self, *, flags_wait_for_disk: bool) -> PostgresStore:
        store = open_store(self.settings, reactor, flags_wait_for_disk=flags_wait_for_disk)
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    def spied(self) -> set[str]:
        return {waits for (waits,) in self.sql("DELETE FROM spied RETURNING waits")}

    async def test_flags_do_not_wait_unless_told(self) -> None:
        for wait, expected in ((False, "off"), (True, "on")):
            store = await self.waiting(flags_wait_for_disk=wait)
            for uids in ((1,), tuple(range(1, BULK_MIN + 1))):
                for change in (Change.ADD, Change.REMOVE):
                    await store.messages.store(self.inbox, [FlagChange(uids, change, SEEN, ("word",))])
                    self.assertEqual(self.spied(), {expected}, (wait, len(uids)))

    async def test_whatever_brings_takes_or_makes_mail_waits_after_flags_on_the_same_connection_too(self) -> None:
        self.settings = attrs.evolve(self.settings, pool_min=1, pool_max=1)
        store = await self.waiting(flags_wait_for_disk=False)
        messages, actor = store.messages, Actor(self.account, "alice@example.org", "imap", "s")
        await messages.store(self.inbox, [FlagChange((2,), Change.ADD, DELETED, ())])
        for name, operation in {
            "insert": lambda: messages.insert([new_message(self.inbox)]),
            "copy": lambda: messages.copy(self.inbox, [1], self.work),
            "move": lambda: messages.move(self.inbox, [1], self.work, actor),
            "expunge": lambda: messages.expunge(self.inbox, None, actor),
            "claim": lambda: store.mailboxes.open(self.account, "Later", claim_recent=True),
        }.items():
            await messages.store(self.inbox, [FlagChange((3,), Change.ADD, 0, (name,))])
            self.assertEqual(self.spied(), {"off"})
            await operation()
            self.assertEqual(self.spied(), {"on"}, name)


class CrashTests(FlagTests):
    """What a crash of the database takes back of flags, and what it may not bring about."""

    def _crash_taking_back(self, highest: int) -> None:
        """Put the inbox back to before a change, and leave what recovery leaves."""
        self.sql("UPDATE messages SET flags = 0, modseq = 2 WHERE mailbox_id = %s", (self.inbox,))
        counters = "UPDATE mailboxes SET highest_modseq = %s, unseen = 3, changed_modseq = 0 WHERE id = %s"
        self.sql(counters, (highest, self.inbox))
        self.sql("TRUNCATE unbroken")

    async def test_a_modseq_that_was_taken_back_is_given_to_no_other_change(self) -> None:
        before = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        (seen,) = await self.store_flags(self.inbox, (1,), SEEN)
        self._crash_taking_back(before)
        other = await self.open()
        (stored,) = await other.messages.store(self.inbox, [FlagChange((2,), Change.ADD, FLAGGED, ())])
        self.assertGreater(stored.modseq, seen.modseq + 1)
        changes = await other.mailboxes.changes(self.inbox, ModSeq(before))
        self.assertEqual((list(changes.columns.uids), changes.whole), ([2], False))
        later = await other.mailboxes.changes(self.inbox, stored.modseq)
        self.assertEqual((list(later.columns.uids), later.whole), ([], False))

    async def test_who_knows_of_a_change_that_was_taken_back_is_given_the_mailbox_anew(self) -> None:
        before = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        live = Live(self.store.mailboxes, self.store.feed)
        mailbox = await live.open(self.account, "INBOX", claim_recent=True)
        self.addCleanup(mailbox.close)
        await mailbox.absorb_stored(await self.store_flags(self.inbox, (1,), SEEN))
        self.assertEqual(list(mailbox.version.flags), [SEEN, 0, 0])
        self._crash_taking_back(before)
        await self.open()
        await mailbox.refresh()
        self.assertEqual(list(mailbox.version.flags), [0, 0, 0])
        await mailbox.absorb_stored(await self.store_flags(self.inbox, (3,), SEEN))
        self.assertEqual(list(mailbox.version.flags), [0, 0, SEEN])

    async def test_a_server_that_was_stopped_in_order_goes_on_counting_and_one_that_crashed_leaves_a_gap(self) -> None:
        for how, gap in ((signal.SIGINT, False), (signal.SIGQUIT, True)):
            before = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
            await self.store.stop()
            self.sql("CHECKPOINT")
            server().halt(how)
            server().start()
            self.store = await self.open()
            row = await self.store.mailboxes.find(self.account, "INBOX")
            self.assertEqual(row.highest_modseq > before, gap, how)
            self.assertEqual((await self.store.mailboxes.find(self.account, "INBOX")).messages, 3)
