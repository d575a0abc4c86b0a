"""The contract of insertions that are all or none, and of one message in the place of another."""

from sora.core.errors import LimitReached, NoSuchMailbox, NoSuchMessage, SoraError, UidsExhausted
from sora.core.flags import DELETED, SEEN
from sora.core.ids import UID_MAX, MailboxId
from sora.store.model import Named, Want
from tests.contract.base import StoreContract
from tests.contract.mail import message, new_message


class WholeContract(StoreContract):
    """`insert_whole` and `replace`."""

    async def test_messages_inserted_together_have_consecutive_uids_and_one_modseq(self) -> None:
        await self.fill(2)
        before = await self.row()
        first, second = new_message(self.inbox, flags=SEEN), new_message(self.inbox, keywords=("Word",))
        done = await self.store.messages.insert_whole([first, second])
        self.assertEqual([one.uid for one in done], [3, 4])
        self.assertEqual({one.modseq for one in done}, {before.highest_modseq + 1})
        after = await self.row()
        self.assertEqual((after.messages, after.unseen, after.highest_modseq), (4, 3, before.highest_modseq + 1))
        self.assertEqual(after.size, before.size + first.body.size + second.body.size)

    async def test_messages_for_a_named_mailbox_go_together(self) -> None:
        target = Named(self.account, "Work")
        done = await self.store.messages.insert_whole([new_message(target), new_message(target)])
        self.assertEqual([one.uid for one in done], [1, 2])
        self.assertEqual(await self.uids("Work"), [1, 2])

    async def test_if_one_cannot_be_stored_none_is(self) -> None:
        await self.fill(1)
        inbox, work = await self.row(), await self.row("Work")
        many = tuple(f"k{number}" for number in range(51))
        for wrong, error in (
            (new_message(MailboxId(987_654)), NoSuchMailbox),
            (new_message(Named(self.account, "Nowhere")), NoSuchMailbox),
            (new_message(self.work, keywords=many), LimitReached),
        ):
            with self.assertRaises(error):
                await self.store.messages.insert_whole([new_message(self.inbox, keywords=("New",)), wrong])
            self.assertEqual((await self.row(), await self.row("Work")), (inbox, work))
        self.assertEqual((await self.insert(new_message(self.inbox)))[0].uid, 2)

    async def test_if_uids_run_out_half_way_none_is_stored(self) -> None:
        await self.set_uid_next(self.inbox, UID_MAX)
        before = await self.row()
        with self.assertRaises(UidsExhausted):
            await self.store.messages.insert_whole([new_message(self.inbox), new_message(self.inbox)])
        self.assertEqual(await self.row(), before)

    # ------------------------------------------------------------ replace

    async def test_one_message_takes_the_place_of_another(self) -> None:
        uids = await self.fill(3, flags=DELETED)
        before = await self.row()
        old = await self.fetched(uids[1], Want.SIZE | Want.EMAIL)
        new = new_message(self.inbox, message(text="new" * 20), flags=SEEN)
        done = await self.store.messages.replace(self.inbox, uids[1], new, self.actor)
        self.assertEqual((done.uid, await self.uids()), (4, [uids[0], uids[2], 4]))
        after = await self.row()
        self.assertEqual((after.messages, after.deleted, after.unseen), (3, 2, 2))
        self.assertEqual(after.size, before.size - (old.size or 0) + new.body.size)
        self.assertEqual(after.highest_modseq, done.modseq)
        changes = await self.store.mailboxes.changes(self.inbox, before.highest_modseq)
        self.assertEqual((list(changes.vanished), list(changes.columns.uids)), ([uids[1]], [4]))
        self.assertNotEqual((await self.fetched(4, Want.EMAIL)).email, old.email)

    async def test_a_replacement_may_go_to_another_mailbox(self) -> None:
        (uid,) = await self.fill(1)
        new = new_message(Named(self.account, "Work"))
        done = await self.store.messages.replace(self.inbox, uid, new, self.actor)
        self.assertEqual((await self.uids(), await self.uids("Work")), ([], [done.uid]))
        self.assertEqual(done.uid_validity, (await self.row("Work")).uid_validity)
        self.assertEqual((await self.row()).messages, 0)

    async def test_what_cannot_be_replaced_or_stored_changes_nothing(self) -> None:
        (uid,) = await self.fill(1)
        before = await self.row()
        for old, target, error in (
            (99, self.inbox, NoSuchMessage),
            (uid, Named(self.account, "Nowhere"), NoSuchMailbox),
            (uid, MailboxId(987_654), NoSuchMailbox),
        ):
            with self.assertRaises(error):
                await self.store.messages.replace(self.inbox, old, new_message(target), self.actor)
            self.assertEqual(await self.row(), before)
        await self.set_uid_next(self.work, UID_MAX + 1)
        with self.assertRaises(SoraError):
            await self.store.messages.replace(self.inbox, uid, new_message(self.work), self.actor)
        self.assertEqual((await self.row(), await self.uids()), (before, [uid]))
