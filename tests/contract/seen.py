"""What every store promises of a \\Seen of one's own in mailboxes of others (`shared_mailboxes.seen_per_user`)."""

import random
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from sora.core import criteria as keys
from sora.core.errors import LimitReached, NoSuchMailbox
from sora.core.events import FeedLost, MailboxChanged
from sora.core.flags import ANSWERED, DELETED, FLAGGED, SEEN, Change
from sora.core.ids import AccountId, MailboxId, ModSeq, Uid
from sora.core.limits import KEYWORDS_PER_MESSAGE_MAX
from sora.core.rights import Edit, parse
from sora.mail.change import Changer
from sora.mail.live import Live, OpenMailbox
from sora.mail.sharing import Settings, Sharing
from sora.store.model import Copied, FlagChange, FlagsStored, Named, NewMailbox, Sight
from tests.contract.base import HASH, StoreContract
from tests.contract.mail import new_message

UNSEEN = keys.Criteria((keys.Flag(SEEN, False),))


class SeenContract(StoreContract):
    """The account shares Work with Bob and Carol, who have a \\Seen of their own there."""

    async def setUp(self) -> None:
        await super().setUp()
        self.bob = await self.store.accounts.create("bob@example.org", HASH, [NewMailbox("INBOX"), NewMailbox("Kept")])
        self.carol = await self.store.accounts.create("carol@example.org", HASH, [NewMailbox("INBOX")])
        for address in ("bob@example.org", "carol@example.org"):
            await self.store.grants.grant(self.work, address, Edit.REPLACE, parse("lrsw"), negative=False)

    # ------------------------------------------------------------ words

    async def put(
        self,
        uids: Sequence[int],
        flags: int = SEEN,
        change: Change = Change.ADD,
        *,
        reader: AccountId | None = None,
        **more: Any,
    ) -> FlagsStored:
        """Change flags in Work, as Bob or as who is named."""
        request = FlagChange(tuple(uids), change, flags, more.pop("keywords", ()), **more)
        (stored,) = await self.store.messages.store(self.work, [request], reader=reader or self.bob)
        return stored

    async def seen(self, reader: AccountId | None, name: str = "Work") -> list[int]:
        """Return the UIDs that someone (None: the owner) has seen in a mailbox of the account."""
        opened = await self.store.mailboxes.open(self.account, name, claim_recent=False, reader=reader)
        columns = opened.columns
        found = [uid for uid, bits in zip(columns.uids, columns.flags, strict=True) if bits & SEEN]
        # Whatever is counted agrees with the columns.
        for row in (opened.mailbox, await self.store.mailboxes.find(self.account, name, reader=reader)):
            self.assertEqual(row.unseen, len(columns.uids) - len(found))
        return found

    async def modseqs(self, reader: AccountId | None) -> dict[int, int]:
        """Return the modseqs of the messages in Work as someone sees them."""
        opened = await self.store.mailboxes.open(self.account, "Work", claim_recent=False, reader=reader)
        return dict(zip(opened.columns.uids, opened.columns.modseqs, strict=True))

    async def changed(self, since: int, reader: AccountId | None) -> dict[int, int]:
        """Return flags of what changed in Work after a modseq, as someone sees it."""
        columns = (await self.store.mailboxes.changes(self.work, ModSeq(since), reader=reader)).columns
        return dict(zip(columns.uids, columns.flags, strict=True))

    async def bobs(self, name: str) -> tuple[MailboxId, list[int]]:
        """Return the id of one of Bob's mailboxes, and the flags in it."""
        opened = await self.store.mailboxes.open(self.bob, name, claim_recent=False)
        return opened.mailbox.id, list(opened.columns.flags)

    # ------------------------------------------------------------ flags

    async def test_what_one_has_seen_the_owner_and_the_others_have_not(self) -> None:
        await self.fill(3, self.work)
        stored = await self.put([1, 3])
        self.assertTrue(stored.changed)
        self.assertEqual(list(stored.columns.flags), [SEEN, SEEN])
        self.assertEqual(list(stored.columns.modseqs), [stored.modseq] * 2)
        for reader, found in ((self.bob, [1, 3]), (self.carol, []), (None, [])):
            self.assertEqual(await self.seen(reader), found)
        await self.change([2], Change.ADD, SEEN, mailbox=self.work)
        for reader, found in ((self.bob, [1, 3]), (self.carol, []), (None, [2])):
            self.assertEqual(await self.seen(reader), found)

    async def test_the_other_flags_are_everyones(self) -> None:
        await self.fill(2, self.work)
        stored = await self.put([1], SEEN | FLAGGED | DELETED, keywords=("Word",))
        self.assertEqual(list(stored.columns.flags), [SEEN | FLAGGED | DELETED])
        self.assertEqual(stored.columns.keywords, {1: ("Word",)})
        self.assertEqual(await self.flags_of(1, "Work"), (FLAGGED | DELETED, {"Word"}))
        row = await self.row("Work")
        self.assertEqual((row.unseen, row.deleted, row.keywords), (2, 1, ("Word",)))
        self.assertGreater(row.deleted_size, 0)

    async def test_replacing_and_removing_are_of_ones_own_seen_and_of_everyones_other_flags(self) -> None:
        await self.fill(1, self.work, flags=SEEN | ANSWERED)
        await self.put([1])
        stored = await self.put([1], FLAGGED, Change.REPLACE)
        self.assertEqual(list(stored.columns.flags), [FLAGGED])
        self.assertEqual(await self.flags_of(1, "Work"), (SEEN | FLAGGED, set()))
        await self.put([1], SEEN, Change.REPLACE)
        stored = await self.put([1], SEEN | FLAGGED, Change.REMOVE)
        self.assertEqual(list(stored.columns.flags), [0])
        self.assertEqual((await self.seen(self.bob), await self.seen(None)), ([], [1]))

    async def test_a_change_that_changes_nothing_has_no_modseq(self) -> None:
        await self.fill(2, self.work)
        await self.put([1])
        before = await self.row("Work")
        for uids, change in (([1], Change.ADD), ([2], Change.REMOVE), ([9], Change.ADD), ([], Change.ADD)):
            stored = await self.put(uids, SEEN, change)
            self.assertEqual((stored.changed, stored.modseq), (False, before.highest_modseq))
        self.assertEqual(await self.row("Work"), before)

    async def test_several_changes_of_one_store_are_made_in_their_order(self) -> None:
        await self.fill(2, self.work)
        asked = [FlagChange((1, 2), Change.ADD, SEEN, ()), FlagChange((1,), Change.REMOVE, SEEN | FLAGGED, ())]
        first, second = await self.store.messages.store(self.work, asked, reader=self.bob)
        self.assertEqual((list(first.columns.flags), list(second.columns.flags)), ([SEEN, SEEN], [0]))
        self.assertEqual(first.modseq, second.modseq)
        self.assertEqual(await self.seen(self.bob), [2])

    async def test_a_store_that_is_refused_changes_nothing_of_ones_own_either(self) -> None:
        await self.fill(1, self.work)
        before = await self.row("Work")
        many = tuple(f"word{n}" for n in range(KEYWORDS_PER_MESSAGE_MAX + 1))
        with self.assertRaises(LimitReached):
            await self.put([1], SEEN, keywords=many)
        self.assertEqual((await self.seen(self.bob), await self.row("Work")), ([], before))
        with self.assertRaises(NoSuchMailbox):
            await self.store.messages.store(MailboxId(10**9), [FlagChange((1,), Change.ADD, SEEN, ())], reader=self.bob)

    # ------------------------------------------------------------ modseqs

    async def test_ones_own_change_has_a_modseq_of_the_mailbox_that_only_one_sees(self) -> None:
        await self.fill(3, self.work)
        before = await self.modseqs(None)
        highest = (await self.row("Work")).highest_modseq
        stored = await self.put([2])
        self.assertEqual(stored.modseq, highest + 1)
        self.assertEqual(await self.modseqs(self.bob), {**before, 2: highest + 1})
        self.assertEqual(await self.modseqs(self.carol), before)
        self.assertEqual(await self.modseqs(None), before)
        self.assertEqual(await self.changed(highest, self.bob), {2: SEEN})
        self.assertEqual(await self.changed(highest, self.carol), {})
        self.assertEqual(await self.changed(highest, None), {})
        self.assertEqual((await self.row("Work")).highest_modseq, highest + 1)

    async def test_what_one_has_not_seen_any_more_is_told_as_a_change(self) -> None:
        await self.fill(2, self.work)
        seen = await self.put([1, 2])
        await self.put([1], SEEN, Change.REMOVE)
        self.assertEqual(await self.changed(seen.modseq, self.bob), {1: 0})
        self.assertEqual(await self.seen(self.bob), [2])

    async def test_changes_of_all_kinds_since_a_modseq_are_told_each_once(self) -> None:
        await self.fill(4, self.work)
        since = (await self.row("Work")).highest_modseq
        await self.put([1, 2])
        await self.change([2, 3], Change.ADD, FLAGGED, mailbox=self.work)
        await self.put([3])
        await self.fill(1, self.work)
        told = {1: SEEN, 2: SEEN | FLAGGED, 3: SEEN | FLAGGED, 5: 0}
        self.assertEqual(await self.changed(since, self.bob), told)
        self.assertEqual(await self.changed(since, None), {2: FLAGGED, 3: FLAGGED, 5: 0})
        answers = [
            await self.store.mailboxes.changes(self.work, since, vanished_since=ModSeq(1), reader=self.bob),
            await self.store.mailboxes.changes(self.work, since, claim_recent=True, reader=self.bob),
        ]
        for answer in answers:
            self.assertEqual(dict(zip(answer.columns.uids, answer.columns.flags, strict=True)), told)
            self.assertEqual(answer.mailbox.unseen, 2)

    async def test_a_condition_looks_at_the_modseqs_that_one_sees(self) -> None:
        await self.fill(3, self.work)
        known = (await self.put([1])).modseq
        await self.put([2])
        await self.put([3], reader=self.carol)
        stored = await self.put([1, 2, 3], FLAGGED, unchanged_since=known)
        self.assertEqual((list(stored.refused), list(stored.columns.uids)), ([2], [1, 3]))
        self.assertEqual(await self.flags_of(2, "Work"), (0, set()))

    async def test_a_condition_of_0_passes_where_the_keyword_does_not_exist(self) -> None:
        await self.fill(2, self.work)
        await self.put([1], 0, keywords=("Word",))
        stored = await self.put([1, 2], 0, keywords=("word",), unchanged_since=0)
        self.assertEqual((list(stored.refused), list(stored.columns.uids)), ([1], [2]))
        stored = await self.put([1, 2], unchanged_since=0)
        self.assertEqual((list(stored.refused), list(stored.columns.uids)), ([1, 2], []))

    # ------------------------------------------------------------ the feed

    async def test_ones_own_change_is_announced_as_ones_own(self) -> None:
        self.assertEqual(len(await self.heard_in_work(self.fill(1, self.work))), 1)
        events = await self.heard_in_work(self.put([1]))
        self.assertEqual([event.reader for event in events], [self.bob])
        self.assertTrue(events[0].concerns(self.bob))
        self.assertFalse(events[0].concerns(self.carol) or events[0].concerns(None))
        self.assertEqual(events[0].modseq, (await self.row("Work")).highest_modseq)
        events = await self.heard_in_work(self.put([1], SEEN | FLAGGED, Change.REPLACE))
        self.assertEqual([event.reader for event in events], [None])

    async def heard_in_work(self, doing: Any) -> list[MailboxChanged]:
        """Return what is announced of Work until a change of INBOX, made after `doing`, is heard of too."""
        heard: list[MailboxChanged | FeedLost] = []
        stop = [self.store.feed.subscribe(mailbox, heard.append) for mailbox in (self.work, self.inbox)]
        await doing
        await self.fill(1)
        while not any(isinstance(event, MailboxChanged) and event.mailbox == self.inbox for event in heard):
            await self.store.mailboxes.find(self.account, "INBOX")
        for cancel in stop:
            cancel()
        return [event for event in heard if isinstance(event, MailboxChanged) and event.mailbox == self.work]

    # ------------------------------------------------------------ arrivals

    async def test_what_one_appends_as_seen_is_seen_by_oneself_alone(self) -> None:
        (one,) = await self.insert(new_message(self.work, seen_by=self.bob, flags=FLAGGED))
        self.assertEqual((await self.seen(self.bob), await self.seen(self.carol)), ([one.uid], []))
        self.assertEqual((await self.modseqs(self.bob))[one.uid], one.modseq)
        self.assertEqual(await self.flags_of(one.uid, "Work"), (FLAGGED, set()))
        two = await self.store.messages.insert_whole([new_message(self.work), new_message(self.work, seen_by=self.bob)])
        self.assertEqual(await self.seen(self.bob), [one.uid, two[1].uid])

    async def test_a_replacement_is_seen_by_whoever_made_it(self) -> None:
        await self.fill(1, self.work)
        await self.put([1])
        new = await self.store.messages.replace(self.work, 1, new_message(self.work, seen_by=self.bob), self.actor)
        self.assertEqual((await self.seen(self.bob), await self.seen(None)), ([new.uid], []))

    # ------------------------------------------------------------ leaving

    async def test_who_leaves_is_seen_by_nobody_any_more(self) -> None:
        await self.fill(4, self.work)
        await self.put([1, 2, 3])
        await self.put([1, 3], reader=self.carol)
        await self.put([2, 4], DELETED)
        await self.store.messages.expunge(self.work, None, self.actor)
        self.assertEqual((await self.seen(self.bob), await self.seen(self.carol)), ([1, 3], [1, 3]))
        await self.store.messages.move(self.work, [1], self.inbox, self.actor)
        self.assertEqual((await self.seen(self.bob), await self.seen(self.carol)), ([3], [3]))
        self.assertEqual(await self.seen(None, "INBOX"), [])
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_a_mailbox_that_is_deleted_takes_all_along(self) -> None:
        await self.fill(2, self.work)
        await self.put([1])
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        await self.store.mailboxes.create(self.account, NewMailbox("Work"))
        self.work = (await self.row("Work")).id
        await self.fill(2, self.work)
        self.assertEqual(await self.seen(self.bob), [])

    async def test_a_mailbox_that_is_renamed_keeps_all(self) -> None:
        await self.fill(2, self.work)
        await self.put([2])
        await self.store.mailboxes.rename(self.account, "Work", "Job")
        self.assertEqual(await self.seen(self.bob, "Job"), [2])

    # ------------------------------------------------------------ copies

    async def transferred(self, source: MailboxId, uids: Sequence[int], target: Any, sight: Sight, how: str) -> Copied:
        """Copy or move messages as Bob."""
        if how == "copy":
            return await self.store.messages.copy(source, uids, target, sight=sight)
        return await self.store.messages.move(source, uids, target, self.actor, sight=sight)

    async def test_what_one_takes_from_another_is_seen_as_one_saw_it(self) -> None:
        for how in ("copy", "move"):
            uids = await self.fill(3, self.work, flags=SEEN)
            await self.put(uids[1:2])
            before = await self.bobs("Kept")
            copied = await self.transferred(self.work, uids, Named(self.bob, "Kept"), Sight(self.bob, here=True), how)
            self.assertEqual(list(copied.source), uids)
            found, flags = await self.bobs("Kept")
            self.assertEqual((copied.mailbox, flags), (found, [*before[1], 0, SEEN, 0]))
            row = await self.store.mailboxes.find(self.bob, "Kept")
            self.assertEqual(row.unseen, sum(not bits & SEEN for bits in flags))

    async def test_what_one_gives_to_another_is_seen_by_oneself_alone(self) -> None:
        own, _ = await self.bobs("INBOX")
        for how, kept in (("copy", True), ("move", True), ("move", False)):
            seen = (await self.insert(new_message(own, flags=SEEN | FLAGGED)))[0].uid
            unseen = (await self.insert(new_message(own)))[0].uid
            had = await self.seen(self.bob)
            sight = Sight(self.bob, there=True, kept=kept)
            copied = await self.transferred(own, [seen, unseen], self.work, sight, how)
            self.assertEqual(await self.seen(self.bob), [*had, copied.target[0]] if kept else had)
            self.assertEqual((await self.seen(None), await self.seen(self.carol)), ([], []))
            self.assertEqual((await self.flags_of(copied.target[0], "Work"))[0], FLAGGED)
            modseqs = await self.modseqs(self.bob)
            self.assertEqual(modseqs[copied.target[0]], modseqs[copied.target[1]])

    async def test_between_two_mailboxes_of_one_owner_each_keeps_his_own_or_the_movers(self) -> None:
        await self.store.mailboxes.create(self.account, NewMailbox("Done"))
        done = (await self.row("Done")).id
        for how in ("copy", "move"):
            uids = await self.fill(3, self.work)
            await self.change(uids[:1], Change.ADD, SEEN, mailbox=self.work)
            await self.put(uids[1:2])
            had = await self.seen(self.bob, "Done"), await self.seen(None, "Done")
            sight = Sight(self.bob, here=True, there=True)
            target = (await self.transferred(self.work, uids, done, sight, how)).target
            self.assertEqual(await self.seen(self.bob, "Done"), [*had[0], target[1]])
            self.assertEqual(await self.seen(None, "Done"), [*had[1], target[0]])

    async def test_between_mailboxes_of_two_owners_no_owner_learns_what_the_other_has_seen(self) -> None:
        carols = (await self.store.mailboxes.find(self.carol, "INBOX")).id
        uids = await self.fill(2, self.work, flags=SEEN)
        await self.put(uids[1:])
        sight = Sight(self.bob, here=True, there=True)
        await self.transferred(self.work, uids, carols, sight, "copy")
        opened = await self.store.mailboxes.open(self.carol, "INBOX", claim_recent=False)
        self.assertEqual((list(opened.columns.flags), opened.mailbox.unseen), ([0, 0], 2))
        opened = await self.store.mailboxes.open(self.carol, "INBOX", claim_recent=False, reader=self.bob)
        self.assertEqual((list(opened.columns.flags), opened.mailbox.unseen), ([0, SEEN], 1))

    async def test_a_copy_within_a_mailbox_is_seen_as_its_original(self) -> None:
        uids = await self.fill(2, self.work)
        await self.put(uids[:1])
        sight = Sight(self.bob, here=True, there=True)
        copied = await self.transferred(self.work, uids, self.work, sight, "copy")
        self.assertEqual(await self.seen(self.bob), [uids[0], copied.target[0]])
        moved = await self.transferred(self.work, uids, self.work, sight, "move")
        self.assertEqual(await self.seen(self.bob), [copied.target[0], moved.target[0]])
        nothing = await self.transferred(self.work, [999], self.work, sight, "move")
        self.assertEqual(list(nothing.source), [])
        self.assertEqual(await self.store.audit.findings(), [])

    # ------------------------------------------------------------ reading

    async def test_a_search_goes_by_ones_own_seen(self) -> None:
        await self.fill(3, self.work)
        await self.put([1])
        highest = (await self.row("Work")).highest_modseq
        await self.change([2], Change.ADD, SEEN, mailbox=self.work)
        changed = keys.Criteria((keys.ModSeqAtLeast(int(highest)),))
        for reader, unseen, new in ((self.bob, [2, 3], [1, 2]), (self.carol, [1, 2, 3], [2]), (None, [1, 3], [2])):
            for criteria, expected in ((UNSEEN, unseen), (changed, new)):
                found = await self.store.messages.search(
                    self.work, criteria, recent_from=Uid(1), uid_max=9, reader=reader
                )
                self.assertEqual(list(found.uids), expected)

    async def test_a_search_of_many_mailboxes_goes_by_the_owners_seen_in_ones_own(self) -> None:
        own, _ = await self.bobs("INBOX")
        await self.fill(2, self.work, flags=SEEN)
        await self.fill(2, own, flags=SEEN)
        await self.put([2])
        seen = keys.Criteria((keys.Flag(SEEN, True),))
        for criteria, expected in ((seen, {own: [1, 2], self.work: [2]}), (UNSEEN, {self.work: [1]})):
            found = await self.store.messages.search_many([own, self.work], criteria, reader=self.bob)
            self.assertEqual({box: list(one.uids) for box, one in found.items()}, expected)

    async def test_what_is_visible_is_counted_by_ones_own_seen(self) -> None:
        await self.fill(3, self.work, flags=SEEN)
        await self.put([3])
        for own_seen, unseen in ((True, 2), (False, 0)):
            (one,) = await self.store.grants.visible(self.bob, own_seen=own_seen)
            self.assertEqual(one.row.unseen, unseen)

    async def test_whoever_follows_the_changes_sees_what_reading_anew_shows(self) -> None:
        chance = random.Random(4314)  # noqa: S311  reproducible
        live = Live(
            self.store.mailboxes, self.store.feed, sharing=Sharing(self.store.grants, Settings(seen_per_user=True))
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(live.stop()))
        await self.fill(8, self.work)
        names = {self.account: "Work", self.bob: "Other Users/alice/Work", self.carol: "Other Users/alice/Work"}
        open_ones = {who: await live.open(who, name, claim_recent=False) for who, name in names.items()}
        changer = Changer(self.store.messages)
        known: dict[AccountId, list[tuple[int, dict[int, int]]]] = {who: [] for who in names}
        for step in range(60):
            who, mailbox = chance.choice(list(open_ones.items()))
            await self._step(changer, mailbox, chance, arrives=step % 5 == 0)
            for one, followed in open_ones.items():
                await followed.refresh()
                reader = None if one == self.account else one
                anew = (
                    await self.store.mailboxes.open(self.account, "Work", claim_recent=False, reader=reader)
                ).columns
                version = followed.version
                self.assertEqual(version.uids, anew.uids, (step, who, one))
                self.assertEqual(version.flags, anew.flags, (step, who, one))
                self.assertEqual(version.modseqs, anew.modseqs, (step, who, one))
                # Who comes back is told of everything that is not as he knew it.
                since, before = chance.choice([*known[one], (version.modseq, {})])
                told = await self.changed(since, reader)
                now = dict(zip(anew.uids, anew.flags, strict=True))
                differs = {uid for uid, flags in before.items() if now.get(uid, flags) != flags}
                self.assertLessEqual(differs, told.keys(), (step, who, one))
                known[one].append((version.modseq, now))
        self.assertEqual(await self.store.audit.findings(), [])

    async def _step(self, changer: Changer, mailbox: OpenMailbox, chance: random.Random, *, arrives: bool) -> None:
        """Do something as whoever has the mailbox open."""
        if arrives:
            await self.insert(new_message(self.work, seen_by=mailbox.reader))
        uids = tuple(mailbox.version.uids)
        chosen = tuple(uid for uid in uids if chance.random() < 0.3)
        match chance.randrange(8):
            case 0:
                await changer.expunge(mailbox, chosen, self.actor)
            case 1:
                await changer.move(mailbox, chosen[:2], self.work, self.actor)
            case 2:
                await changer.copy(mailbox, chosen[:1], self.work)
            case _:
                change = chance.choice(list(Change))
                bits = chance.choice((SEEN, SEEN, SEEN | FLAGGED, FLAGGED, DELETED))
                since = chance.choice((None, None, mailbox.version.modseq - 2))
                await changer.store(mailbox, [FlagChange(chosen, change, bits, (), since)])
