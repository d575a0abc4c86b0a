"""What every store promises of quotas: exact for accounts, by the moment of the last count for domains."""

from sora.core.errors import NoSuchAccount, OverQuota
from sora.core.flags import DELETED, Change
from sora.core.ids import AccountId
from sora.core.quota import Filled, Limits
from sora.store.model import Named, NewMailbox
from tests.contract.base import HASH, StoreContract
from tests.contract.mail import message, new_message


class QuotasContract(StoreContract):
    """Quotas of accounts and domains."""

    async def limited(self, **limits: int) -> None:
        """Give the account limits."""
        await self.store.quotas.limit(self.account, Limits(**limits))

    async def test_usage_is_what_the_mailboxes_hold(self) -> None:
        raw = message("One")
        await self.insert(new_message(self.inbox, raw), new_message(self.work, message("Two")))
        usage = await self.store.quotas.usage(self.account)
        held = (await self.row("INBOX")).size + (await self.row("Work")).size
        self.assertEqual((usage.storage, usage.messages, usage.mailboxes), (held, 2, 3))
        self.assertFalse(usage.limits)

    async def test_limits_replace_each_other_and_end(self) -> None:
        await self.limited(storage=1000, messages=5)
        usage = await self.store.quotas.limit(self.account, Limits(mailboxes=7))
        self.assertEqual(usage.limits, Limits(mailboxes=7))
        self.assertEqual((await self.store.quotas.limit(self.account, None)).limits, Limits())

    async def test_nobody_has_no_quota(self) -> None:
        with self.assertRaises(NoSuchAccount):
            await self.store.quotas.usage(AccountId(10**9))
        with self.assertRaises(NoSuchAccount):
            await self.store.quotas.limit(AccountId(10**9), Limits(messages=1))

    async def test_messages_beyond_the_limit_are_refused_each_for_itself(self) -> None:
        await self.limited(messages=2)
        other = await self.store.accounts.create("bob@example.org", HASH, [NewMailbox("INBOX")])
        theirs = (await self.store.mailboxes.find(other, "INBOX")).id
        made = [
            new_message(box, message(f"Mail {n}")) for n, box in enumerate([self.inbox, self.inbox, theirs, self.work])
        ]
        results = await self.store.messages.insert(made)
        self.assertEqual([type(one).__name__ for one in results], ["Inserted", "Inserted", "Inserted", "OverQuota"])
        self.assertEqual((await self.store.quotas.usage(self.account)).messages, 2)

    async def test_octets_are_counted_with_the_trace_header(self) -> None:
        raw, trace = message("Exactly"), b"Delivered-To: alice@example.org\r\n"
        await self.limited(storage=len(raw) + len(trace) - 1)
        (refused,) = await self.store.messages.insert([new_message(self.inbox, raw, trace=trace)])
        self.assertIsInstance(refused, OverQuota)
        await self.limited(storage=len(raw) + len(trace))
        (done,) = await self.insert(new_message(self.inbox, raw, trace=trace))
        self.assertEqual(done.filled, Filled(0, 1000))

    async def test_a_repeated_delivery_is_known_though_there_is_no_room(self) -> None:
        raw = message("Again")
        await self.limited(messages=1)
        await self.insert(
            new_message(self.inbox, raw, suppress=("Delivered-To: a", 3600.0), trace=b"Delivered-To: a\r\n")
        )
        (done,) = await self.insert(
            new_message(self.inbox, raw, suppress=("Delivered-To: a", 3600.0), trace=b"Delivered-To: a\r\n")
        )
        self.assertTrue(done.duplicate)

    async def test_how_full_an_account_becomes_is_told(self) -> None:
        await self.limited(messages=4)
        results = await self.insert(*[new_message(self.inbox, message(f"Mail {n}")) for n in range(3)])
        self.assertEqual([one.filled for one in results], [Filled(0, 250), Filled(250, 500), Filled(500, 750)])
        await self.store.quotas.limit(self.account, None)
        (done,) = await self.insert(new_message(self.inbox, message("No quota")))
        self.assertIsNone(done.filled)

    async def test_copies_count_and_moves_within_an_account_do_not(self) -> None:
        uids = await self.fill(2)
        await self.limited(messages=3)
        with self.assertRaises(OverQuota):
            await self.store.messages.copy(self.inbox, uids, self.work)
        await self.store.messages.copy(self.inbox, uids[:1], Named(self.account, "Work"))
        moved = await self.store.messages.move(self.inbox, uids, self.work, self.actor)
        self.assertEqual(len(moved.source), 2)

    async def test_expunging_makes_room(self) -> None:
        uids = await self.fill(1)
        await self.limited(messages=1)
        (refused,) = await self.store.messages.insert([new_message(self.inbox, message("Full"))])
        self.assertIsInstance(refused, OverQuota)
        await self.change(uids, Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        await self.insert(new_message(self.inbox, message("Room")))

    async def test_mailboxes_have_a_limit_with_their_parents(self) -> None:
        await self.limited(mailboxes=4)
        with self.assertRaises(OverQuota):
            await self.store.mailboxes.create(self.account, NewMailbox("a/b"))
        await self.store.mailboxes.create(self.account, NewMailbox("a"))
        with self.assertRaises(OverQuota):
            await self.store.mailboxes.create(self.account, NewMailbox("a/b"))

    async def test_a_domain_is_full_when_its_accounts_are_together(self) -> None:
        other = await self.store.accounts.create("bob@example.org", HASH, [NewMailbox("INBOX")])
        stranger = await self.store.accounts.create("bob@example.net", HASH, [NewMailbox("INBOX")])
        await self.fill(2)
        usage = await self.store.quotas.limit_domain("example.org", Limits(messages=2))
        self.assertEqual((usage.messages, usage.mailboxes, usage.limits), (2, 4, Limits(messages=2)))
        for account, admitted in ((other, False), (stranger, True)):
            inbox = (await self.store.mailboxes.find(account, "INBOX")).id
            (result,) = await self.store.messages.insert([new_message(inbox, message(f"For {account}"))])
            self.assertEqual(not isinstance(result, OverQuota), admitted)
        await self.store.quotas.limit_domain("example.org", None)
        self.assertFalse((await self.store.quotas.domain("example.org")).limits)
        await self.insert(new_message(self.inbox, message("Free")))

    async def test_domains_are_counted_again(self) -> None:
        await self.store.quotas.limit_domain("example.org", Limits(messages=100))
        await self.fill(3)
        self.assertEqual(await self.store.quotas.count_domains(older=0.0), 1)
        self.assertEqual((await self.store.quotas.domain("example.org")).messages, 3)
