"""How PostgreSQL finds what the hot statements ask for: never by reading a big table from end to end.

A database with many mailboxes is filled and analysed; then each operation runs through the store, and the
server's own counters say whether a big table was scanned: they count what functions do as well.
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from sora.core import criteria as keys
from sora.core.criteria import Criteria
from sora.core.flags import DELETED, SEEN, Change
from sora.core.ids import AccountId, BodyId, MailboxId, ModSeq, Uid
from sora.core.uidset import UidSet
from sora.store.model import Actor, FlagChange, Named, Want
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

ACCOUNTS: Final = 1_000
PER_MAILBOX: Final = 25
RUNS: Final = 7
BIG: Final = ("messages", "bodies", "body_texts", "mailboxes", "tombstones", "staged_bodies", "accounts", "addresses")
FILL: Final = """
INSERT INTO accounts (id) SELECT n FROM generate_series(1001, 1000 + {accounts}) AS n;
INSERT INTO addresses SELECT 'u' || id || '@example.org', id, true FROM accounts;
INSERT INTO addresses SELECT 'a' || n || id || '@example.org', id, false FROM accounts, generate_series(1, 4) AS n;
INSERT INTO credentials (account_id, hash) SELECT id, 'x' FROM accounts;
INSERT INTO mailboxes (id, account_id, name, uid_next, highest_modseq, messages, unseen, recent_from, size)
SELECT account.id * 10 + n, account.id, name, {per} + 1, {per}, {per}, {per}, {per} + 1, {per} * 2000
  FROM accounts AS account, unnest(ARRAY['INBOX', 'Sent', 'Trash', 'Drafts']) WITH ORDINALITY AS u (name, n);
INSERT INTO bodies (id, scope, hash, size, object_key, stored, thread, envelope, structure, body, header, subject,
                    base_subject, sort_from, sort_to, sort_cc, display_from, display_to, preview)
SELECT n, 'domain/example.org', sha256(int8send(n)), 2000, 'k' || n, false, n, repeat('e', 300)::bytea,
       repeat('s', 120)::bytea, '', repeat('h', 500)::bytea, 's', 's', 'f', 't', '', 'f', 't', repeat('p', 100)
  FROM generate_series(1, {accounts} * {per}) AS n;
INSERT INTO body_texts SELECT id, true, '{{}}', 'h', 'b' FROM bodies;
INSERT INTO staged_bodies (body_id, size, data) SELECT id, 40, repeat('d', 40)::bytea FROM bodies;
INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags, trace)
SELECT account.id * 10 + 1, uid, (account.id - 1001) * {per} + uid, uid, 1, 1, now(), 2000, 0, ''
  FROM accounts AS account, generate_series(1, {per}) AS uid;
INSERT INTO tombstones (mailbox_id, uid, modseq, account_id, body_id, email_id, thread_id, internal_date, save_date,
                        size, flags, trace, how, who_address, protocol, session)
SELECT mailbox_id + 1, uid, uid, mailbox_id / 10, body_id, 1, 1, now(), now(), 2000, 0, '', 'expunge', '', '', ''
  FROM messages;
