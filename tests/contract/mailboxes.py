"""The contract of `store.interfaces.Mailboxes`."""

from sora.core import limits
from sora.core.errors import (
    LimitReached,
    MailboxExists,
    MailboxHasChildren,
    MailboxNameInvalid,
    NoSuchMailbox,
    SpecialUseTaken,
)
from sora.core.flags import DELETED, FLAGGED, SEEN, Change
from sora.core.ids import MailboxId, ModSeq
from sora.store.model import NewMailbox
from tests.contract.base import FIRST, HASH, StoreContract
from tests.contract.mail import message, new_message


class MailboxesContract(StoreContract):
    """The tree of mailboxes, subscriptions, opening, and what changed."""

    async def names(self) -> list[str]:
        """Return the names of the account's mailboxes."""
        return [row.name for row in (await self.store.mailboxes.listing(self.account)).mailboxes]

    # ------------------------------------------------------------ rows

    async def test_a_new_mailbox_is_empty_and_numbers_begin_at_one(self) -> None:
        row = await self.row()
        self.assertEqual((row.messages, row.unseen, row.deleted, row.size, row.deleted_size, row.recent), (0,) * 6)
        self.assertEqual((row.uid_next, row.keywords, row.subscribed), (1, (), True))
        self.assertGreaterEqual(row.highest_modseq, 1)
        self.assertGreaterEqual(row.uid_validity, 1)

    async def test_the_listing_is_ascending_and_counted(self) -> None:
        new = new_message(self.inbox, message(text="x" * 50))
        await self.insert(new, new_message(self.inbox, flags=SEEN | DELETED))
        listing = await self.store.mailboxes.listing(self.account)
        self.assertEqual([row.name for row in listing.mailboxes], ["INBOX", "Sent", "Work"])
        inbox = listing.mailboxes[0]
        self.assertEqual((inbox.messages, inbox.unseen, inbox.deleted), (2, 1, 1))
        self.assertEqual(inbox.size - inbox.deleted_size, new.body.size)
        self.assertEqual(listing.mailboxes[1].special_use, "\\Sent")

    async def test_accounts_do_not_see_each_others_mailboxes(self) -> None:
        bob = await self.store.accounts.create("bob@example.org", HASH, FIRST[:1])
        with self.assertRaises(NoSuchMailbox):
            await self.store.mailboxes.find(bob, "Work")
        self.assertEqual(len((await self.store.mailboxes.listing(bob)).mailboxes), 1)

    async def test_a_mailbox_that_does_not_exist_is_not_found(self) -> None:
        for attempt in (self.store.mailboxes.find, self.opened_by):
            with self.assertRaises(NoSuchMailbox):
                await attempt(self.account, "Nowhere")

    def opened_by(self, account, name):
        """Open without claiming."""
        return self.store.mailboxes.open(account, name, claim_recent=False)

    # ------------------------------------------------------------ create and delete

    async def test_missing_parents_are_created(self) -> None:
        row = await self.store.mailboxes.create(self.account, NewMailbox("A/B/C", subscribed=True))
        self.assertEqual((row.name, row.subscribed), ("A/B/C", True))
        self.assertEqual(await self.names(), ["A", "A/B", "A/B/C", "INBOX", "Sent", "Work"])
        self.assertFalse((await self.row("A/B")).subscribed)

    async def test_a_special_use_belongs_to_one_mailbox(self) -> None:
        before = await self.names()
        with self.assertRaises(SpecialUseTaken):
            await self.store.mailboxes.create(self.account, NewMailbox("Post/Sent", "\\Sent"))
        self.assertEqual(await self.names(), before)
        row = await self.store.mailboxes.create(self.account, NewMailbox("Old", "\\Archive"))
        self.assertEqual(row.special_use, "\\Archive")
        await self.store.mailboxes.delete(self.account, "Old", self.actor)
        await self.store.mailboxes.create(self.account, NewMailbox("New", "\\Archive"))

    async def test_a_special_use_is_given_and_taken(self) -> None:
        use = self.store.mailboxes.set_special_use
        with self.assertRaises(SpecialUseTaken):
            await use(self.work, "\\Sent")
        await use((await self.row("Sent")).id, None)
        await use(self.work, "\\Sent")
        await use(self.work, "\\Sent")
        self.assertEqual(((await self.row("Sent")).special_use, (await self.row("Work")).special_use), (None, "\\Sent"))
        with self.assertRaises(NoSuchMailbox):
            await use(MailboxId(987_654), "\\Junk")

    async def test_an_account_with_nothing_but_inbox_is_furnished_once(self) -> None:
        account = await self.store.accounts.create("new@example.org", HASH, FIRST[:1])
        self.assertTrue((await self.store.accounts.login("new@example.org")).bare)
        wanted = [NewMailbox("INBOX", subscribed=True), NewMailbox("Sent", "\\Sent", subscribed=True), NewMailbox("X")]
        await self.store.mailboxes.furnish(account, wanted)
        found = await self.store.mailboxes.listing(account)
        shown = [(row.name, row.special_use, row.subscribed) for row in found.mailboxes]
        self.assertEqual(shown, [("INBOX", None, True), ("Sent", "\\Sent", True), ("X", None, False)])
        self.assertFalse((await self.store.accounts.login("new@example.org")).bare)
        await self.store.mailboxes.delete(account, "X", self.actor)
        await self.store.mailboxes.furnish(account, wanted)
        self.assertEqual(len((await self.store.mailboxes.listing(account)).mailboxes), 2)

    async def test_creating_what_exists_is_refused(self) -> None:
        with self.assertRaises(MailboxExists):
            await self.store.mailboxes.create(self.account, NewMailbox("Work"))

    async def test_names_that_differ_in_case_are_different(self) -> None:
        await self.store.mailboxes.create(self.account, NewMailbox("work"))
        self.assertNotEqual((await self.row("work")).id, (await self.row("Work")).id)

    async def test_l14_an_account_has_so_many_mailboxes_whichever_way_they_are_made(self) -> None:
        mailboxes = self.store.mailboxes
        self.patch(limits, "MAILBOXES_MAX", 4)
        with self.assertRaises(LimitReached):
            await mailboxes.create(self.account, NewMailbox("One/Two"))
        self.assertEqual(await self.names(), ["INBOX", "Sent", "Work"])
        await mailboxes.create(self.account, NewMailbox("One"))
        with self.assertRaises(LimitReached):
            await mailboxes.create(self.account, NewMailbox("Two"))
        with self.assertRaises(LimitReached):
            await mailboxes.rename_inbox(self.account, "Two", self.actor)
        with self.assertRaises(LimitReached):
            await mailboxes.rename(self.account, "One", "Two/One")
        await mailboxes.rename(self.account, "One", "Two")
        self.assertEqual(await self.names(), ["INBOX", "Sent", "Two", "Work"])

    async def test_l14_an_account_has_so_many_subscriptions(self) -> None:
        mailboxes = self.store.mailboxes
        had = len((await mailboxes.listing(self.account)).subscriptions)
        self.patch(limits, "SUBSCRIPTIONS_MAX", had + 1)
        await mailboxes.subscribe(self.account, "one")
        await mailboxes.subscribe(self.account, "one")
        with self.assertRaises(LimitReached):
            await mailboxes.subscribe(self.account, "two")
        await mailboxes.unsubscribe(self.account, "one")
        await mailboxes.subscribe(self.account, "two")

    async def test_patterns_in_names_are_plain_text(self) -> None:
        for name in ("50%", "a_b", "a*", "back\\slash", "Entwürfe", "日本"):
            await self.store.mailboxes.create(self.account, NewMailbox(name))
        await self.store.mailboxes.create(self.account, NewMailbox("axb/child"))
        await self.store.mailboxes.delete(self.account, "a_b", self.actor)
        self.assertIn("axb/child", await self.names())
        self.assertEqual((await self.row("日本")).name, "日本")

    async def test_a_mailbox_with_children_is_not_deleted(self) -> None:
        await self.store.mailboxes.create(self.account, NewMailbox("A/B"))
        with self.assertRaises(MailboxHasChildren):
            await self.store.mailboxes.delete(self.account, "A", self.actor)
        await self.store.mailboxes.delete(self.account, "A/B", self.actor)
        await self.store.mailboxes.delete(self.account, "A", self.actor)
        self.assertEqual(await self.names(), ["INBOX", "Sent", "Work"])

    async def test_deleting_ends_the_mailbox_and_its_messages(self) -> None:
        uids = await self.fill(2, self.work)
        self.assertEqual(await self.store.mailboxes.delete(self.account, "Work", self.actor), self.work)
        with self.assertRaises(NoSuchMailbox):
            await self.row("Work")
        with self.assertRaises(NoSuchMailbox):
            await self.store.mailboxes.changes(self.work, ModSeq(0))
        with self.assertRaises(NoSuchMailbox):
            await self.store.mailboxes.delete(self.account, "Work", self.actor)
        with self.assertRaises(NoSuchMailbox):
            await self.change(uids, Change.ADD, SEEN, mailbox=self.work)

    async def test_v9_a_mailbox_made_again_has_a_greater_uidvalidity(self) -> None:
        earlier = [(await self.row("Work")).uid_validity]
        for _ in range(3):
            await self.store.mailboxes.delete(self.account, "Work", self.actor)
            row = await self.store.mailboxes.create(self.account, NewMailbox("Work"))
            self.assertGreater(row.uid_validity, max(earlier))
            earlier.append(row.uid_validity)
        self.assertNotEqual(row.id, self.work)
        self.assertLess(row.uid_validity, 2**32)

    # ------------------------------------------------------------ rename

    async def test_a_rename_takes_the_tree_and_keeps_the_messages(self) -> None:
        await self.store.mailboxes.create(self.account, NewMailbox("Work/2026/March"))
        await self.store.mailboxes.create(self.account, NewMailbox("Workshop"))
        (uid,) = await self.fill(1, self.work)
        await self.store.mailboxes.rename(self.account, "Work", "Archive/Old")
        names = ["Archive", "Archive/Old", "Archive/Old/2026", "Archive/Old/2026/March", "INBOX", "Sent", "Workshop"]
        self.assertEqual(await self.names(), names)
        self.assertEqual((await self.row("Archive/Old")).id, self.work)
        self.assertEqual(await self.uids("Archive/Old"), [uid])

    async def test_a_rename_of_case_only_works(self) -> None:
        await self.store.mailboxes.rename(self.account, "Work", "WORK")
        self.assertEqual(await self.names(), ["INBOX", "Sent", "WORK"])

    async def test_a_rename_onto_another_mailbox_is_refused(self) -> None:
        with self.assertRaises(MailboxExists):
            await self.store.mailboxes.rename(self.account, "Work", "Sent")
        with self.assertRaises(NoSuchMailbox):
            await self.store.mailboxes.rename(self.account, "Nowhere", "Somewhere")
        self.assertEqual(await self.names(), ["INBOX", "Sent", "Work"])

    async def test_a_mailbox_cannot_be_moved_below_itself(self) -> None:
        with self.assertRaises(MailboxNameInvalid):
            await self.store.mailboxes.rename(self.account, "Work", "Work/Below")
        self.assertEqual(await self.names(), ["INBOX", "Sent", "Work"])

    async def test_subscriptions_stay_with_the_name_when_it_is_renamed_or_deleted(self) -> None:
        await self.store.mailboxes.rename(self.account, "Sent", "Posted")
        self.assertFalse((await self.row("Posted")).subscribed)
        await self.store.mailboxes.subscribe(self.account, "Posted")
        await self.store.mailboxes.delete(self.account, "Posted", self.actor)
        listing = await self.store.mailboxes.listing(self.account)
        self.assertEqual(listing.subscriptions, ("INBOX", "Posted", "Sent"))

    async def test_renaming_inbox_moves_its_messages_and_leaves_it_empty(self) -> None:
        await self.store.mailboxes.create(self.account, NewMailbox("INBOX/Child"))
        await self.insert(new_message(self.inbox, flags=SEEN, keywords=("$Label",)), new_message(self.inbox))
        before = await self.row()
        await self.store.mailboxes.rename_inbox(self.account, "Old/Inbox", self.actor)
        inbox, old = await self.row(), await self.row("Old/Inbox")
        self.assertEqual((inbox.id, inbox.messages, inbox.uid_next), (self.inbox, 0, before.uid_next))
        self.assertEqual((old.messages, old.unseen), (2, 1))
        self.assertEqual(await self.flags_of((await self.uids("Old/Inbox"))[0], "Old/Inbox"), (SEEN, {"$Label"}))
        self.assertIn("INBOX/Child", await self.names())
        with self.assertRaises(MailboxExists):
            await self.store.mailboxes.rename_inbox(self.account, "Work", self.actor)

    # ------------------------------------------------------------ subscriptions

    async def test_names_that_do_not_exist_can_be_subscribed(self) -> None:
        await self.store.mailboxes.subscribe(self.account, "Ghost")
        await self.store.mailboxes.subscribe(self.account, "Ghost")
        self.assertEqual((await self.store.mailboxes.listing(self.account)).subscriptions, ("Ghost", "INBOX", "Sent"))
        await self.store.mailboxes.unsubscribe(self.account, "Ghost")
        await self.store.mailboxes.unsubscribe(self.account, "Ghost")
        self.assertEqual((await self.store.mailboxes.listing(self.account)).subscriptions, ("INBOX", "Sent"))

    # ------------------------------------------------------------ opening

    async def test_opening_gives_columns_of_one_length_ascending_by_uid(self) -> None:
        await self.insert(
            new_message(self.inbox, flags=SEEN),
            new_message(self.inbox, keywords=("$Forwarded", "Important")),
            new_message(self.inbox, flags=FLAGGED | DELETED),
        )
        opened = await self.opened()
        columns = opened.columns
        self.assertEqual((columns.uids.typecode, columns.flags.typecode, columns.modseqs.typecode), ("I", "B", "Q"))
        self.assertEqual(list(columns.uids), [1, 2, 3])
        self.assertEqual(list(columns.flags), [SEEN, 0, FLAGGED | DELETED])
        self.assertEqual({uid: set(words) for uid, words in columns.keywords.items()}, {2: {"$Forwarded", "Important"}})
        self.assertEqual(max(columns.modseqs), opened.mailbox.highest_modseq)
        self.assertEqual((opened.mailbox.messages, opened.mailbox.uid_next), (3, 4))

    async def test_recent_is_told_to_one_selecting_session_only(self) -> None:
        await self.fill(2)
        self.assertEqual((await self.row()).recent, 2)
        examined = await self.opened()
        self.assertEqual(examined.recent_from, 1)
        selected = await self.opened(claim_recent=True)
        self.assertEqual((selected.recent_from, selected.mailbox.recent), (1, 2))
        await self.fill(1)
        again = await self.opened(claim_recent=True)
        self.assertEqual((again.recent_from, again.mailbox.recent), (3, 1))
        self.assertEqual((await self.opened(claim_recent=True)).recent_from, 4)

    async def test_reading_the_changes_claims_recent_messages_for_one_session_if_asked(self) -> None:
        await self.fill(3)
        since = (await self.row()).highest_modseq
        seen = [
            await self.store.mailboxes.changes(self.inbox, since, claim_recent=claim) for claim in (False, True, True)
        ]
        self.assertEqual([(one.recent_from, one.mailbox.recent) for one in seen], [(1, 3), (1, 3), (4, 0)])
        self.assertEqual((await self.opened()).recent_from, 4)
        self.assertEqual((await self.row()).recent, 0)

    # ------------------------------------------------------------ changes

    async def test_changes_name_what_is_new_what_changed_and_what_vanished(self) -> None:
        kept, changed, gone = await self.fill(3)
        since = (await self.row()).highest_modseq
        await self.change([changed], Change.ADD, FLAGGED)
        await self.change([gone], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        (new,) = await self.fill(1)
        changes = await self.store.mailboxes.changes(self.inbox, since)
        self.assertEqual(list(changes.columns.uids), [changed, new])
        self.assertEqual(list(changes.columns.flags), [FLAGGED, 0])
        self.assertEqual((list(changes.vanished), changes.vanished.typecode), ([gone], "I"))
        self.assertEqual(changes.mailbox.highest_modseq, (await self.row()).highest_modseq)
        self.assertNotIn(kept, changes.columns.uids)

    async def test_nothing_changed_after_the_highest_modseq(self) -> None:
        await self.fill(2)
        changes = await self.store.mailboxes.changes(self.inbox, (await self.row()).highest_modseq)
        self.assertEqual((list(changes.columns.uids), list(changes.vanished)), ([], []))

    async def test_what_came_and_went_between_two_looks_is_only_vanished(self) -> None:
        since = (await self.row()).highest_modseq
        uids = await self.fill(2, flags=DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        changes = await self.store.mailboxes.changes(self.inbox, since)
        self.assertEqual((list(changes.columns.uids), list(changes.vanished)), ([], uids))

    # ------------------------------------------------------------ what vanished

    async def test_v6_what_left_after_a_modseq_is_told_with_opening_and_with_the_changes(self) -> None:
        uids = await self.fill(5)
        before = (await self.row()).highest_modseq
        await self.change(uids[:2], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, uids[:1], self.actor)
        between = (await self.row()).highest_modseq
        await self.store.messages.expunge(self.inbox, None, self.actor)
        await self.store.messages.move(self.inbox, uids[3:4], self.work, self.actor)
        for since, gone in ((before, [*uids[:2], uids[3]]), (between, [uids[1], uids[3]])):
            opened = await self.store.mailboxes.open(
                self.account, "INBOX", claim_recent=False, vanished_since=ModSeq(since)
            )
            self.assertEqual(list(opened.earlier), gone)
            now = opened.mailbox.highest_modseq
            changes = await self.store.mailboxes.changes(self.inbox, now, vanished_since=ModSeq(since))
            self.assertEqual((list(changes.earlier), list(changes.vanished)), (gone, []))
            self.assertTrue(changes.reach.tells_departures(since))
        self.assertIsNone((await self.opened()).earlier)

    async def test_v6_a_view_older_than_what_is_remembered_is_given_the_whole_mailbox(self) -> None:
        uids = await self.fill(3)
        known = (await self.row()).highest_modseq
        await self.change(uids[:1], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        now = (await self.row()).highest_modseq
        await self.store.bodies.collect(grace=0.0, generation=3600.0, limit=100)
        changes = await self.store.mailboxes.changes(self.inbox, known, vanished_since=known)
        self.assertEqual((changes.whole, list(changes.columns.uids)), (True, uids[1:]))
        self.assertFalse(changes.reach.tells_departures(known))
        self.assertTrue(changes.reach.tells_changes(known))
        self.assertTrue(changes.reach.tells_departures(now))
        self.assertFalse((await self.store.mailboxes.changes(self.inbox, now)).whole)
