"""The contract of `store.interfaces.Feed`: change is pushed, once it can be read."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from sora.core.events import FeedLost, MailboxChanged, names_of
from sora.core.flags import DELETED, SEEN, Change
from sora.core.ids import MailboxId, ModSeq
from sora.store.model import NewMailbox
from tests.contract.base import FIRST, HASH, StoreContract
from tests.contract.mail import new_message

PATIENCE = 10.0


class Heard:
    """Remembers what a listener was told, and waits for more."""

    def __init__(self) -> None:
        self.events: list[MailboxChanged | FeedLost] = []
        self._waiting: Deferred[None] | None = None

    def __call__(self, event: MailboxChanged | FeedLost) -> None:
        self.events.append(event)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def until(self, wanted: Callable[[MailboxChanged | FeedLost], bool]) -> None:
        """Wait for an event; fail after `PATIENCE` seconds."""
        from twisted.internet import reactor

        while not any(wanted(event) for event in self.events):
            self._waiting = Deferred()
            await self._waiting.addTimeout(PATIENCE, reactor)


class FeedContract(StoreContract):
    """Listeners hear of committed changes."""

    async def listening(self) -> None:
        """Wait until subscriptions made so far are in force; a concrete store may need a moment."""

    async def heard_by(self, *mailboxes: MailboxId) -> list[Heard]:
        """Listen to mailboxes."""
        ears = []
        for mailbox in mailboxes:
            ears.append(Heard())
            self.addCleanup(self.store.feed.subscribe(mailbox, ears[-1]))
        await self.listening()
        return ears

    async def test_who_follows_hears_of_every_mailbox_until_no_longer(self) -> None:
        followed, other = Heard(), Heard()
        leave = self.store.feed.follow(followed)
        self.addCleanup(self.store.feed.follow(other))
        await self.listening()
        for box in (self.inbox, self.work):
            (done,) = await self.insert(new_message(box))
            for ear in (followed, other):
                await ear.until(lambda event, done=done, box=box: event == MailboxChanged(box, done.modseq))
        leave()
        count = len(followed.events)
        (done,) = await self.insert(new_message(self.work))
        await other.until(lambda event: event == MailboxChanged(self.work, done.modseq))
        self.assertEqual(len(followed.events), count)

    async def test_every_kind_of_change_is_announced_with_its_modseq(self) -> None:
        (ear,) = await self.heard_by(self.inbox)
        for step in (
            lambda: self.fill(1),
            lambda: self.change([1], Change.ADD, SEEN | DELETED),
            lambda: self.store.messages.copy(self.inbox, [1], self.inbox),
            lambda: self.store.messages.expunge(self.inbox, [1], self.actor),
            lambda: self.store.messages.move(self.inbox, [2], self.work, self.actor),
        ):
            before = (await self.row()).highest_modseq
            await step()
            after = (await self.row()).highest_modseq
            self.assertGreater(after, before)
            await ear.until(lambda event, after=after: event == MailboxChanged(self.inbox, after))

    async def test_what_is_announced_can_be_read(self) -> None:
        (ear,) = await self.heard_by(self.inbox)
        (uid,) = await self.fill(1)
        await ear.until(lambda event: isinstance(event, MailboxChanged))
        changes = await self.store.mailboxes.changes(self.inbox, ModSeq(ear.events[0].modseq - 1))
        self.assertIn(uid, changes.columns.uids)

    async def test_a_listener_hears_of_its_own_mailbox_only(self) -> None:
        inbox, work = await self.heard_by(self.inbox, self.work)
        await self.fill(1)
        await self.fill(1, self.work)
        await work.until(lambda event: event.mailbox == self.work)
        self.assertEqual({event.mailbox for event in work.events}, {self.work})
        await inbox.until(lambda event: event.mailbox == self.inbox)
        self.assertEqual({event.mailbox for event in inbox.events}, {self.inbox})

    async def test_a_move_is_announced_in_both_mailboxes(self) -> None:
        await self.fill(1)
        inbox, work = await self.heard_by(self.inbox, self.work)
        await self.store.messages.move(self.inbox, [1], self.work, self.actor)
        for ear, name in ((inbox, "INBOX"), (work, "Work")):
            modseq = (await self.row(name)).highest_modseq
            await ear.until(lambda event, modseq=modseq: event.modseq == modseq)

    async def test_a_deleted_mailbox_is_announced_with_modseq_zero(self) -> None:
        (ear,) = await self.heard_by(self.work)
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        await ear.until(lambda event: event == MailboxChanged(self.work, ModSeq(0)))

    async def test_the_last_announcement_covers_all_changes_made_at_once(self) -> None:
        (ear,) = await self.heard_by(self.inbox)
        for _ in range(10):
            await self.fill(2)
        highest = (await self.row()).highest_modseq
        await ear.until(lambda event: event.modseq == highest)
        modseqs = [event.modseq for event in ear.events]
        self.assertEqual(modseqs, sorted(modseqs))

    async def test_a_cancelled_listener_hears_nothing_and_the_others_go_on(self) -> None:
        gone, stays = Heard(), Heard()
        cancel = self.store.feed.subscribe(self.inbox, gone)
        self.addCleanup(self.store.feed.subscribe(self.inbox, stays))
        await self.listening()
        cancel()
        await self.fill(1)
        await stays.until(lambda event: isinstance(event, MailboxChanged))
        self.assertEqual(gone.events, [])

    async def test_a_listener_may_cancel_itself_while_it_is_told(self) -> None:
        ear = Heard()

        def once(event: MailboxChanged | FeedLost) -> None:
            cancel()
            ear(event)

        cancel = self.store.feed.subscribe(self.inbox, once)
        self.addCleanup(self.store.feed.subscribe(self.inbox, ear))
        await self.listening()
        await self.fill(1)
        highest = (await self.row()).highest_modseq
        await ear.until(lambda event: event.modseq == highest)
        await self.fill(1)
        await ear.until(lambda event: event.modseq > highest)

    async def test_names_and_subscriptions_are_announced_for_their_account_only(self) -> None:
        other = await self.store.accounts.create("other@example.org", HASH, FIRST)
        heard, elsewhere = Heard(), Heard()
        self.addCleanup(self.store.feed.subscribe(names_of(self.account), heard))
        self.addCleanup(self.store.feed.subscribe(names_of(other), elsewhere))
        await self.listening()
        mailboxes, account = self.store.mailboxes, self.account
        for change in (
            lambda: mailboxes.create(account, NewMailbox("a")),
            lambda: mailboxes.rename(account, "a", "b"),
            lambda: mailboxes.subscribe(account, "b"),
            lambda: mailboxes.unsubscribe(account, "b"),
            lambda: mailboxes.delete(account, "b", self.actor),
        ):
            heard.events.clear()
            elsewhere.events.clear()
            await change()
            await heard.until(lambda event: event == MailboxChanged(names_of(account), ModSeq(0)))
        self.assertEqual(elsewhere.events, [])
