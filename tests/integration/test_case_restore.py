"""The page on restoring: what it tells the operator to run does what it says (P3, D14)."""

import re
from pathlib import Path

from sora.store.model import Actor, NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate" / "backup-and-restore.md"


class RestoreTests(DatabaseTests):
    """Statements of the page."""

    async def test_p3_after_a_restore_every_uidvalidity_is_greater_than_any_before(self) -> None:
        account = await self.store.accounts.create("a@example.org", "hash", [NewMailbox("INBOX"), NewMailbox("Work")])
        inbox = await self.store.mailboxes.find(account, "INBOX")
        await self.store.messages.insert([new_message(inbox.id) for _ in range(3)])
        # What the lost moments gave out: some mailboxes were made anew after the backup.
        last = inbox.uid_validity
        for _ in range(3):
            await self.store.mailboxes.delete(account, "Work", Actor(account, "a@example.org", "imap", "1"))
            last = (await self.store.mailboxes.create(account, NewMailbox("Work"))).uid_validity
        self.sql("SELECT setval('uid_validities', %s)", (inbox.uid_validity,))
        (block,) = re.findall(r"runs the following -->\n\n((?:    .*\n)+)", PAGE.read_text())
        await self.store.stop()
        self.sql(block)
        self.store = await self.open()
        now = [row.uid_validity for row in (await self.store.mailboxes.listing(account)).mailboxes]
        self.assertEqual(len(set(now)), 2)
        self.assertGreater(min(now), last)
        self.assertEqual(await self.store.audit.findings(), [])