SELECT setval(pg_get_serial_sequence(t, 'id'), 1000000) FROM unnest(ARRAY['accounts', 'mailboxes', 'bodies']) AS t;
ANALYZE;
"""


class PlanTests(DatabaseTests):
    """Operations of the store in a database with many mailboxes."""

    # One connection: what it counted is what it did.
    pool_max = 1

    async def _set_up(self) -> None:
        await super()._set_up()
        self.sql(FILL.replace("{accounts}", str(ACCOUNTS)).replace("{per}", str(PER_MAILBOX)).replace("{{}}", "{}"))
        self.account = AccountId(1200)
        self.inbox = MailboxId(12_001)
        self.actor = Actor(self.account, "u1200@example.org", "imap", "s")
        self.address = "u1200@example.org"

    async def scans(self) -> dict[str, int]:
        """Return how often each big table was read from end to end."""
        await self.store.pool.query("SELECT pg_stat_force_next_flush()")
        await self.store.pool.query("SELECT 1")
        rows = self.sql("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (%s)", (list(BIG),))
        return dict(rows)

    def operations(self) -> "dict[str, Callable[[], Any]]":
        """Return what the program does all day."""
        return {**self.looking(), **self.reading(), **self.changing(), **self.arriving()}

    def looking(self) -> "dict[str, Callable[[], Any]]":
        """Return how an account and its mailboxes are found, opened and refreshed."""
        accounts, mailboxes = self.store.accounts, self.store.mailboxes
        return {
            "login": lambda: accounts.login(self.address),
            "recipients": lambda: accounts.recipients([self.address, "u1300@example.org"]),
            "listing": lambda: mailboxes.listing(self.account),
            "find": lambda: mailboxes.find(self.account, "INBOX"),
            "open": lambda: mailboxes.open(self.account, "INBOX", claim_recent=False),
            "open and claim": lambda: mailboxes.open(self.account, "INBOX", claim_recent=True),
            "some changes": lambda: mailboxes.changes(self.inbox, ModSeq(PER_MAILBOX - 5)),
            "changes and claim": lambda: mailboxes.changes(self.inbox, ModSeq(PER_MAILBOX - 5), claim_recent=True),
            "no changes": lambda: mailboxes.changes(self.inbox, ModSeq(2**40)),
        }

    def reading(self) -> "dict[str, Callable[[], Any]]":
        """Return how messages are read and found."""
        messages, bodies = self.store.messages, self.store.bodies
        uids = [*range(1, PER_MAILBOX + 1)]
        listing = Want.INTERNAL_DATE | Want.SIZE | Want.ENVELOPE | Want.STRUCTURE

        def search(step: keys.Step) -> "Deferred[Any]":
            return messages.search(self.inbox, Criteria((step,)), recent_from=Uid(1), uid_max=PER_MAILBOX)

        return {
            "a listing": lambda: messages.fetch(self.inbox, uids, listing),
            "sizes": lambda: messages.fetch(self.inbox, uids, Want.SIZE),
            "references": lambda: messages.fetch(self.inbox, uids, Want.BYTES),
            "a header": lambda: messages.fetch(self.inbox, [7], Want.HEADER),
            "staged bytes": lambda: bodies.staged([BodyId(n) for n in range(100, 120)]),
            "by size": lambda: search(keys.Size(keys.Relation.LARGER, 1000)),
            "by text": lambda: search(keys.Text(keys.Field.TEXT, "b")),
            "by subject": lambda: search(keys.Text(keys.Field.SUBJECT, "b")),
            "by UID": lambda: search(keys.Uids(UidSet(((1, 5),)))),
        }

    def changing(self) -> "dict[str, Callable[[], Any]]":
        """Return how flags are changed, and messages copied, moved and expunged."""
        messages = self.store.messages
        uids = tuple(range(1, 11))
        trash = Named(self.account, "Trash")
        one = iter(range(11, PER_MAILBOX))
        last = iter(range(PER_MAILBOX, 11, -1))

        async def expunge() -> None:
            await messages.store(self.inbox, [FlagChange((uid := next(one),), Change.ADD, DELETED, ())])
            await messages.expunge(self.inbox, [uid], self.actor)

        return {
            "add a flag": lambda: messages.store(self.inbox, [FlagChange(uids, Change.ADD, SEEN, ("Work",))]),
            "replace flags": lambda: messages.store(self.inbox, [FlagChange(uids, Change.REPLACE, 0, ())]),
            "copy": lambda: messages.copy(self.inbox, uids, trash),
            "move": lambda: messages.move(self.inbox, [next(last)], trash, self.actor),
            "expunge": expunge,
            "expunge nothing": lambda: messages.expunge(self.inbox, None, self.actor),
        }

    def arriving(self) -> "dict[str, Callable[[], Any]]":
        """Return how messages arrive and where their bytes go."""
        bodies = self.store.bodies
        line = "Delivered-To: u1200@example.org"

        def deliver(mailbox: Any, suppress: Any = None) -> "Deferred[Any]":
            new = new_message(mailbox, trace=line.encode(), suppress=suppress)
            return self.store.messages.insert([new])

        async def upload() -> None:
            for one in await bodies.claim_uploads(10, 60.0):
                await bodies.uploaded([one.ref.id])

        return {
            "deliver": lambda: deliver(self.inbox),
            "deliver once": lambda: deliver(self.inbox, (line, 60.0)),
            "append": lambda: deliver(Named(self.account, "INBOX")),
            "upload": upload,
        }

    async def test_no_operation_reads_a_big_table_from_end_to_end(self) -> None:
        scanning = {}
        before = await self.scans()
        for name, operation in self.operations().items():
            # Often enough for a generic plan to be chosen.
            for _ in range(RUNS):
                await operation()
            after = await self.scans()
            if grown := {table: after[table] - before[table] for table in BIG if after[table] > before[table]}:
                scanning[name] = grown
            before = after
        self.assertEqual(scanning, {})
        # The counters do notice one.
        await self.store.pool.query("SELECT count(*) FROM messages WHERE size = 1")
        self.assertEqual((await self.scans())["messages"], before["messages"] + 1)
