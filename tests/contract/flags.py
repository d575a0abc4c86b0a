"""The contract of `Messages.store`: flags and keywords."""

from sora.aio import gather
from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox
from sora.core.flags import ANSWERED, DELETED, FLAGGED, SEEN, Change
from sora.core.ids import MailboxId
from sora.store.model import FlagChange
from tests.contract.base import StoreContract


class FlagsContract(StoreContract):
    """Changing flags, on conditions and at once."""

    async def test_flags_are_replaced_added_and_removed(self) -> None:
        (uid,) = await self.fill(1, flags=SEEN, keywords=("Old",))
        await self.change([uid], Change.ADD, FLAGGED, ["New"])
        self.assertEqual(await self.flags_of(uid), (SEEN | FLAGGED, {"Old", "New"}))
        await self.change([uid], Change.REMOVE, SEEN, ["old"])
        self.assertEqual(await self.flags_of(uid), (FLAGGED, {"New"}))
        await self.change([uid], Change.REPLACE, ANSWERED, ["Third"])
        self.assertEqual(await self.flags_of(uid), (ANSWERED, {"Third"}))
        await self.change([uid], Change.REPLACE)
        self.assertEqual(await self.flags_of(uid), (0, set()))

    async def test_the_answer_shows_the_messages_as_they_are_now(self) -> None:
        first, second, third = await self.fill(3)
        before = (await self.row()).highest_modseq
        stored = await self.change([third, first, 99], Change.ADD, SEEN, ["Word"])
        self.assertEqual(list(stored.columns.uids), [first, third])
        self.assertEqual(list(stored.columns.flags), [SEEN, SEEN])
        self.assertEqual(stored.columns.keywords, {first: ("Word",), third: ("Word",)})
        self.assertGreater(stored.modseq, before)
        self.assertEqual(set(stored.columns.modseqs), {stored.modseq})
        self.assertEqual((await self.row()).highest_modseq, stored.modseq)
        columns = (await self.opened()).columns
        self.assertLessEqual(columns.modseqs[list(columns.uids).index(second)], before)

    async def test_only_messages_that_are_gone_give_an_empty_answer(self) -> None:
        stored = await self.change([5, 6], Change.ADD, SEEN)
        self.assertEqual((list(stored.columns.uids), stored.refused), ([], ()))

    async def test_unchanged_since_refuses_exactly_what_changed_later(self) -> None:
        one, two = await self.fill(2)
        since = (await self.row()).highest_modseq
        await self.change([two], Change.ADD, FLAGGED)
        stored = await self.change([one, two], Change.ADD, SEEN, unchanged_since=since)
        self.assertEqual((list(stored.columns.uids), stored.refused), ([one], (two,)))
        self.assertEqual(await self.flags_of(two), (FLAGGED, set()))
        self.assertEqual(await self.flags_of(one), (SEEN, set()))

    async def test_unchanged_since_zero_refuses_every_message(self) -> None:
        uids = await self.fill(2)
        before = (await self.row()).highest_modseq
        stored = await self.change(uids, Change.ADD, SEEN, unchanged_since=0)
        self.assertEqual((list(stored.columns.uids), stored.refused), ([], tuple(uids)))
        self.assertEqual((await self.row()).highest_modseq, before)

    async def test_unchanged_since_zero_passes_where_the_keywords_do_not_exist(self) -> None:
        none, other = await self.fill(2, flags=SEEN)
        (there,) = await self.fill(1, keywords=("$mdnsent", "Word"))
        for change, flags, words in (
            (Change.ADD, SEEN, ["$MDNSent"]),
            (Change.REPLACE, 0, ["$MDNSent"]),
            (Change.ADD, 0, []),
        ):
            stored = await self.change([none, other, there], change, flags, words, unchanged_since=0)
            self.assertEqual((list(stored.columns.uids), stored.refused), ([], (none, other, there)))
        stored = await self.change([none, there], Change.ADD, 0, ["Label", "$MDNSent"], unchanged_since=0)
        self.assertEqual((list(stored.columns.uids), stored.refused), ([none], (there,)))
        self.assertEqual(await self.flags_of(none), (SEEN, {"Label", "$mdnsent"}))
        stored = await self.change([none, other], Change.REMOVE, 0, ["$MDNSENT"], unchanged_since=0)
        self.assertEqual((list(stored.columns.uids), stored.refused), ([other], (none,)))

    async def test_a_change_that_changes_nothing_keeps_the_modseq(self) -> None:
        (uid,) = await self.fill(1, flags=SEEN, keywords=("Word",))
        before = await self.row()
        stored = await self.change([uid], Change.ADD, SEEN, ["WORD"])
        self.assertEqual((list(stored.columns.uids), stored.modseq), ([uid], before.highest_modseq))
        self.assertEqual(await self.row(), before)

    async def test_several_changes_are_applied_in_their_order(self) -> None:
        (uid,) = await self.fill(1)
        results = await self.store.messages.store(
            self.inbox,
            [
                FlagChange((uid,), Change.REPLACE, SEEN | FLAGGED, ()),
                FlagChange((uid,), Change.REMOVE, SEEN, ()),
                FlagChange((uid,), Change.ADD, 0, ("Last",)),
            ],
        )
        self.assertEqual(len(results), 3)
        self.assertEqual(await self.flags_of(uid), (FLAGGED, {"Last"}))

    async def test_v10_concurrent_changes_of_different_flags_all_survive(self) -> None:
        uids = await self.fill(5)
        words = [f"word{number}" for number in range(10)]
        await gather(
            [
                self.store.messages.store(self.inbox, [FlagChange(tuple(uids), Change.ADD, bit, (word,))])
                for bit, word in zip([SEEN, FLAGGED, ANSWERED, DELETED, 0] * 2, words, strict=True)
            ]
        )
        for uid in uids:
            self.assertEqual(await self.flags_of(uid), (SEEN | FLAGGED | ANSWERED | DELETED, set(words)))
        row = await self.row()
        self.assertEqual((row.unseen, row.deleted), (0, 5))

    async def test_v10_of_two_conditional_changes_at_once_one_is_refused(self) -> None:
        (uid,) = await self.fill(1)
        since = (await self.row()).highest_modseq
        results = await gather(
            [
                self.store.messages.store(self.inbox, [FlagChange((uid,), Change.REPLACE, bit, (), since)])
                for bit in (SEEN, FLAGGED)
            ]
        )
        self.assertEqual(sorted(len(one.refused) for (one,) in results), [0, 1])

    async def test_a_keyword_keeps_its_first_spelling_for_the_whole_mailbox(self) -> None:
        one, two = await self.fill(2)
        await self.change([one], Change.ADD, 0, ["ToDo"])
        stored = await self.change([one, two], Change.ADD, 0, ["TODO"])
        self.assertEqual(stored.columns.keywords, {one: ("ToDo",), two: ("ToDo",)})
        self.assertEqual((await self.row()).keywords, ("ToDo",))

    async def test_too_many_keywords_change_nothing(self) -> None:
        (uid,) = await self.fill(1)
        many = [f"k{number}" for number in range(limits.KEYWORDS_PER_MESSAGE_MAX + 1)]
        with self.assertRaises(LimitReached):
            await self.change([uid], Change.ADD, SEEN, many)
        self.assertEqual(await self.flags_of(uid), (0, set()))

    async def test_a_mailbox_holds_a_bounded_number_of_different_keywords(self) -> None:
        count = limits.KEYWORDS_MAX // limits.KEYWORDS_PER_MESSAGE_MAX
        uids = await self.fill(count + 1)
        words = [f"k{number}" for number in range(limits.KEYWORDS_MAX + 1)]
        for index in range(count):
            first = index * limits.KEYWORDS_PER_MESSAGE_MAX
            await self.change([uids[index]], Change.ADD, 0, words[first : first + limits.KEYWORDS_PER_MESSAGE_MAX])
        with self.assertRaises(LimitReached):
            await self.change([uids[-1]], Change.ADD, 0, words[-1:])
        await self.change([uids[-1]], Change.ADD, 0, words[:1])

    async def test_flags_in_a_mailbox_that_does_not_exist_are_an_error(self) -> None:
        with self.assertRaises(NoSuchMailbox):
            await self.change([1], Change.ADD, SEEN, mailbox=MailboxId(987_654))
