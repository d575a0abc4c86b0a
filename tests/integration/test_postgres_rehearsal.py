"""What connections try before anyone waits for them."""

from sora.core.ids import AccountId, MailboxId
from sora.store.model import NewMailbox, Want
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

PREPARED = "SELECT count(*) FROM pg_prepared_statements"


class RehearsalTests(DatabaseTests):
    async def account(self) -> tuple[AccountId, MailboxId]:
        """Make an account with one message in its INBOX."""
        account = await self.store.accounts.create("alice@example.org", "hash", [NewMailbox("INBOX")])
        inbox = (await self.store.mailboxes.find(account, "INBOX")).id
        await self.store.messages.insert([new_message(inbox)])
        return account, inbox

    async def test_what_sessions_ask_first_is_prepared_on_each_connection_that_is_kept(self) -> None:
        account, inbox = await self.account()
        store = await self.open(pool_min=2)
        await store.rehearse()
        self.assertEqual((len(store.pool.connections), store.pool.in_use), (2, 0))
        before = [(await one.query(PREPARED))[0][0] for one in store.pool.connections]
        self.assertEqual(before[0], before[1])
        self.assertGreater(before[0], 3)
        await store.accounts.login("alice@example.org")
        opened = await store.mailboxes.open(account, "INBOX", claim_recent=True)
        self.assertEqual(list(opened.columns.uids), [1])
        await store.mailboxes.changes(inbox, opened.mailbox.highest_modseq)
        listed = await store.messages.listing(
            inbox, [1], Want.INTERNAL_DATE | Want.SIZE | Want.ENVELOPE | Want.STRUCTURE
        )
        self.assertEqual(len(listed.envelopes), 1)
        self.assertEqual([(await one.query(PREPARED))[0][0] for one in store.pool.connections], before)

    async def test_a_rehearsal_changes_nothing_and_its_failure_keeps_nobody_from_starting(self) -> None:
        account, _ = await self.account()
        await self.store.rehearse()
        self.assertEqual((await self.store.mailboxes.find(account, "INBOX")).recent, 1)
        self.sql("ALTER TABLE subscriptions RENAME TO elsewhere")
        try:
            store = await self.open()
            await store.rehearse()
            self.assertEqual(await store.pool.query("SELECT 1"), [(1,)])
        finally:
            self.sql("ALTER TABLE elsewhere RENAME TO subscriptions")
