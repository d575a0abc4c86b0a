"""The contract of `store.interfaces.Messages`: insertion, numbering, duplicates, reading; with flags and transfers."""

import random
from datetime import UTC, datetime, timedelta, timezone

from sora.aio import gather
from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox, UidsExhausted
from sora.core.flags import DELETED, FLAGGED, SEEN, Change
from sora.core.ids import UID_MAX, MailboxId
from sora.store.model import FlagChange, Named, Want
from tests.contract.base import FIRST, HASH, StoreContract
from tests.contract.flags import FlagsContract
from tests.contract.mail import message, new_body, new_message
from tests.contract.transfers import TransfersContract
from tests.contract.whole import WholeContract

LINE = "Delivered-To: alice@example.org"


class InsertContract(StoreContract):
    """Insertion, UIDs and suppression of duplicates."""

    async def test_an_inserted_message_has_the_next_uid_and_a_new_modseq(self) -> None:
        before = await self.row()
        (first,) = await self.insert(new_message(self.inbox))
        (second,) = await self.insert(new_message(self.inbox))
        self.assertEqual((first.uid, second.uid), (before.uid_next, before.uid_next + 1))
        self.assertEqual(first.uid_validity, before.uid_validity)
        self.assertLess(before.highest_modseq, first.modseq)
        self.assertLess(first.modseq, second.modseq)
        self.assertFalse(first.duplicate)
        after = await self.row()
        self.assertEqual((after.uid_next, after.highest_modseq), (3, second.modseq))

    async def test_a_batch_goes_to_several_mailboxes_in_its_order(self) -> None:
        results = await self.insert(*[new_message(box) for box in (self.inbox, self.work, self.inbox, self.work)])
        self.assertEqual([done.uid for done in results], [1, 1, 2, 2])

    async def test_a_batch_has_one_modseq_in_each_mailbox(self) -> None:
        before = (await self.row()).highest_modseq
        results = await self.insert(*[new_message(self.inbox) for _ in range(3)])
        self.assertEqual({done.modseq for done in results}, {before + 1})

    async def test_a_mailbox_is_found_by_its_name_among_others_by_their_ids(self) -> None:
        named = [Named(self.account, name) for name in ("Work", "None", "INBOX")]
        results = await self.store.messages.insert([new_message(box) for box in (self.inbox, *named, self.work)])
        self.assertIsInstance(results.pop(2), NoSuchMailbox)
        self.assertEqual([done.uid for done in results], [1, 1, 2, 2])
        self.assertEqual([(await self.row()).messages, (await self.row("Work")).messages], [2, 2])

    async def test_an_empty_batch_is_harmless(self) -> None:
        self.assertEqual(await self.store.messages.insert([]), [])

    async def test_one_member_that_cannot_be_stored_does_not_harm_the_others(self) -> None:
        results = await self.store.messages.insert(
            [new_message(self.inbox), new_message(MailboxId(987_654)), new_message(self.inbox)]
        )
        self.assertIsInstance(results[1], NoSuchMailbox)
        self.assertEqual([results[0].uid, results[2].uid], [1, 2])
        self.assertEqual((await self.row()).messages, 2)

    async def test_mail_for_a_deleted_mailbox_is_refused(self) -> None:
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        with self.assertRaises(NoSuchMailbox):
            await self.insert(new_message(self.work))

    async def test_v7_uids_of_parallel_deliveries_are_strictly_increasing_and_without_gaps(self) -> None:
        results = await gather([self.store.messages.insert([new_message(self.inbox)]) for _ in range(50)])
        numbers = sorted((done.uid, done.modseq) for (done,) in results)
        self.assertEqual([uid for uid, _ in numbers], list(range(1, 51)))
        self.assertEqual([modseq for _, modseq in numbers], sorted(modseq for _, modseq in numbers))
        row = await self.row()
        self.assertEqual((row.uid_next, row.messages), (51, 50))
        self.assertEqual(row.highest_modseq, numbers[-1][1])

    async def test_v8_the_last_uid_is_given_out_and_then_the_mailbox_is_full(self) -> None:
        await self.set_uid_next(self.inbox, UID_MAX)
        results = await self.store.messages.insert([new_message(self.inbox), new_message(self.inbox)])
        self.assertEqual(results[0].uid, UID_MAX)
        self.assertIsInstance(results[1], UidsExhausted)
        with self.assertRaises(UidsExhausted):
            await self.insert(new_message(self.inbox))
        self.assertEqual(await self.uids(), [UID_MAX])
        self.assertEqual((await self.row()).messages, 1)
        (work,) = await self.insert(new_message(self.work))
        self.assertEqual(work.uid, 1)

    async def test_v8_large_uids_survive_every_way_through_the_store(self) -> None:
        await self.set_uid_next(self.inbox, 2**31)
        (uid,) = await self.fill(1)
        self.assertEqual(uid, 2**31)
        self.assertEqual((await self.change([uid], Change.ADD, DELETED)).columns.uids[0], uid)
        _, gone = await self.store.messages.expunge(self.inbox, [uid], self.actor)
        self.assertEqual(list(gone), [uid])
        self.assertEqual((await self.row()).uid_next, 2**31 + 1)

    async def test_keywords_keep_the_spelling_first_used_in_the_mailbox(self) -> None:
        await self.insert(new_message(self.inbox, keywords=("Important",)))
        (second,) = await self.insert(new_message(self.inbox, keywords=("IMPORTANT", "$Later")))
        self.assertEqual((await self.flags_of(second.uid))[1], {"Important", "$Later"})
        self.assertEqual(set((await self.row()).keywords), {"Important", "$Later"})

    async def test_too_many_keywords_are_refused(self) -> None:
        many = tuple(f"k{number}" for number in range(limits.KEYWORDS_PER_MESSAGE_MAX + 1))
        with self.assertRaises(LimitReached):
            await self.insert(new_message(self.inbox, keywords=many))
        self.assertEqual((await self.row()).messages, 0)

    # ------------------------------------------------------------ duplicates

    async def test_d3_a_delivery_repeated_within_the_window_is_stored_once(self) -> None:
        raw = message("Once")
        (first,) = await self.insert(new_message(self.inbox, raw, suppress=(LINE, 3600.0)))
        (again,) = await self.insert(new_message(self.inbox, raw, suppress=(LINE, 3600.0), trace=b"Received: 2\r\n"))
        self.assertTrue(again.duplicate)
        self.assertEqual((again.uid, again.uid_validity), (first.uid, first.uid_validity))
        self.assertEqual((await self.row()).messages, 1)

    async def test_d3_a_repetition_within_one_batch_is_stored_once(self) -> None:
        body = new_body(message("Once"))
        results = await self.insert(*[new_message(self.inbox, body=body, suppress=(LINE, 3600.0)) for _ in range(2)])
        self.assertEqual([done.duplicate for done in results], [False, True])
        self.assertEqual((await self.row()).messages, 1)

    async def test_d3_different_mails_with_one_message_id_are_both_kept(self) -> None:
        for text in ("one", "two"):
            raw = message(text, message_id="<same@example.com>")
            (done,) = await self.insert(new_message(self.inbox, raw, suppress=(LINE, 3600.0)))
            self.assertFalse(done.duplicate)
        self.assertEqual((await self.row()).messages, 2)

    async def test_d3_the_same_mail_for_another_line_account_or_without_window_is_kept(self) -> None:
        bob = await self.store.accounts.create("bob@example.org", HASH, FIRST)
        inbox = (await self.store.mailboxes.find(bob, "INBOX")).id
        raw = message("Once")
        for where, suppress in (
            (self.inbox, (LINE, 3600.0)),
            (self.inbox, ("Delivered-To: alice+list@example.org", 3600.0)),
            (inbox, (LINE, 3600.0)),
            (self.inbox, None),
        ):
            (done,) = await self.insert(new_message(where, raw, suppress=suppress))
            self.assertFalse(done.duplicate)

    async def test_d3_a_repetition_of_what_moved_on_is_still_suppressed(self) -> None:
        raw = message("Once")
        (first,) = await self.insert(new_message(self.inbox, raw, suppress=(LINE, 3600.0)))
        await self.store.messages.move(self.inbox, [first.uid], self.work, self.actor)
        (again,) = await self.insert(new_message(self.inbox, raw, suppress=(LINE, 3600.0)))
        self.assertEqual((again.duplicate, again.uid, again.modseq), (True, 0, 0))
        self.assertEqual(await self.uids(), [])

    # ------------------------------------------------------------ bodies are shared within their scope

    async def test_one_body_serves_many_messages_of_its_scope_and_no_other(self) -> None:
        raw = message("Shared")
        here, there, elsewhere = await self.insert(
            new_message(self.inbox, body=new_body(raw)),
            new_message(self.work, body=new_body(raw)),
            new_message(self.work, body=new_body(raw, scope="domain/example.net")),
        )
        self.assertEqual(here.body.id, there.body.id)
        self.assertEqual(here.body.object_key, there.body.object_key)
        self.assertNotEqual(here.body.id, elsewhere.body.id)
        self.assertEqual(await self.store.bodies.staged([here.body.id]), {here.body.id: raw})

    # ------------------------------------------------------------ V11

    async def recounted(self, name: str) -> None:
        """Compare a mailbox's counters with its messages."""
        opened = await self.opened(name)
        columns, row = opened.columns, opened.mailbox
        rows = await self.store.messages.fetch(row.id, list(columns.uids), Want.SIZE)
        sizes = {fetched.uid: fetched.size for fetched in rows}
        flags = dict(zip(columns.uids, columns.flags, strict=True))
        counted = {
            "messages": len(flags),
            "unseen": sum(not bits & SEEN for bits in flags.values()),
            "deleted": sum(bool(bits & DELETED) for bits in flags.values()),
            "size": sum(sizes.values()),
            "deleted_size": sum(sizes[uid] for uid, bits in flags.items() if bits & DELETED),
        }
        self.assertEqual({key: getattr(row, key) for key in counted}, counted)
        self.assertTrue(all(uid < row.uid_next for uid in flags))
        self.assertTrue(all(modseq <= row.highest_modseq for modseq in columns.modseqs))

    async def test_v11_counters_equal_a_recount_after_any_interleaving(self) -> None:
        for seed in (1, 2):
            chance = random.Random(seed)  # noqa: S311  the same interleavings each time
            ids = {"INBOX": self.inbox, "Work": self.work}

            def step(chance=chance, ids=ids):
                name = chance.choice(list(ids))
                other = chance.choice(list(ids))
                uids = sorted(chance.sample(range(1, 40), 6))
                bits = chance.choice([SEEN, DELETED, FLAGGED, SEEN | DELETED])
                change = FlagChange(tuple(uids), chance.choice(list(Change)), bits, ())
                match chance.randrange(6):
                    case 0 | 1:
                        return self.store.messages.insert([new_message(ids[name], flags=bits) for _ in range(3)])
                    case 2 | 3:
                        return self.store.messages.store(ids[name], [change])
                    case 4:
                        return self.store.messages.expunge(ids[name], None, self.actor)
                    case _ if chance.random() < 0.5:
                        return self.store.messages.copy(ids[name], uids, ids[other])
                    case _:
                        return self.store.messages.move(ids[name], uids, ids[other], self.actor)

            for _ in range(15):
                await gather([step() for _ in range(3)])
                for name in ids:
                    await self.recounted(name)


