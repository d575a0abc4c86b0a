"""The contract of COPY, MOVE and EXPUNGE in the store."""

from sora.aio import gather
from sora.core.errors import NoSuchMailbox, UidsExhausted
from sora.core.flags import DELETED, FLAGGED, SEEN, Change
from sora.core.ids import UID_MAX, MailboxId, ModSeq
from sora.store.model import Named, Want
from tests.contract.base import StoreContract


class TransfersContract(StoreContract):
    """Messages that are copied, moved and expunged."""

    # ------------------------------------------------------------ copy

    async def test_v12_a_copy_maps_each_uid_to_its_copy(self) -> None:
        await self.fill(3, self.work)
        uids = await self.fill(3, flags=SEEN, keywords=("Word",))
        copied = await self.store.messages.copy(self.inbox, [uids[2], uids[0], 99], self.work)
        self.assertEqual((tuple(copied.source), tuple(copied.target)), ((uids[0], uids[2]), (4, 5)))
        self.assertEqual(copied.uid_validity, (await self.row("Work")).uid_validity)
        self.assertEqual(await self.flags_of(5, "Work"), (SEEN, {"Word"}))
        self.assertEqual(await self.uids(), uids)
        for source, target in zip(copied.source, copied.target, strict=True):
            original = await self.fetched(source, Want.ENVELOPE | Want.BYTES)
            copy = await self.fetched(target, Want.ENVELOPE | Want.BYTES, mailbox=self.work)
            self.assertEqual((copy.envelope, copy.ref), (original.envelope, original.ref))

    async def test_a_copy_of_what_is_gone_changes_nothing(self) -> None:
        before = await self.row("Work")
        copied = await self.store.messages.copy(self.inbox, [7, 8], self.work)
        self.assertEqual((tuple(copied.source), tuple(copied.target)), ((), ()))
        self.assertEqual(await self.row("Work"), before)

    async def test_a_copy_into_the_same_mailbox_makes_new_messages(self) -> None:
        uids = await self.fill(2)
        copied = await self.store.messages.copy(self.inbox, uids, self.inbox)
        self.assertEqual((tuple(copied.source), tuple(copied.target)), ((1, 2), (3, 4)))
        self.assertEqual((await self.row()).messages, 4)

    async def test_v12_a_copy_is_all_or_nothing(self) -> None:
        uids = await self.fill(3)
        await self.set_uid_next(self.work, UID_MAX - 1)
        with self.assertRaises(UidsExhausted):
            await self.store.messages.copy(self.inbox, uids, self.work)
        self.assertEqual(await self.uids("Work"), [])
        copied = await self.store.messages.copy(self.inbox, uids[:2], self.work)
        self.assertEqual(tuple(copied.target), (UID_MAX - 1, UID_MAX))

    async def test_v12_a_move_that_fails_leaves_the_source_whole(self) -> None:
        uids = await self.fill(3)
        before = await self.row()
        await self.set_uid_next(self.work, UID_MAX - 1)
        with self.assertRaises(UidsExhausted):
            await self.store.messages.move(self.inbox, uids, self.work, self.actor)
        with self.assertRaises(NoSuchMailbox):
            await self.store.messages.move(self.inbox, uids, MailboxId(987_654), self.actor)
        self.assertEqual(await self.uids(), uids)
        self.assertEqual(await self.row(), before)
        self.assertEqual(await self.uids("Work"), [])

    async def test_a_copy_into_a_mailbox_that_is_gone_is_an_error(self) -> None:
        uids = await self.fill(1)
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        with self.assertRaises(NoSuchMailbox):
            await self.store.messages.copy(self.inbox, uids, self.work)

    async def test_a_copy_spells_keywords_as_its_target_does(self) -> None:
        await self.fill(1, self.work, keywords=("IMPORTANT",))
        uids = await self.fill(1, keywords=("Important",))
        copied = await self.store.messages.copy(self.inbox, uids, self.work)
        self.assertEqual((await self.flags_of(copied.target[0], "Work"))[1], {"IMPORTANT"})

    # ------------------------------------------------------------ move

    async def test_v12_a_move_is_seen_from_both_sides(self) -> None:
        uids = await self.fill(4, flags=FLAGGED)
        source, target = await self.row(), await self.row("Work")
        moved = await self.store.messages.move(self.inbox, uids[1:3], self.work, self.actor)
        self.assertEqual((tuple(moved.source), tuple(moved.target)), ((2, 3), (1, 2)))
        self.assertEqual(await self.uids(), [1, 4])
        left = await self.store.mailboxes.changes(self.inbox, source.highest_modseq)
        self.assertEqual((list(left.vanished), list(left.columns.uids)), ([2, 3], []))
        came = await self.store.mailboxes.changes(self.work, target.highest_modseq)
        self.assertEqual((list(came.columns.uids), list(came.columns.flags)), ([1, 2], [FLAGGED] * 2))
        self.assertEqual((left.mailbox.messages, came.mailbox.messages), (2, 2))

    async def test_v12_a_move_within_one_mailbox_gives_new_uids_and_loses_nothing(self) -> None:
        uids = await self.fill(3, keywords=("Word",))
        size = (await self.row()).size
        moved = await self.store.messages.move(self.inbox, uids[:2], self.inbox, self.actor)
        self.assertEqual((tuple(moved.source), tuple(moved.target)), ((1, 2), (4, 5)))
        self.assertEqual(await self.uids(), [3, 4, 5])
        row = await self.row()
        self.assertEqual((row.messages, row.size, row.uid_next), (3, size, 6))
        self.assertEqual((await self.flags_of(4))[1], {"Word"})

    async def test_v12_two_moves_of_one_message_at_once_move_it_once(self) -> None:
        uids = await self.fill(3)
        sent = (await self.row("Sent")).id
        results = await gather(
            [self.store.messages.move(self.inbox, uids, target, self.actor) for target in (self.work, sent)]
        )
        self.assertEqual(sorted(source for done in results for source in done.source), uids)
        self.assertEqual(len(await self.uids("Work")) + len(await self.uids("Sent")), 3)
        self.assertEqual(await self.uids(), [])

    async def test_moves_in_opposite_directions_do_not_wait_for_each_other_for_ever(self) -> None:
        here, there = await self.fill(5), await self.fill(5, self.work)
        await gather(
            [
                self.store.messages.move(source, [uid], target, self.actor)
                for pair in zip(here, there, strict=True)
                for source, target, uid in ((self.inbox, self.work, pair[0]), (self.work, self.inbox, pair[1]))
            ]
        )
        self.assertEqual((len(await self.uids()), len(await self.uids("Work"))), (5, 5))

    async def test_a_move_of_what_is_gone_changes_nothing(self) -> None:
        before = await self.row()
        moved = await self.store.messages.move(self.inbox, [1, 2], self.work, self.actor)
        self.assertEqual(tuple(moved.source), ())
        self.assertEqual(await self.row(), before)

    # ------------------------------------------------------------ expunge

    async def test_only_deleted_messages_are_expunged(self) -> None:
        uids = await self.fill(4)
        await self.change(uids[1:3], Change.ADD, DELETED)
        before = await self.row()
        modseq, gone = await self.store.messages.expunge(self.inbox, None, self.actor)
        self.assertEqual((list(gone), gone.typecode), ([2, 3], "I"))
        self.assertGreater(modseq, before.highest_modseq)
        row = await self.row()
        self.assertEqual((row.messages, row.deleted, row.deleted_size, row.uid_next), (2, 0, 0, 5))
        self.assertEqual(row.highest_modseq, modseq)

    async def test_an_expunge_by_uid_spares_the_other_deleted_messages(self) -> None:
        uids = await self.fill(3, flags=DELETED)
        await self.change(uids[:1], Change.REMOVE, DELETED)
        _, gone = await self.store.messages.expunge(self.inbox, [1, 2, 99], self.actor)
        self.assertEqual(list(gone), [2])
        self.assertEqual(await self.uids(), [1, 3])

    async def test_an_expunge_of_nothing_changes_nothing(self) -> None:
        await self.fill(2)
        before = await self.row()
        _, gone = await self.store.messages.expunge(self.inbox, None, self.actor)
        self.assertEqual(list(gone), [])
        _, gone = await self.store.messages.expunge(self.inbox, [], self.actor)
        self.assertEqual(list(gone), [])
        self.assertEqual(await self.row(), before)

    async def test_two_expunges_at_once_name_each_message_once(self) -> None:
        uids = await self.fill(6, flags=DELETED)
        results = await gather([self.store.messages.expunge(self.inbox, None, self.actor) for _ in range(3)])
        self.assertEqual(sorted(uid for _, gone in results for uid in gone), uids)
        changes = await self.store.mailboxes.changes(self.inbox, ModSeq(0))
        self.assertEqual(list(changes.vanished), uids)

    async def test_an_expunged_uid_is_never_given_out_again(self) -> None:
        uids = await self.fill(2, flags=DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        self.assertEqual(await self.fill(1), [uids[-1] + 1])

    async def test_a_target_may_be_given_by_its_name(self) -> None:
        uids = await self.fill(2)
        copied = await self.store.messages.copy(self.inbox, uids[:1], Named(self.account, "Work"))
        self.assertEqual((copied.mailbox, tuple(copied.source), copied.left), (self.work, (uids[0],), None))
        moved = await self.store.messages.move(self.inbox, uids[1:], Named(self.account, "Work"), self.actor)
        inbox = await self.store.mailboxes.find(self.account, "INBOX")
        self.assertEqual((moved.mailbox, moved.left), (self.work, inbox.highest_modseq))
        for name in ("work", "Elsewhere"):
            with self.assertRaises(NoSuchMailbox):
                await self.store.messages.copy(self.inbox, uids[:1], Named(self.account, name))
