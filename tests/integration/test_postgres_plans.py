"""What statements read where PostgreSQL's statistics are of yesterday: a mailbox filled since they were taken."""

from sora.core.flags import FLAGGED, Change
from sora.postgres.statement import runs_of
from sora.postgres.store import PostgresStore
from sora.store.model import FlagChange, NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests, server

COUNT = 2_000
STORE = (
    "SELECT * FROM store_flags(ARRAY[%s::bigint], '{1}', %s::bigint[], %s::integer[], '{-3}', '{2}', '{add}', '{NULL}',"
    " %s::bigint[], 200, 50, false)"
)
READ = "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables WHERE relname = 'messages'"
COPIES = """
INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags, trace)
SELECT mailbox_id, uid + n, body_id, modseq, email_id, thread_id, internal_date, size, flags, trace
  FROM messages, generate_series(1, %s) AS n WHERE mailbox_id = %s
"""


class StaleStatisticsTests(DatabaseTests):
    store: PostgresStore

    async def _set_up(self) -> None:
        """Have statistics that know one mailbox only, and fill another."""
        await super()._set_up()
        boxes = [NewMailbox("INBOX"), NewMailbox("Known")]
        account = await self.store.accounts.create("alice@example.org", "hash", boxes)
        self.inbox = (await self.store.mailboxes.find(account, "INBOX")).id
        known = (await self.store.mailboxes.find(account, "Known")).id
        await self.store.messages.insert([new_message(known) for _ in range(100)])
        self.sql("ANALYZE messages")
        await self.store.messages.insert([new_message(self.inbox)])
        self.sql(COPIES, (COUNT - 1, self.inbox))

    def rows_read(self, uids: list[int], times: int, unchanged_since: int | None = None) -> float:
        """Store a flag on the UIDs several times on one connection, and return how many rows were read each time."""
        connection = server().connect(self.settings.name)
        connection.autocommit = False
        try:
            with connection.cursor() as cursor:
                for _ in range(times):
                    runs = runs_of(uids)
                    cursor.execute(STORE, (self.inbox, runs, [runs.count(",") + 1], [unchanged_since]))
                cursor.execute(READ)
                return float(cursor.fetchone()[0]) / times
        finally:
            connection.close()

    def test_a_store_reads_the_messages_it_names_and_not_the_mailbox(self) -> None:
        self.assertLess(self.rows_read([700], times=8), 10)
        self.assertLess(self.rows_read([700], times=8, unchanged_since=10**9), 10)

    def test_a_store_on_all_reads_each_a_few_times(self) -> None:
        self.assertLess(self.rows_read(list(range(1, COUNT + 1)), times=1), 10 * COUNT)

    def test_a_store_on_every_second_reads_each_a_few_times(self) -> None:
        self.assertLess(self.rows_read(list(range(1, COUNT + 1, 2)), times=1), 5 * COUNT)

    async def test_a_uid_named_twice_is_answered_once(self) -> None:
        for uids in ((5, 5, 6), (6, 5, 6), (*range(40, 9, -1), 12)):
            (stored,) = await self.store.messages.store(self.inbox, [FlagChange(uids, Change.ADD, FLAGGED, ())])
            self.assertEqual(list(stored.columns.uids), sorted(set(uids)))
