"""What the server tells of itself at start (D13), and what the audit finds when rows are broken on purpose (D14)."""

from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core.errors import ConfigurationInvalid
from sora.core.ids import BodyId
from sora.mail.mailboxes import DEFAULTS
from sora.postgres import audit, checks
from sora.store.model import Finding, NewMailbox
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
    "staged-late": "UPDATE staged_bodies SET staged_at = now() - interval '2 days'",
    "body-without-text": "DELETE FROM body_texts",
    "body-unreferenced": "DELETE FROM messages",
    "discarded-in-use": "INSERT INTO discarded_objects SELECT object_key FROM bodies",
    "keyword-unknown": "UPDATE messages SET keywords = '{nobody}'",
    "private-seen-drift": (
        "INSERT INTO private_readers SELECT id, account_id, 2, 1 FROM mailboxes WHERE name = 'INBOX';"
        " INSERT INTO private_seen SELECT mailbox_id, account_id, uid, 1, true FROM private_readers,"
        " (VALUES (1), (9)) AS u (uid)"
    ),
    "text-index-broken": (
        "INSERT INTO text_indexes (mailbox_id, upto, messages) SELECT id, 3, 3 FROM mailboxes WHERE name = 'INBOX';"
        " INSERT INTO text_segments SELECT mailbox_id, 3, '\\x000000010000000200000003', '\\x010203' FROM text_indexes"
    ),
    "account-without-address": "DELETE FROM addresses",
    "account-without-inbox": "UPDATE mailboxes SET name = 'Outbox' WHERE name = 'INBOX'",
}

# What the database alone can mend, broken in a way that can be mended.
MENDS = {
    **{
        kind: BREAKS[kind]
        for kind in (
            "counter-drift",
            "uid-beyond-uidnext",
            "modseq-beyond-highest",
            "wrong-size",
            "body-unreferenced",
            "discarded-in-use",
            "keyword-unknown",
            "private-seen-drift",
            "text-index-broken",
            "account-without-inbox",
        )
    },
    "account-without-address": "UPDATE addresses SET is_primary = false",
    "wrong-staged-size": "UPDATE staged_bodies SET size = size + 1",
    "message-without-mailbox": (
        "INSERT INTO former_mailboxes SELECT id, account_id, name, uid_validity FROM mailboxes WHERE name = 'Work';"
        " UPDATE messages SET mailbox_id = (SELECT id FROM mailboxes WHERE name = 'Work');"
        " DELETE FROM mailboxes WHERE name = 'Work'"
    ),
}
# What is left for people, the object store or the uploader.
LEFT = {
    "message-without-body",
    "tombstone-without-body",
    "duplicate-uid",
    "uid-used-again",
    "body-without-bytes",
    "staged-though-stored",
    "body-without-text",
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
        await self.store.accounts.create("alice@example.org", "hash", [NewMailbox("INBOX"), NewMailbox("Work")])
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

    async def in_slices(self) -> list[Finding]:
        """Return what a check finds that goes from slice to slice."""
        found: list[Finding] = []
        among = await self.store.audit.next_slice(None)
        while among is not None:
            found += await self.store.audit.findings(among)
            among = await self.store.audit.next_slice(among)
        return found

    async def test_slices_cover_everything_once(self) -> None:
        self.patch(audit, "_ROWS", 2)
        await self.store.accounts.create("bob@example.org", "hash", DEFAULTS)
        slices = []
        among = await self.store.audit.next_slice(None)
        while among is not None:
            slices.append(among)
            among = await self.store.audit.next_slice(among)
        for table in audit.TABLES:
            mine = [one for one in slices if one.table == table]
            self.assertGreater(len(mine), 1)
            self.assertEqual([one.after for one in mine[1:]], [one.upto for one in mine[:-1]])
            self.assertEqual((mine[0].after, mine[-1].upto), (0, None))

    async def test_d14_a_bodys_object_settles_where_it_is(self) -> None:
        (first, *_) = await self.store.audit.references(after=BodyId(0), limit=3)
        await self.store.audit.settle(first.id, stored=True)
        self.assertEqual(self.sql("SELECT count(*) FROM staged_bodies"), [(2,)])
        # Without staged bytes the object is the only copy: nothing is made of it.
        await self.store.audit.settle(first.id, stored=False)
        self.assertEqual(self.sql("SELECT id FROM bodies WHERE stored"), [(first.id,)])
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_d14_only_keys_of_nobody_are_discarded(self) -> None:
        (first, *_) = await self.store.audit.references(after=BodyId(0), limit=1)
        await self.store.audit.discard([first.object_key, "nobody's"])
        self.assertEqual(self.sql("SELECT object_key FROM discarded_objects"), [("nobody's",)])

    async def test_d14_what_waits_for_long_is_due_at_once(self) -> None:
        self.sql("UPDATE staged_bodies SET staged_at = now() - interval '2 days', due_at = now() + interval '9 days'")
        for finding in await self.store.audit.findings():
            self.assertTrue(await self.store.audit.repair(finding))
        self.assertEqual(len(await self.store.bodies.claim_uploads(10, 60.0)), 3)

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
        self.assertCountEqual(findings, await self.in_slices())

    name = f"test_d14_{kind.replace('-', '_')}_is_found"
    test.__name__ = name
    setattr(AuditTests, name, test)


for _kind, _statements in BREAKS.items():
    _breaks(_kind, _statements)


def _mends(kind: str, statements: str) -> None:
    async def test(self: AuditTests) -> None:
        self.broken(statements)
        findings = await self.store.audit.findings()
        self.assertIn(kind, {finding.kind for finding in findings})
        # Twice, as when the first repair was cut short after its commit.
        for _ in range(2):
            for finding in findings:
                await self.store.audit.repair(finding)
        self.assertEqual(await self.store.audit.findings(), [])

    name = f"test_d14_{kind.replace('-', '_')}_is_repaired"
    test.__name__ = name
    setattr(AuditTests, name, test)


for _kind, _statements in MENDS.items():
    _mends(_kind, _statements)


def _leaves(kind: str) -> None:
    async def test(self: AuditTests) -> None:
        if "DROP CONSTRAINT" in BREAKS[kind]:
            self.addCleanup(self.mend)
        self.broken(BREAKS[kind])
        for finding in await self.store.audit.findings():
            if finding.kind == kind:
                self.assertFalse(await self.store.audit.repair(finding))

    name = f"test_d14_{kind.replace('-', '_')}_is_left_to_those_who_know"
    test.__name__ = name
    setattr(AuditTests, name, test)


for _kind in LEFT:
    _leaves(_kind)


class CoverageTests(unittest.SynchronousTestCase):
    """No kind is without its test."""

    def test_every_kind_of_finding_is_provoked(self) -> None:
        self.assertEqual(set(BREAKS), {kind for queries in audit.QUERIES.values() for kind in queries})

    def test_every_kind_is_repaired_or_left(self) -> None:
        self.assertEqual(set(BREAKS), set(MENDS) | LEFT | {"staged-late"})