class FetchContract(StoreContract):
    """Reading columns."""

    async def test_each_column_is_read_when_wanted_and_absent_when_not(self) -> None:
        raw = message("Columns", text="Hello there\r\n")
        date = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
        new = new_message(self.inbox, raw, trace=b"Return-Path: <a@b.c>\r\n", internal_date=date)
        (done,) = await self.insert(new)
        held = new.body.described
        row = await self.fetched(done.uid, Want.ENVELOPE | Want.STRUCTURE | Want.BODY | Want.PREVIEW)
        self.assertEqual((row.envelope, row.structure, row.body), (held.envelope, held.structure, held.body))
        self.assertEqual(row.preview, "Hello there")
        self.assertEqual((row.internal_date, row.size, row.trace, row.header, row.ref), (None,) * 5)
        row = await self.fetched(done.uid, Want.INTERNAL_DATE | Want.SAVE_DATE | Want.SIZE)
        self.assertEqual((row.internal_date, row.size), (date, len(raw) + len(new.trace)))
        self.assertEqual((row.envelope, row.trace, row.header, row.ref), (None,) * 4)
        row = await self.fetched(done.uid, Want.HEADER)
        self.assertEqual((row.trace, row.header), (new.trace, held.header))
        row = await self.fetched(done.uid, Want.BYTES)
        self.assertEqual((row.trace, row.ref), (new.trace, done.body))
        self.assertEqual((row.ref.size, row.ref.hash), (len(raw), new.body.hash))

    async def test_the_internal_date_is_now_unless_given(self) -> None:
        (uid,) = await self.fill(1)
        row = await self.fetched(uid, Want.INTERNAL_DATE | Want.SAVE_DATE)
        self.assertLess(abs(row.internal_date - row.save_date), timedelta(seconds=60))
        self.assertIsNotNone(row.internal_date.tzinfo)

    async def test_dates_come_back_in_utc(self) -> None:
        zone = timezone(timedelta(hours=5, minutes=30))
        (done,) = await self.insert(new_message(self.inbox, internal_date=datetime(2026, 2, 3, 4, 5, 6, tzinfo=zone)))
        row = await self.fetched(done.uid, Want.INTERNAL_DATE | Want.SAVE_DATE)
        self.assertEqual(row.internal_date, datetime(2026, 2, 2, 22, 35, 6, tzinfo=UTC))
        self.assertEqual((row.internal_date.utcoffset(), row.save_date.utcoffset()), (timedelta(0), timedelta(0)))

    async def test_odd_bytes_come_back_as_they_went_in(self) -> None:
        raw = b"Subject: \xff\xfe\r\n\r\n" + bytes(range(256)) + b"\\x00'\"%s%%\r\n"
        held = {"header": raw[:14], "envelope": b"(NIL \\ ' \xc3\xa9 %s)"}
        body = new_body(message("Odd"), **held)
        body.data, body.size = raw, len(raw)
        (done,) = await self.insert(new_message(self.inbox, body=body, trace=b"X: \\000 ' %s \xc3\xa9\r\n"))
        row = await self.fetched(done.uid, Want.HEADER | Want.ENVELOPE)
        self.assertEqual((row.trace, row.header), (b"X: \\000 ' %s \xc3\xa9\r\n", raw[:14]))
        self.assertEqual(row.envelope, held["envelope"])
        self.assertEqual((await self.store.bodies.staged([done.body.id]))[done.body.id], raw)

    async def test_a_listing_says_what_a_fetch_says_by_columns(self) -> None:
        texts = ((b"(NIL \\ ' \xc3\xa9 %s)", b"(1 2)"), (b"(\xff {2}\r\n\1\n)", b"()"), (b"()", b"(3)"))
        dates = [datetime(2026, 2, 3, 4, 5, 6, 999_999, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 58, 7, tzinfo=UTC)]
        for number, (envelope, structure) in enumerate(texts):
            body = new_body(message(str(number)), envelope=envelope, structure=structure, body=structure + b"b")
            moment = dates[number % 2]
            await self.insert(new_message(self.inbox, body=body, internal_date=moment, trace=b"X" * number))
        await self.fill(1, flags=DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        await self.fill(1)
        # More than once, since statements are prepared when they are first used.
        for _ in range(3):
            rows = await self.store.messages.fetch(self.inbox, [1, 2, 3, 4, 5], Want.LISTED)
            listed = await self.store.messages.listing(self.inbox, [5, 4, 3, 2, 1, 3], Want.LISTED)
            self.assertEqual((list(listed.uids), listed.uids.typecode), ([1, 2, 3, 5], "I"))
            self.assertEqual(list(listed.internal_dates), [int(row.internal_date.timestamp() // 1) for row in rows])
            self.assertEqual(list(listed.sizes), [row.size for row in rows])
            self.assertEqual(list(listed.envelopes), [row.envelope for row in rows])
            self.assertEqual(list(listed.structures), [row.structure for row in rows])
            self.assertEqual(list(listed.bodies), [row.body for row in rows])

    async def test_a_listing_reads_what_is_wanted_and_may_be_empty(self) -> None:
        await self.fill(2)
        for _ in range(2):
            listed = await self.store.messages.listing(self.inbox, [2], Want.SIZE)
            self.assertEqual((list(listed.uids), len(listed.sizes)), ([2], 1))
            self.assertEqual((listed.internal_dates, listed.envelopes, listed.structures, listed.bodies), ((),) * 4)
            nothing = await self.store.messages.listing(self.inbox, [9], Want.LISTED)
            self.assertEqual((list(nothing.uids), list(nothing.envelopes), list(nothing.sizes)), ([], [], []))
            self.assertEqual(list((await self.store.messages.listing(MailboxId(0), [1], Want.LISTED)).uids), [])

    async def test_a_header_too_large_to_be_stored_is_none(self) -> None:
        (done,) = await self.insert(new_message(self.inbox, body=new_body(message("Large"), header=None)))
        row = await self.fetched(done.uid, Want.HEADER)
        self.assertEqual((row.trace, row.header), (b"", None))

    async def test_rows_are_ascending_each_once_and_without_those_that_are_gone(self) -> None:
        uids = await self.fill(4, flags=DELETED)
        await self.store.messages.expunge(self.inbox, uids[1:2], self.actor)
        rows = await self.store.messages.fetch(self.inbox, [4, 1, 99, 2, 3, 1], Want.SIZE)
        self.assertEqual([row.uid for row in rows], [1, 3, 4])
        self.assertEqual(await self.store.messages.fetch(self.inbox, [], Want.SIZE), [])

    async def test_email_ids_tell_contents_apart_and_stay_on_copies(self) -> None:
        one, two = await self.fill(2)
        copied = await self.store.messages.copy(self.inbox, [one], self.work)
        want = Want.INTERNAL_DATE | Want.EMAIL | Want.THREAD
        first, second = await self.fetched(one, want), await self.fetched(two, want)
        copy = await self.fetched(copied.target[0], want, mailbox=self.work)
        self.assertNotEqual(first.email, second.email)
        self.assertEqual((copy.email, copy.thread), (first.email, first.thread))
        self.assertEqual(copy.internal_date, first.internal_date)


class MessagesContract(InsertContract, FetchContract, FlagsContract, TransfersContract, WholeContract):
    """Everything that `Messages` promises, but for searching."""
