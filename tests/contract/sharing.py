"""What every store promises of rights in mailboxes (RFC 4314): whom a grant concerns, what a list keeps."""

from sora.core import limits
from sora.core.errors import AccountExists, LimitReached, MailboxExists, NoSuchAccount, NoSuchMailbox
from sora.core.ids import AccountId, MailboxId
from sora.core.rights import ALL, Edit, Grant, parse
from sora.store.grants import ANYONE, Entry
from sora.store.model import AccountStatus, NewMailbox
from tests.contract.base import HASH, StoreContract

BOB = "bob@example.org"
SALES = "$sales@example.org"


class SharingContract(StoreContract):
    """Rights in mailboxes. The account shares Work with others of its domain."""

    async def setUp(self) -> None:
        await super().setUp()
        self.bob = await self.account_of(BOB)

    async def account_of(self, address: str) -> AccountId:
        """Create an account with an INBOX."""
        return await self.store.accounts.create(address, HASH, [NewMailbox("INBOX")])

    async def give(self, identifier: str, rights: str, edit: Edit = Edit.REPLACE, *, negative: bool = False) -> None:
        """Change rights in Work."""
        await self.store.grants.grant(self.work, identifier, edit, parse(rights), negative=negative)

    async def bobs(self, name: str = "Work") -> str:
        """Return Bob's rights in a mailbox of the account."""
        return "".join(sorted((await self.store.grants.seen(self.bob, "alice", name)).rights))

    async def test_a_mailbox_is_found_whatever_rights_there_are(self) -> None:
        seen = await self.store.grants.seen(self.bob, "alice", "Work")
        self.assertEqual((seen.mailbox, seen.owner, seen.owner_address), (self.work, self.account, "alice@example.org"))
        self.assertEqual(seen.rights, frozenset())
        for owner, name in (("alice", "Nowhere"), ("nobody", "Work"), (None, "Work")):
            with self.assertRaises(NoSuchMailbox):
                await self.store.grants.seen(self.bob, owner, name)

    async def test_rights_are_set_added_and_removed(self) -> None:
        await self.give(BOB, "lr")
        await self.give(BOB, "ws", Edit.ADD)
        self.assertEqual(await self.bobs(), "lrsw")
        await self.give(BOB, "rs", Edit.REMOVE)
        self.assertEqual(await self.bobs(), "lw")
        await self.give(BOB, "a")
        self.assertEqual(await self.bobs(), "a")
        await self.give(BOB, "")
        self.assertEqual(await self.store.grants.entries(self.work), [])

    async def test_negative_rights_take_from_whoever_gives(self) -> None:
        await self.give(BOB, "lrs")
        await self.give(ANYONE, "wi")
        await self.give(BOB, "rw", negative=True)
        self.assertEqual(await self.bobs(), "ils")
        self.assertEqual(
            await self.store.grants.entries(self.work),
            [
                Entry(ANYONE, Grant(parse("wi"))),
                Entry(BOB, Grant(parse("lrs"))),
                Entry(BOB, Grant(parse("rw"), negative=True)),
            ],
        )

    async def test_l14_a_list_has_so_many_entries_and_those_on_it_can_still_be_changed(self) -> None:
        self.patch(limits, "ACL_ENTRIES_MAX", 2)
        await self.account_of("carol@example.org")
        await self.give(BOB, "lr")
        await self.give(BOB, "w", negative=True)
        for identifier, edit in ((ANYONE, Edit.REPLACE), ("carol@example.org", Edit.ADD)):
            with self.assertRaises(LimitReached):
                await self.give(identifier, "l", edit)
        await self.give(ANYONE, "l", Edit.REMOVE)
        await self.give(BOB, "s", Edit.ADD)
        self.assertEqual(await self.bobs(), "lrs")
        await self.give(BOB, "", negative=True)
        await self.give(ANYONE, "i")
        self.assertEqual(await self.bobs(), "ilrs")

    async def test_groups_give_rights_to_their_members_only(self) -> None:
        carol = await self.account_of("carol@example.org")
        await self.store.grants.create_group(SALES)
        with self.assertRaises(AccountExists):
            await self.store.grants.create_group(SALES)
        await self.store.grants.join(SALES, BOB, member=True)
        await self.store.grants.join(SALES, BOB, member=True)
        await self.give(SALES, "lr")
        self.assertEqual(await self.bobs(), "lr")
        self.assertEqual((await self.store.grants.seen(carol, "alice", "Work")).rights, frozenset())
        self.assertEqual([(g, tuple(m)) for g, m in await self.store.grants.groups("example.org")], [(SALES, (BOB,))])
        await self.store.grants.join(SALES, BOB, member=False)
        self.assertEqual(await self.bobs(), "")
        await self.store.grants.delete_group(SALES)
        self.assertEqual(await self.store.grants.entries(self.work), [])
        with self.assertRaises(NoSuchAccount):
            await self.store.grants.delete_group(SALES)

    async def test_nothing_crosses_the_domain(self) -> None:
        stranger = await self.account_of("bob@example.net")
        await self.store.grants.create_group("$sales@example.net")
        for identifier in ("bob@example.net", "nobody@example.org", "$sales@example.net", "$none@example.org"):
            with self.assertRaises(NoSuchAccount):
                await self.give(identifier, "lr")
        with self.assertRaises(NoSuchAccount):
            await self.store.grants.join("$sales@example.net", BOB, member=True)
        await self.give(ANYONE, "lr")
        with self.assertRaises(NoSuchMailbox):
            await self.store.grants.seen(stranger, "alice", "Work")
        self.assertEqual(await self.store.grants.visible(stranger), [])

    async def test_what_concerns_someone_is_visible(self) -> None:
        self.assertEqual(await self.store.grants.visible(self.bob), [])
        await self.give(BOB, "l")
        await self.give(ANYONE, "r")
        (one,) = await self.store.grants.visible(self.bob)
        self.assertEqual((one.row.id, one.row.name, one.owner_address), (self.work, "Work", "alice@example.org"))
        self.assertEqual(one.rights, parse("lr"))
        self.assertEqual(await self.store.grants.visible(self.account), [])

    async def test_aliases_lead_to_their_account(self) -> None:
        await self.store.accounts.add_alias(self.bob, "robert@example.org")
        await self.give("robert@example.org", "lr")
        self.assertEqual((await self.store.grants.entries(self.work))[0].identifier, BOB)

    async def test_a_new_mailbox_has_the_rights_of_the_nearest_above_it(self) -> None:
        await self.give(BOB, "lrk")
        await self.store.mailboxes.create(self.account, NewMailbox("Work/a/b"))
        await self.store.mailboxes.create(self.account, NewMailbox("Other/a"))
        self.assertEqual(await self.bobs("Work/a"), "klr")
        self.assertEqual(await self.bobs("Work/a/b"), "klr")
        self.assertEqual(await self.bobs("Other/a"), "")
        await self.give(BOB, "")
        self.assertEqual(await self.bobs("Work/a/b"), "klr")

    async def test_rights_follow_a_renamed_mailbox_and_end_with_a_deleted_one(self) -> None:
        await self.give(BOB, "lr")
        await self.store.mailboxes.rename(self.account, "Work", "Job")
        self.assertEqual(await self.bobs("Job"), "lr")
        await self.store.mailboxes.delete(self.account, "Job", self.actor)
        await self.store.mailboxes.create(self.account, NewMailbox("Job"))
        self.assertEqual(await self.bobs("Job"), "")
        with self.assertRaises(NoSuchMailbox):
            await self.store.grants.grant(MailboxId(10**9), BOB, Edit.ADD, ALL, negative=False)

    async def test_a_deleted_account_shares_nothing(self) -> None:
        await self.give(BOB, "lr")
        await self.store.accounts.set_status(self.account, AccountStatus.DELETED)
        self.assertEqual(await self.store.grants.visible(self.bob), [])
        with self.assertRaises(NoSuchMailbox):
            await self.bobs()

    async def test_mailboxes_of_a_domain_belong_to_nobody_who_signs_in(self) -> None:
        await self.store.grants.create_common("example.org", "Sales/2026", parse("lrk"), self.bob)
        seen = await self.store.grants.seen(self.bob, None, "Sales/2026")
        self.assertEqual(seen.rights, parse("lrk"))
        self.assertEqual((await self.store.grants.seen(self.bob, None, "Sales")).rights, parse("lrk"))
        self.assertEqual((await self.store.grants.seen(self.account, None, "Sales")).rights, frozenset())
        with self.assertRaises(MailboxExists):
            await self.store.grants.create_common("example.org", "Sales", ALL, self.account)
        await self.store.grants.create_common("example.org", "News", frozenset(), None)
        self.assertEqual((await self.store.grants.seen(self.bob, None, "News")).rights, frozenset())
        self.assertEqual(len(await self.store.grants.visible(self.bob)), 2)
