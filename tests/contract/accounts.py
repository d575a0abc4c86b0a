"""The contract of `store.interfaces.Accounts`."""

from sora.core.errors import AccountExists, NoSuchAccount
from sora.store.model import AccountStatus, NewMailbox
from tests.contract.base import ADDRESS, FIRST, HASH, StoreContract
from tests.contract.mail import new_message


class AccountsContract(StoreContract):
    """Accounts, aliases, credentials and states."""

    async def test_login_finds_the_account_and_its_credentials(self) -> None:
        found = await self.store.accounts.login(ADDRESS)
        self.assertEqual((found.account, found.address, found.status), (self.account, ADDRESS, AccountStatus.ACTIVE))
        self.assertEqual([credential.hash for credential in found.credentials], [HASH])

    async def test_login_of_an_unknown_address_finds_nothing(self) -> None:
        self.assertIsNone(await self.store.accounts.login("nobody@example.org"))

    async def test_login_by_an_alias_gives_the_primary_address(self) -> None:
        await self.store.accounts.add_alias(self.account, "al@example.org")
        self.assertEqual((await self.store.accounts.login("al@example.org")).address, ADDRESS)

    async def test_login_finds_a_deleted_account_and_says_so(self) -> None:
        await self.store.accounts.set_status(self.account, AccountStatus.DELETED)
        self.assertIs((await self.store.accounts.login(ADDRESS)).status, AccountStatus.DELETED)

    async def test_two_accounts_cannot_have_one_address(self) -> None:
        with self.assertRaises(AccountExists):
            await self.store.accounts.create(ADDRESS, HASH, FIRST)

    async def test_a_taken_alias_leaves_no_half_made_account(self) -> None:
        with self.assertRaises(AccountExists):
            await self.store.accounts.create("bob@example.org", HASH, FIRST, aliases=[ADDRESS])
        self.assertIsNone(await self.store.accounts.login("bob@example.org"))

    async def test_an_account_is_created_with_its_mailboxes_and_aliases(self) -> None:
        first = [NewMailbox("INBOX", subscribed=True), NewMailbox("Old/Mail", "\\Archive")]
        bob = await self.store.accounts.create("bob@example.org", HASH, first, aliases=["b@example.org"])
        listing = await self.store.mailboxes.listing(bob)
        self.assertEqual([row.name for row in listing.mailboxes], ["INBOX", "Old", "Old/Mail"])
        self.assertEqual([row.special_use for row in listing.mailboxes], [None, None, "\\Archive"])
        self.assertEqual(listing.subscriptions, ("INBOX",))
        self.assertEqual((await self.store.accounts.row("b@example.org")).id, bob)

    async def test_recipients_are_resolved_and_unknown_ones_are_absent(self) -> None:
        await self.store.accounts.add_alias(self.account, "al@example.org")
        wanted = [ADDRESS, "al@example.org", "nobody@example.org"]
        found = await self.store.accounts.recipients(wanted)
        self.assertEqual(set(found), {ADDRESS, "al@example.org"})
        self.assertEqual(found["al@example.org"].address, ADDRESS)
        self.assertEqual(found["al@example.org"].inbox, self.inbox)
        self.assertEqual(found[ADDRESS].account, self.account)

    async def test_no_recipients_are_resolved_to_nothing(self) -> None:
        self.assertEqual(await self.store.accounts.recipients([]), {})

    async def test_mail_for_a_suspended_account_has_a_recipient_and_for_a_deleted_one_none(self) -> None:
        await self.store.accounts.set_status(self.account, AccountStatus.SUSPENDED)
        found = await self.store.accounts.recipients([ADDRESS])
        self.assertIs(found[ADDRESS].status, AccountStatus.SUSPENDED)
        await self.store.accounts.set_status(self.account, AccountStatus.DELETED)
        self.assertEqual(await self.store.accounts.recipients([ADDRESS]), {})

    async def test_a_deleted_account_can_be_reactivated_within_the_grace(self) -> None:
        await self.store.accounts.set_status(self.account, AccountStatus.DELETED)
        await self.store.bodies.collect(grace=3600, generation=3600, limit=10)
        await self.store.accounts.set_status(self.account, AccountStatus.ACTIVE)
        self.assertEqual(set(await self.store.accounts.recipients([ADDRESS])), {ADDRESS})

    async def test_rows_are_listed_in_pages_ascending_by_address(self) -> None:
        for name in ("carol@example.net", "bob@example.org", "dave@example.org"):
            await self.store.accounts.create(name, HASH, FIRST)
        first = await self.store.accounts.rows(limit=2)
        self.assertEqual([row.address for row in first], [ADDRESS, "bob@example.org"])
        rest = await self.store.accounts.rows(after=first[-1].address)
        self.assertEqual([row.address for row in rest], ["carol@example.net", "dave@example.org"])
        of_domain = await self.store.accounts.rows(domain="example.net")
        self.assertEqual([row.address for row in of_domain], ["carol@example.net"])

    async def test_a_row_counts_mailboxes_messages_and_octets(self) -> None:
        await self.store.accounts.add_alias(self.account, "al@example.org")
        new = new_message(self.inbox, trace=b"Return-Path: <>\r\n")
        await self.insert(new)
        row = await self.store.accounts.row(ADDRESS)
        self.assertEqual((row.mailboxes, row.messages, row.size), (3, 1, 17 + new.body.size))
        self.assertEqual((row.aliases, row.status), (("al@example.org",), AccountStatus.ACTIVE))

    async def test_the_row_of_an_unknown_address_is_an_error(self) -> None:
        with self.assertRaises(NoSuchAccount):
            await self.store.accounts.row("nobody@example.org")

    async def test_a_new_password_replaces_all_credentials(self) -> None:
        before = await self.store.accounts.login(ADDRESS)
        await self.store.accounts.set_password(self.account, "{NEW}")
        after = await self.store.accounts.login(ADDRESS)
        self.assertEqual([credential.hash for credential in after.credentials], ["{NEW}"])
        self.assertNotEqual(before.credentials[0].id, after.credentials[0].id)

    async def test_a_hash_is_strengthened_only_if_it_did_not_change_meanwhile(self) -> None:
        credential = (await self.store.accounts.login(ADDRESS)).credentials[0]
        await self.store.accounts.replace_hash(credential.id, "{OTHER}", "{WRONG}")
        self.assertEqual((await self.store.accounts.login(ADDRESS)).credentials[0].hash, HASH)
        await self.store.accounts.replace_hash(credential.id, HASH, "{STRONG}")
        self.assertEqual((await self.store.accounts.login(ADDRESS)).credentials[0].hash, "{STRONG}")

    async def test_an_alias_taken_by_anyone_is_refused(self) -> None:
        await self.store.accounts.create("bob@example.org", HASH, FIRST)
        with self.assertRaises(AccountExists):
            await self.store.accounts.add_alias(self.account, "bob@example.org")

    async def test_an_alias_that_was_removed_is_free_again(self) -> None:
        await self.store.accounts.add_alias(self.account, "al@example.org")
        await self.store.accounts.remove_alias(self.account, "al@example.org")
        self.assertIsNone(await self.store.accounts.login("al@example.org"))
        await self.store.accounts.create("al@example.org", HASH, FIRST)

    async def test_the_primary_address_is_no_alias_to_remove(self) -> None:
        with self.assertRaises(NoSuchAccount):
            await self.store.accounts.remove_alias(self.account, ADDRESS)
        with self.assertRaises(NoSuchAccount):
            await self.store.accounts.remove_alias(self.account, "nobody@example.org")

    async def test_a_deleted_account_is_gone_once_collected_and_its_address_is_free(self) -> None:
        await self.fill(2)
        await self.store.accounts.set_status(self.account, AccountStatus.DELETED)
        for _ in range(4):
            await self.store.bodies.collect(grace=0.0, generation=0.0, limit=100)
        self.assertIsNone(await self.store.accounts.login(ADDRESS))
        self.assertEqual(await self.store.accounts.rows(), [])
        again = await self.store.accounts.create(ADDRESS, HASH, FIRST)
        self.assertEqual((await self.store.mailboxes.find(again, "INBOX")).messages, 0)
