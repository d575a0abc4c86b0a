"""The page on restoring: what it tells the operator to run does what it says (P3, D14)."""

import re
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.core.flags import SEEN, Change
from sora.postgres.migrate import migrate
from sora.postgres.store import open_store
from sora.store.model import Actor, FlagChange, NewMailbox
from tests.contract.mail import message, new_message
from tests.integration.database import PORT, DatabaseTests, binaries, server

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

    async def test_p1_a_dump_restored_over_a_fresh_database_is_the_whole_of_it(self) -> None:
        account = await self.store.accounts.create("a@example.org", "hash", [NewMailbox("INBOX")])
        inbox = (await self.store.mailboxes.find(account, "INBOX")).id
        mails = [message(f"number {n}", text="\xe9" * n) for n in range(20)]
        await self.store.messages.insert([new_message(inbox, raw, flags=SEEN) for raw in mails])
        await self.store.messages.store(inbox, [FlagChange((3,), Change.ADD, 0, ("kept",))])
        dump = server().directory / "sora.dump"
        self.addCleanup(dump.unlink)
        where = ["-h", str(server().directory), "-p", str(PORT), "-U", "sora"]
        self.run_tool("pg_dump", "-Fc", *where, "-f", str(dump), self.settings.name)
        fresh = server().create()
        self.addCleanup(server().drop, fresh)
        await migrate(server().settings(fresh), reactor)
        self.run_tool("pg_restore", "--clean", "--if-exists", *where, "-d", fresh, str(dump))
        restored = open_store(server().settings(fresh), reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(restored.stop()))
        self.assertEqual(await migrate(server().settings(fresh), reactor), [])
        await restored.start()
        self.assertEqual(await restored.audit.findings(), [])
        before, after = [
            await store.mailboxes.open(account, "INBOX", claim_recent=False) for store in (self.store, restored)
        ]
        self.assertEqual(after, before)
        bodies = [ref.id for ref in await restored.audit.references(after=0, limit=100)]
        self.assertEqual(sorted((await restored.bodies.staged(bodies)).values()), sorted(mails))
        (inserted,) = await restored.messages.insert([new_message(inbox)])
        self.assertEqual(inserted.uid, 21)

    def run_tool(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; it must succeed."""
        done = subprocess.run([binaries() / name, *arguments], check=False, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""))
