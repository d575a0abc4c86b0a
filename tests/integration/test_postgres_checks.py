"""What the server tells of itself at start (D13), and what the audit finds when rows are broken on purpose (D14)."""

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core.errors import ConfigurationInvalid
from sora.core.ids import BodyId
from sora.postgres import checks
from sora.postgres.audit import QUERIES
from sora.store.model import NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

GOOD = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "server_encoding": "UTF8",
    "server_version_num": "150006",
    "data_checksums": "on",
}
# What breaks a database so that exactly this kind is found (and perhaps others that follow from it).
BREAKS = {
    "counter-drift": "UPDATE mailboxes SET unseen = unseen + 1 WHERE name = 'INBOX'",
    "uid-beyond-uidnext": "UPDATE mailboxes SET uid_next = 1 WHERE name = 'INBOX'",
    "modseq-beyond-highest": "UPDATE messages SET modseq = 999",
    "message-without-mailbox": "UPDATE messages SET mailbox_id = 999",
    "message-without-body": "DELETE FROM bodies",
    "tombstone-without-body": (
        "INSERT INTO tombstones SELECT 1, 9, 1, 1, 999, 1, 1, now(), now(), 1, 0, NULL, '', now(), 'move',"
        " 1, '', '', ''"
    ),
    "duplicate-uid": (
        "ALTER TABLE messages DROP CONSTRAINT messages_pkey; INSERT INTO messages SELECT * FROM messages LIMIT 1"
    ),
    "uid-used-again": (
        "INSERT INTO tombstones SELECT mailbox_id, uid, 1, 1, body_id, 1, 1, now(), now(), 1, 0, NULL, '', now(),"
        " 'move', 1, '', '', '' FROM messages"
    ),
    "wrong-size": "UPDATE messages SET size = size + 1",
    "wrong-staged-size": "UPDATE staged_bodies SET data = 'x'",
    "body-without-bytes": "DELETE FROM staged_bodies",
    "staged-though-stored": "UPDATE bodies SET stored = true",
    "body-without-text": "DELETE FROM body_texts",
    "body-unreferenced": "DELETE FROM messages",
    "discarded-in-use": "INSERT INTO discarded_objects SELECT object_key FROM bodies",
    "keyword-unknown": "UPDATE messages SET keywords = '{nobody}'",
    "account-without-address": "DELETE FROM addresses",
    "account-without-inbox": "UPDATE mailboxes SET name = 'Outbox' WHERE name = 'INBOX'",
}


class SettingsTests(unittest.SynchronousTestCase):
    """D13: settings weaker than what we promise are complaints."""

    def test_a_good_server_gives_no_complaint(self) -> None:
        self.assertEqual((checks.judge(GOOD), checks.advice(GOOD)), ([], []))

    def test_d13_each_weak_setting_is_a_complaint(self) -> None:
        for name, value in (
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("server_encoding", "SQL_ASCII"),
            ("server_version_num", "130012"),
        ):
            (complaint,) = checks.judge({**GOOD, name: value})
            self.assertIn("PostgreSQL 14" if name == "server_version_num" else name, complaint)

    def test_missing_checksums_are_only_advice(self) -> None:
        self.assertEqual(len(checks.advice({**GOOD, "data_checksums": "off"})), 1)


class StartTests(DatabaseTests):
    """The test server is weak on purpose."""

    async def test_d13_a_weak_server_is_refused_unless_told(self) -> None:
        with self.assertRaises(ConfigurationInvalid) as caught:
            await checks.verify(self.store.database)
        self.assertEqual(len(caught.exception.complaints), 3)
        warnings = await checks.verify(self.store.database, unsafe=True)
        self.assertEqual(warnings[:3], await checks.complaints(self.store.database))


class AuditTests(DatabaseTests):
    """D14: each kind of contradiction is found."""

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._fill())

    async def _fill(self) -> None:
        await self._set_up()
        await self.store.accounts.create("alice@example.org", "hash", [NewMailbox("INBOX")])
        (row,) = await self.store.accounts.rows()
        inbox = (await self.store.mailboxes.find(row.id, "INBOX")).id
        await self.store.messages.insert([new_message(inbox) for _ in range(3)])

    async def test_a_sound_database_has_no_findings(self) -> None:
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_references_are_listed_in_pages_and_keys_are_known(self) -> None:
        first = await self.store.audit.references(after=BodyId(0), limit=2)
        rest = await self.store.audit.references(after=first[-1].id, limit=2)
        self.assertEqual((len(first), len(rest)), (2, 1))
        keys = {ref.object_key for ref in first}
        self.assertEqual(await self.store.audit.known_keys([*keys, "nobody's"]), keys)

    def broken(self, statements: str) -> None:
        """Break the rows, with foreign keys looking away."""
        self.sql(f"SET session_replication_role = replica; {statements}")

    def mend(self) -> None:
        """Undo what the duplicate needed."""
        self.sql("DELETE FROM messages; ALTER TABLE messages ADD PRIMARY KEY (mailbox_id, uid)")


def _breaks(kind: str, statements: str) -> None:
    async def test(self: AuditTests) -> None:
        if "DROP CONSTRAINT" in statements:
            self.addCleanup(self.mend)
        self.broken(statements)
        findings = await self.store.audit.findings()
        self.assertIn(kind, {finding.kind for finding in findings})

    name = f"test_d14_{kind.replace('-', '_')}_is_found"
    test.__name__ = name
    setattr(AuditTests, name, test)


for _kind, _statements in BREAKS.items():
    _breaks(_kind, _statements)


class CoverageTests(unittest.SynchronousTestCase):
    """No kind is without its test."""

    def test_every_kind_of_finding_is_provoked(self) -> None:
        self.assertEqual(set(BREAKS), set(QUERIES))
