"""What only the database can show: one round trip, several processes at once, and the numbers they must agree on."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from sora.aio import gather
from sora.core.criteria import All, Criteria
from sora.core.errors import Busy, DatabaseUnavailable, NoSuchMailbox
from sora.core.events import FeedLost, MailboxChanged
from sora.core.flags import ANSWERED, DELETED, FLAGGED, SEEN, Change
from sora.core.ids import MailboxId, ModSeq, Uid
from sora.postgres.store import PostgresStore, open_store
from sora.store.model import Actor, Changes, FlagChange, Inserted, Named, NewMailbox, Want
from tests.contract.mail import message, new_body, new_message
from tests.integration.database import DatabaseTests, server

BOXES = (NewMailbox("INBOX"), NewMailbox("Work"))


class StoreTests(DatabaseTests):
    """One account, and as many stores on its database as processes would have."""

    pool_max = 8

    async def _set_up(self) -> None:
        await super()._set_up()
        self.account = await self.store.accounts.create("alice@example.org", "hash", BOXES)
        self.actor = Actor(self.account, "alice@example.org", "imap", "1")
        self.inbox = (await self.store.mailboxes.find(self.account, "INBOX")).id
        self.work = (await self.store.mailboxes.find(self.account, "Work")).id

    async def fill(self, count: int, **around: Any) -> list[Uid]:
        inserted = await self.store.messages.insert([new_message(self.inbox, **around) for _ in range(count)])
        return [one.uid for one in inserted if isinstance(one, Inserted)]

    async def clean(self) -> None:
        """Fail unless the audit finds nothing."""
        self.assertEqual(await self.store.audit.findings(), [])


class RoundTripTests(StoreTests):
    """House rule: one round trip per operation."""

    async def trips(self, operation: Callable[[], Awaitable[Any]]) -> int:
        """Count what connections send; opening another sends one statement of its own."""
        before, opened = self._sent()
        await operation()
        after, now_open = self._sent()
        return (after - before) - (now_open - opened)

    def _sent(self) -> tuple[int, int]:
        connections = self.store.pool.connections
        return sum(connection.statements for connection in connections), len(connections)

    async def test_each_operation_is_one_round_trip_even_the_first_time(self) -> None:
        await self.fill(3, flags=DELETED)
        boxes, messages = self.store.mailboxes, self.store.messages
        change = FlagChange((1, 2), Change.ADD, SEEN, ("word",))
        for name, operation in {
            "login": lambda: self.store.accounts.login("alice@example.org"),
            "recipients": lambda: self.store.accounts.recipients(["alice@example.org", "bob@example.org"]),
            "listing": lambda: boxes.listing(self.account),
            "insert": lambda: messages.insert([new_message(self.inbox), new_message(self.work)]),
            "open": lambda: boxes.open(self.account, "INBOX", claim_recent=True),
            "changes": lambda: boxes.changes(self.inbox, ModSeq(1)),
            "fetch": lambda: messages.fetch(self.inbox, [1, 2, 3], Want.ENVELOPE | Want.SIZE | Want.BYTES),
            "store": lambda: messages.store(self.inbox, [change, change]),
            "copy": lambda: messages.copy(self.inbox, [1, 2], self.work),
            "copy to a name": lambda: messages.copy(self.inbox, [1], Named(self.account, "Work")),
            "move": lambda: messages.move(self.inbox, [1], self.work, self.actor),
            "expunge": lambda: messages.expunge(self.inbox, None, self.actor),
            "search": lambda: messages.search(self.inbox, Criteria((All(),)), recent_from=Uid(1), uid_max=9),
            "staged": lambda: self.store.bodies.staged([]),
        }.items():
            for time in ("first", "second"):
                self.assertEqual(await self.trips(operation), 1, f"{name}, {time} time")

    async def test_what_arrives_in_one_turn_goes_together(self) -> None:
        insert, login = self.store.messages.insert, self.store.accounts.login
        self.assertEqual(await self.trips(lambda: gather([insert([new_message(self.inbox)]) for _ in range(32)])), 1)
        self.assertEqual(await self.trips(lambda: gather([login("alice@example.org") for _ in range(32)])), 1)
        changes, gone = self.store.mailboxes.changes, MailboxId(987_654)
        asked = [(self.inbox, ModSeq(0)), (self.work, ModSeq(0)), (self.inbox, ModSeq(10**9))]
        found: list[Changes] = []

        async def refresh() -> None:
            waits = [changes(*one) for one in asked]
            deleted = changes(gone, ModSeq(0))
            found.extend(await gather(waits))
            with self.assertRaises(NoSuchMailbox):
                await deleted

        self.assertEqual(await self.trips(refresh), 1)
        self.assertEqual([len(one.columns.uids) for one in found], [32, 0, 0])
        self.assertEqual([one.mailbox.id for one in found], [self.inbox, self.work, self.inbox])
        self.assertEqual((await self.store.mailboxes.find(self.account, "INBOX")).messages, 32)

    async def test_batches_are_bounded_by_octets(self) -> None:
        body = new_body(message("large", text="x" * 1_500_000))
        insert = self.store.messages.insert
        trips = await self.trips(lambda: gather([insert([new_message(self.inbox, body=body)]) for _ in range(4)]))
        self.assertEqual(trips, 2)

    async def test_cancelling_one_delivery_of_a_batch_harms_no_other(self) -> None:
        first, second, third = (self.store.messages.insert([new_message(self.inbox)]) for _ in range(3))
        second.cancel()
        with self.assertRaises(CancelledError):
            await second
        await gather([first, third])
        self.assertEqual((await self.store.mailboxes.find(self.account, "INBOX")).messages, 2)

    async def test_a_delivery_that_breaks_its_batch_breaks_alone(self) -> None:
        bad = new_message(self.inbox)
        bad.body.hash = b"short"
        good, broken = self.store.messages.insert([new_message(self.inbox)]), self.store.messages.insert([bad])
        self.assertEqual((await good)[0].uid, 1)
        with self.assertRaisesRegex(Exception, "bodies_hash_check"):
            await broken
        await self.clean()


class ParallelTests(StoreTests):
    """Several processes on one mailbox."""

    async def others(self, count: int) -> list[PostgresStore]:
        return [self.store, *[await self.open() for _ in range(count - 1)]]

    async def test_v7_fifty_parallel_deliveries_get_fifty_successive_uids(self) -> None:
        stores = await self.others(3)
        seen: list[list[int]] = []

        def watch(event: MailboxChanged | FeedLost) -> None:
            seen.append([])

        self.store.feed.subscribe(self.inbox, watch)
        inserted = await gather([stores[n % 3].messages.insert([new_message(self.inbox)]) for n in range(50)])
        self.assertEqual(sorted(one.uid for (one,) in inserted), list(range(1, 51)))
        by_uid = sorted((one.uid, one.modseq) for (one,) in inserted)
        self.assertEqual([modseq for _, modseq in by_uid], sorted(modseq for _, modseq in by_uid))
        self.assertEqual((await self.store.mailboxes.find(self.account, "INBOX")).uid_next, 51)
        await self.clean()

    async def test_v4_a_reader_who_follows_the_modseqs_misses_nothing(self) -> None:
        stores = await self.others(3)
        deliveries = [stores[n % 3].messages.insert([new_message(self.inbox)]) for n in range(60)]
        done = gather(deliveries)
        pending = Deferred.fromCoroutine(done)
        known: list[int] = []
        since = ModSeq(0)
        while not pending.called or len(known) < 60:
            changes = await self.store.mailboxes.changes(self.inbox, since)
            known.extend(changes.columns.uids)
            since = changes.mailbox.highest_modseq
        await pending
        self.assertEqual(known, list(range(1, 61)))

    async def test_v9_a_mailbox_made_again_has_a_greater_uidvalidity(self) -> None:
        last = (await self.store.mailboxes.find(self.account, "Work")).uid_validity
        for _ in range(3):
            await self.store.mailboxes.delete(self.account, "Work", self.actor)
            again = await self.store.mailboxes.create(self.account, NewMailbox("Work"))
            self.assertGreater(again.uid_validity, last)
            last = again.uid_validity
        self.assertEqual(len(self.sql("SELECT 1 FROM former_mailboxes WHERE name = 'Work'")), 3)

    async def test_v10_parallel_changes_of_different_flags_all_survive(self) -> None:
        (uid,) = await self.fill(1)
        stores = await self.others(3)
        changes = [
            FlagChange((uid,), Change.ADD, bits, words)
            for bits, words in ((SEEN, ()), (FLAGGED, ("one",)), (ANSWERED, ("two",)), (0, ("three",)))
        ] * 3
        await gather([stores[n % 3].messages.store(self.inbox, [change]) for n, change in enumerate(changes)])
        columns = (await self.store.mailboxes.open(self.account, "INBOX", claim_recent=False)).columns
        self.assertEqual(list(columns.flags), [SEEN | FLAGGED | ANSWERED])
        self.assertEqual(set(columns.keywords[uid]), {"one", "two", "three"})

    async def test_v10_of_parallel_conditional_changes_only_one_is_made(self) -> None:
        (uid,) = await self.fill(1)
        stores = await self.others(3)
        since = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        changes = [FlagChange((uid,), Change.ADD, bit, (), unchanged_since=since) for bit in (SEEN, FLAGGED, ANSWERED)]
        results = await gather(
            [store.messages.store(self.inbox, [c]) for store, c in zip(stores, changes, strict=True)]
        )
        self.assertEqual(sorted(len(result.refused) for (result,) in results), [0, 1, 1])

    async def test_v11_counters_equal_a_recount_after_any_interleaving(self) -> None:
        stores = await self.others(3)
        chance = random.Random(7)  # noqa: S311  the same every time
        boxes = (self.inbox, self.work)
        await self.fill(20)

        def step() -> "Deferred[Any]":
            messages = chance.choice(stores).messages
            here, there = chance.choice(boxes), chance.choice(boxes)
            uids = chance.sample(range(1, 80), 6)
            change = FlagChange(
                tuple(uids), chance.choice(list(Change)), chance.choice((SEEN, DELETED, SEEN | DELETED)), ("k",)
            )
            return chance.choice(
                (
                    lambda: messages.insert([new_message(here, flags=chance.choice((0, SEEN, DELETED)))]),
                    lambda: messages.store(here, [change]),
                    lambda: messages.copy(here, uids, there),
                    lambda: messages.move(here, uids, there, self.actor),
                    lambda: messages.expunge(here, uids, self.actor),
                )
            )()

        for _ in range(12):
            await gather([step() for _ in range(10)])
        await self.clean()

    async def test_v12_opposite_moves_at_once_neither_deadlock_nor_lose(self) -> None:
        await self.fill(20)
        stores = await self.others(3)
        everything = list(range(1, 200))
        for _ in range(5):
            await gather(
                [
                    stores[n % 3].messages.move(*(boxes[0], everything, boxes[1], self.actor))
                    for n, boxes in enumerate([(self.inbox, self.work), (self.work, self.inbox)] * 3)
                ]
            )
        listing = await self.store.mailboxes.listing(self.account)
        self.assertEqual(sum(mailbox.messages for mailbox in listing.mailboxes), 20)
        await self.clean()

    async def test_a_lock_not_granted_in_time_is_busy(self) -> None:
        store = await self.open(lock_timeout=0.1)
        blocker = self.store.pool.run(
            lambda c: c.query("BEGIN; SELECT FROM mailboxes FOR UPDATE; SELECT pg_sleep(0.5); ROLLBACK")
        )
        while not self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            pass
        with self.assertRaises(Busy):
            await store.messages.insert([new_message(self.inbox)])
        await blocker

    async def test_no_two_uploaders_claim_the_same_body(self) -> None:
        await self.fill(20)
        stores = await self.others(3)
        claims = await gather([store.bodies.claim_uploads(10, 60.0) for store in stores])
        claimed = [upload.ref.id for uploads in claims for upload in uploads]
        self.assertEqual((len(claimed), len(set(claimed))), (20, 20))

    async def test_d10_a_body_delivered_while_it_is_collected_stays_or_is_new(self) -> None:
        stores = await self.others(3)
        raw = message("again and again")
        for _ in range(10):
            await self.store.messages.insert([new_message(self.inbox, raw, flags=DELETED)])
            await self.store.messages.expunge(self.inbox, None, self.actor)
            await gather(
                [
                    stores[1].bodies.collect(grace=0.0, generation=0.0, limit=100),
                    stores[2].messages.insert([new_message(self.work, raw)]),
                    stores[0].bodies.collect(grace=0.0, generation=0.0, limit=100),
                ]
            )
        await self.clean()
        self.assertEqual((await self.store.mailboxes.find(self.account, "Work")).messages, 10)


class ReadingTests(StoreTests):
    """What the packed columns and the change cursor must get right."""

    async def test_v8_the_largest_uids_travel_unharmed(self) -> None:
        self.sql("UPDATE mailboxes SET uid_next = 4294967294 WHERE name = 'INBOX'")
        first = await self.fill(2)
        self.assertEqual(first, [4294967294, 4294967295])
        opened = await self.store.mailboxes.open(self.account, "INBOX", claim_recent=False)
        self.assertEqual(list(opened.columns.uids), first)
        found = await self.store.messages.search(self.inbox, Criteria((All(),)), recent_from=Uid(1), uid_max=4294967295)
        self.assertEqual(list(found.uids), first)

    async def test_changes_after_any_modseq_are_complete(self) -> None:
        await self.fill(3)
        await self.store.messages.store(self.inbox, [FlagChange((2,), Change.ADD, SEEN, ())])
        await self.fill(2)
        await self.store.messages.store(self.inbox, [FlagChange((4,), Change.ADD, DELETED, ())])
        await self.store.messages.expunge(self.inbox, None, self.actor)
        await self.fill(1)
        opened = await self.store.mailboxes.open(self.account, "INBOX", claim_recent=False)
        now = dict(zip(opened.columns.uids, opened.columns.modseqs, strict=True))
        for since in range(opened.mailbox.highest_modseq + 1):
            changes = await self.store.mailboxes.changes(self.inbox, ModSeq(since))
            self.assertEqual(list(changes.columns.uids), sorted(uid for uid, modseq in now.items() if modseq > since))

    async def test_arrivals_are_found_without_reading_the_whole_mailbox(self) -> None:
        await self.fill(1)
        self.sql(
            "INSERT INTO messages SELECT mailbox_id, n, body_id, 2, 1, 1, now(), now(), size, 0, NULL, ''"
            " FROM messages, generate_series(2, 5000) AS n;"
            " UPDATE mailboxes SET uid_next = 5001 WHERE name = 'INBOX'; ANALYZE messages"
        )
        since = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        await self.fill(3)
        # The eighth time too: from the sixth on PostgreSQL may use a plan made for any values.
        look = f"SELECT arrivals_from({self.inbox}, {since}, 0); "
        rows = self.sql(
            look * 8 + "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'messages'"
        )
        self.assertLess(rows[0][0], 8 * 20)
        self.assertEqual(self.sql(look), [(5001,)])

    async def test_many_arrivals_are_found_in_several_pages(self) -> None:
        await self.fill(3)
        since = (await self.store.mailboxes.find(self.account, "INBOX")).highest_modseq
        await self.fill(100)
        changes = await self.store.mailboxes.changes(self.inbox, since)
        self.assertEqual(list(changes.columns.uids), list(range(4, 104)))

    async def test_text_that_postgresql_cannot_hold_does_not_stop_a_delivery(self) -> None:
        strange = "a\0b\udc80c"
        body = new_body(message("strange"), subject=strange, fields={"subject": strange}, body_text=strange)
        ((inserted),) = await self.store.messages.insert([new_message(self.inbox, body=body)])
        self.assertIsInstance(inserted, Inserted)


class StandbyTests(StoreTests):
    """Reading from a second server: here the same one, or none."""

    async def reading(self, **changed: Any) -> PostgresStore:
        """Open a store with a read endpoint."""
        standby = server().settings(self.settings.name, writable=False, **changed)
        store = open_store(self.settings, reactor, reading=standby)
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    async def test_fetch_is_served_by_the_read_endpoint(self) -> None:
        uids = await self.fill(3)
        store = await self.reading()
        before = store.pool.counters.round_trips
        rows = await store.messages.fetch(self.inbox, uids, Want.SIZE)
        self.assertEqual([row.uid for row in rows], uids)
        self.assertEqual(store.pool.counters.round_trips, before)

    async def test_the_primary_serves_while_the_read_endpoint_is_away(self) -> None:
        uids = await self.fill(3)
        store = await self.reading(socket_dir="/nowhere")
        rows = await store.messages.fetch(self.inbox, uids, Want.SIZE)
        self.assertEqual([row.uid for row in rows], uids)


class FeedTests(StoreTests):
    """The feed comes back by itself."""

    async def test_listeners_are_told_of_the_loss_and_again_when_changes_are_heard(self) -> None:
        events: list[object] = []
        wake: list[Deferred[None]] = []

        def hear(event: MailboxChanged | FeedLost) -> None:
            events.append(event)
            if wake:
                wake.pop().callback(None)

        self.store.feed.subscribe(self.inbox, hear)
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%%'",
        )
        while len(events) < 2:
            wake.append(Deferred())
            await wake[-1]
        self.assertEqual(events, [FeedLost(), FeedLost()])
        await self.fill(1)
        while len(events) < 3:
            wake.append(Deferred())
            await wake[-1]
        self.assertEqual(events[2].mailbox, self.inbox)

    async def test_a_change_of_hundreds_of_mailboxes_is_announced_whole(self) -> None:
        heard: set[MailboxId] = set()
        done: Deferred[None] = Deferred()

        def hear(event: MailboxChanged | FeedLost) -> None:
            heard.add(event.mailbox)
            if len(heard) == 400:
                done.callback(None)

        for mailbox in range(1, 401):
            self.store.feed.subscribe(MailboxId(mailbox), hear)
        self.sql("SELECT announce(array_agg(n), array_agg(9000000000000000000)) FROM generate_series(1, 400) AS n")
        await done

    async def test_a_stopped_store_refuses_work(self) -> None:
        store = await self.open()
        await store.stop()
        with self.assertRaises(DatabaseUnavailable):
            await store.mailboxes.listing(self.account)
