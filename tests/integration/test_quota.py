"""Quotas over several processes: two deliveries of one moment cannot both have the last room."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.aio import gather
from sora.core.errors import OverQuota
from sora.core.ids import AccountId, MailboxId
from sora.core.quota import Limits
from sora.postgres.store import PostgresStore, open_store
from sora.store.model import Inserted, NewMailbox
from tests.contract.base import HASH
from tests.contract.mail import message, new_message
from tests.integration.database import DatabaseTests

ROUNDS = 8


class SeveralProcessesTests(DatabaseTests):
    """Two stores on one database, as two processes have them."""

    async def _set_up(self) -> None:
        await super()._set_up()
        self.other: PostgresStore = open_store(self.settings, reactor)
        await self.other.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.other.stop()))
        boxes = [NewMailbox("INBOX"), NewMailbox("a"), NewMailbox("b")]
        self.account: AccountId = await self.store.accounts.create("a@example.org", HASH, boxes)
        self.boxes: list[MailboxId] = [
            (await self.store.mailboxes.find(self.account, name)).id for name in ("a", "b", "INBOX")
        ]

    async def test_the_last_room_goes_to_one_of_two_mailboxes(self) -> None:
        for number in range(ROUNDS):
            await self.store.quotas.limit(self.account, Limits(messages=number + 1))
            results = await gather(
                [
                    store.messages.insert([new_message(box, message(f"{number} {box}"))])
                    for store, box in ((self.store, self.boxes[0]), (self.other, self.boxes[1]))
                ]
            )
            kinds = sorted(type(one).__name__ for (one,) in results)
            self.assertEqual(kinds, [Inserted.__name__, OverQuota.__name__])
        self.assertEqual((await self.store.quotas.usage(self.account)).messages, ROUNDS)

    async def test_copies_names_and_deliveries_of_one_account_do_not_wait_for_each_other_in_turn(self) -> None:
        await self.store.quotas.limit(self.account, Limits(messages=10_000, mailboxes=1_000))
        (first,) = await self.store.messages.insert([new_message(self.boxes[0], message("first"))])
        assert isinstance(first, Inserted)
        for number in range(ROUNDS):
            work = [
                self.store.messages.insert([new_message(box, message(f"{number} {box}")) for box in self.boxes]),
                self.other.messages.copy(self.boxes[0], [first.uid], self.boxes[1]),
                self.other.mailboxes.create(self.account, NewMailbox(f"n{number}")),
                self.other.mailboxes.rename(self.account, f"n{number - 1}", f"m{number}") if number else None,
            ]
            await gather([one for one in work if one is not None])
        usage = await self.store.quotas.usage(self.account)
        self.assertEqual((usage.messages, usage.mailboxes), (1 + 4 * ROUNDS, 3 + ROUNDS))
