"""Messages that take each other's places at one moment, in two mailboxes and both directions, beside deliveries."""

from sora.aio import gather
from sora.core.quota import Limits
from sora.store.model import Actor, NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

ROUNDS = 12


class ReplaceAtOnceTests(DatabaseTests):
    async def _set_up(self) -> None:
        await super()._set_up()
        boxes = [NewMailbox("INBOX"), NewMailbox("Work")]
        self.account = await self.store.accounts.create("alice@example.org", "hash", boxes)
        self.boxes = [(await self.store.mailboxes.find(self.account, box.name)).id for box in boxes]
        self.actor = Actor(self.account, "alice@example.org", "imap", "s")

    async def exchange(self) -> None:
        """Replace messages of either mailbox by ones in the other, and insert others meanwhile."""
        one, other = self.boxes
        messages = self.store.messages
        for box in self.boxes:
            await messages.insert([new_message(box) for _ in range(ROUNDS)])
        work = []
        for uid in range(1, ROUNDS + 1):
            work.append(messages.replace(one, uid, new_message(other), self.actor))
            work.append(messages.replace(other, uid, new_message(one), self.actor))
            work.append(messages.insert([new_message(one), new_message(other)]))
            work.append(messages.insert_whole([new_message(other), new_message(one)]))
        await gather(work)
        for box in (await self.store.mailboxes.listing(self.account)).mailboxes:
            self.assertEqual((box.messages, box.uid_next), (3 * ROUNDS, 4 * ROUNDS + 1), box.name)
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_nobody_waits_for_whom_he_holds_up(self) -> None:
        await self.exchange()

    async def test_nor_does_anyone_where_there_is_a_quota(self) -> None:
        await self.store.quotas.limit(self.account, Limits(storage=10_000_000, messages=1_000))
        await self.exchange()

    async def test_a_full_account_may_still_replace(self) -> None:
        inbox = self.boxes[0]
        await self.store.messages.insert([new_message(inbox), new_message(inbox)])
        await self.store.quotas.limit(self.account, Limits(messages=2))
        done = await self.store.messages.replace(inbox, 1, new_message(inbox), self.actor)
        self.assertEqual(done.uid, 3)
        (refused,) = await self.store.messages.insert([new_message(inbox)])
        self.assertIsInstance(refused, Exception)
