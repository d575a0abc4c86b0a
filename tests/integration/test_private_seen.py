"""A \\Seen of one's own over PostgreSQL: many at once, what the collector takes, two servers of a configuration."""

import imaplib
import random

from twisted.internet.defer import Deferred

from sora.aio import gather
from sora.core.flags import DELETED, FLAGGED, SEEN, Change
from sora.core.ids import AccountId
from sora.core.rights import ALL, Edit
from sora.mail.mailboxes import DEFAULTS
from sora.store.model import AccountStatus, Actor, FlagChange, NewMailbox, Sight
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests
from tests.integration.serving import HOST, PASSWORD, PASSWORD_HASH, TIMEOUT, Answers, ServiceTests, in_thread

BOB = "bob@example.org"
NAME = '"Other Users/anna/INBOX"'


class PrivateSeenTests(DatabaseTests):
    """Work has 30 messages and three readers."""

    pool_max = 8

    async def _set_up(self) -> None:
        await super()._set_up()
        made = [NewMailbox("INBOX"), NewMailbox("Work")]
        self.owner = await self.store.accounts.create("anna@example.org", "hash", made)
        self.readers = [
            await self.store.accounts.create(f"r{n}@example.org", "hash", [NewMailbox("INBOX")]) for n in range(3)
        ]
        self.work = (await self.store.mailboxes.find(self.owner, "Work")).id
        await self.store.messages.insert([new_message(self.work) for _ in range(30)])
        self.actor = Actor(self.owner, "anna@example.org", "imap", "s")

    async def put(self, uids: tuple[int, ...], flags: int, change: Change, reader: AccountId | None) -> int:
        """Change flags; return the modseq if that changed anything, or 0."""
        request = FlagChange(uids, change, flags, ())
        (stored,) = await self.store.messages.store(self.work, [request], reader=reader)
        return int(stored.modseq) if stored.changed else 0

    async def test_v11_counts_equal_a_recount_after_any_interleaving_and_no_modseq_is_given_twice(self) -> None:
        chance = random.Random(11)  # noqa: S311  the same work each time
        everyone = [None, *self.readers]
        for _ in range(4):
            changes = []
            for _ in range(40):
                uids = tuple(sorted(chance.sample(range(1, 40), 3)))
                change = chance.choice((Change.ADD, Change.REMOVE))
                changes.append(self.put(uids, chance.choice((SEEN, SEEN | FLAGGED)), change, chance.choice(everyone)))
            reader = chance.choice(self.readers)
            sight = Sight(reader, here=True, there=True)
            moved = self.store.messages.move(self.work, [chance.randrange(1, 31)], self.work, self.actor, sight=sight)
            deleted = (chance.randrange(1, 31),)
            gone = self.store.messages.store(self.work, [FlagChange(deleted, Change.ADD, DELETED, ())])
            left = self.store.messages.expunge(self.work, None, self.actor)
            arrived = self.store.messages.insert([new_message(self.work, seen_by=reader)])
            results = await gather([*map(Deferred.fromCoroutine, changes), moved, gone, left, arrived])
            modseqs = [modseq for modseq in results[: len(changes)] if modseq]
            self.assertEqual(len(set(modseqs)), len(modseqs))
            self.assertEqual(await self.store.audit.findings(), [])
        for reader in self.readers:
            row = await self.store.mailboxes.find(self.owner, "Work", reader=reader)
            opened = await self.store.mailboxes.open(self.owner, "Work", claim_recent=False, reader=reader)
            self.assertEqual(row.unseen, sum(not flags & SEEN for flags in opened.columns.flags))

    async def collect(self) -> list[int]:
        """Collect in small steps; return how many rows there were after each."""
        rows = []
        for _ in range(80):
            await self.store.bodies.collect(grace=0.0, generation=0.0, limit=5)
            ((count,),) = self.sql("SELECT count(*) FROM private_seen")
            rows.append(int(count))
        return rows

    async def test_the_collector_takes_what_a_deleted_reader_has_seen_in_steps_and_nothing_of_the_others(self) -> None:
        for reader in self.readers:
            await self.put(tuple(range(1, 21)), SEEN, Change.ADD, reader)
        await self.store.accounts.set_status(self.readers[0], AccountStatus.DELETED)
        self.assertEqual(await self.store.audit.findings(), [])
        rows = await self.collect()
        self.assertEqual(min(rows), 40)
        self.assertLessEqual(max(before - after for before, after in zip([60, *rows], rows, strict=False)), 5)
        self.assertEqual(self.sql("SELECT count(*), sum(seen) FROM private_readers"), [(2, 40)])
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_the_collector_takes_what_was_seen_with_a_deleted_owners_mailboxes(self) -> None:
        await self.put(tuple(range(1, 21)), SEEN, Change.ADD, self.readers[0])
        await self.store.accounts.set_status(self.owner, AccountStatus.DELETED)
        self.assertEqual((await self.collect())[-1], 0)
        self.assertEqual(self.sql("SELECT count(*) FROM private_readers"), [(0,)])
        self.assertEqual(await self.store.audit.findings(), [])


class TwoServersTests(ServiceTests):
    """`shared_mailboxes.seen_per_user` as an operator sets it, on two servers of one database."""

    async def test_a_users_session_at_another_server_hears_what_he_has_seen_and_the_owner_does_not(self) -> None:
        await self.store.accounts.create(BOB, PASSWORD_HASH, DEFAULTS)
        inbox = (await self.store.mailboxes.find(self.account, "INBOX")).id
        await self.store.messages.insert([new_message(inbox), new_message(inbox)])
        await self.store.grants.grant(inbox, BOB, Edit.REPLACE, ALL, negative=False)
        more = (
            "[shared_mailboxes]\nenabled = true\nseen_per_user = true\n",
            f'[storage]\nobjects = "{self.state}/shared"\n',
        )
        _, first = await self.serve(*more, state=self.state / "first")
        _, second = await self.serve(*more, state=self.state / "second")

        def bob(answers: Answers) -> imaplib.IMAP4:
            client = imaplib.IMAP4(HOST, answers.ports["imap"], timeout=TIMEOUT)
            client.login(BOB, PASSWORD)
            client.select(NAME)
            return client

        here, there = await in_thread(bob, first), await in_thread(bob, second)
        self.addCleanup(here.shutdown)
        self.addCleanup(there.shutdown)
        owner = await self.idle(second)
        there.send(b"idle IDLE\r\n")
        self.assertTrue((await in_thread(there.readline)).startswith(b"+ "))
        await in_thread(here.store, "2", "+FLAGS.SILENT", "(\\Seen)")
        self.assertEqual(await in_thread(there.readline), b"* 2 FETCH (FLAGS (\\Seen))\r\n")
        # What everyone sees comes to both, and to the owner as the first that she hears of.
        await in_thread(here.store, "2", "+FLAGS.SILENT", "(\\Flagged)")
        self.assertEqual(await in_thread(there.readline), b"* 2 FETCH (FLAGS (\\Seen \\Flagged))\r\n")
        self.assertEqual(await in_thread(owner.next), b"* 2 FETCH (FLAGS (\\Flagged))")
