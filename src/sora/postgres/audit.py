"""What `check` reads of the database: rows that contradict each other, and the bodies to compare with the objects."""

from collections.abc import Sequence
from typing import Final

from sora.aio import deferred
from sora.core.ids import BodyId
from sora.postgres.rows import body_ref
from sora.postgres.statement import Statement
from sora.postgres.work import Database, Transaction
from sora.store.model import BodyRef, Finding

FINDINGS_MAX: Final = 10_000

# kind -> (where, detail) rows. The kinds are stable words.
QUERIES: Final[dict[str, str]] = {
    "counter-drift": """
SELECT 'mailbox ' || b.id,
       format('stored messages=%s unseen=%s deleted=%s recent=%s size=%s deleted_size=%s, counted %s %s %s %s %s %s',
              b.messages, b.unseen, b.deleted, b.recent, b.size, b.deleted_size,
              c.messages, c.unseen, c.deleted, c.recent, c.size, c.deleted_size)
  FROM mailboxes AS b CROSS JOIN LATERAL (
       SELECT count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
              count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, count(*) FILTER (WHERE uid >= b.recent_from) AS recent,
              coalesce(sum(size), 0) AS size, coalesce(sum(size) FILTER (WHERE flags & 8 <> 0), 0) AS deleted_size
         FROM messages WHERE mailbox_id = b.id) AS c
 WHERE (b.messages, b.unseen, b.deleted, b.recent, b.size, b.deleted_size)
       IS DISTINCT FROM (c.messages, c.unseen, c.deleted, c.recent, c.size, c.deleted_size)
""",
    "uid-beyond-uidnext": """
SELECT 'mailbox ' || b.id, format('UID %s, UIDNEXT %s', m.uid, b.uid_next)
  FROM mailboxes AS b
  JOIN LATERAL (SELECT max(uid) AS uid FROM messages WHERE mailbox_id = b.id) AS m ON m.uid >= b.uid_next
""",
    "modseq-beyond-highest": """
SELECT 'mailbox ' || b.id, format('modseq %s, HIGHESTMODSEQ %s', m.modseq, b.highest_modseq)
  FROM mailboxes AS b
  JOIN LATERAL (SELECT max(modseq) AS modseq FROM messages WHERE mailbox_id = b.id) AS m ON m.modseq > b.highest_modseq
""",
    "message-without-mailbox": """
SELECT format('mailbox %s', m.mailbox_id), format('%s messages', count(*)) FROM messages AS m
 WHERE NOT EXISTS (SELECT FROM mailboxes AS b WHERE b.id = m.mailbox_id) GROUP BY m.mailbox_id
""",
    "message-without-body": """
SELECT format('mailbox %s uid %s', m.mailbox_id, m.uid), format('body %s', m.body_id) FROM messages AS m
 WHERE NOT EXISTS (SELECT FROM bodies AS b WHERE b.id = m.body_id)
""",
    "tombstone-without-body": """
SELECT format('mailbox %s uid %s', t.mailbox_id, t.uid), format('body %s', t.body_id) FROM tombstones AS t
 WHERE NOT EXISTS (SELECT FROM bodies AS b WHERE b.id = t.body_id)
""",
    "duplicate-uid": """
SELECT format('mailbox %s uid %s', mailbox_id, uid), format('%s messages', count(*)) FROM messages
 GROUP BY mailbox_id, uid HAVING count(*) > 1
""",
    "uid-used-again": """
SELECT format('mailbox %s uid %s', m.mailbox_id, m.uid), 'a message and a tombstone have it'
  FROM messages AS m JOIN tombstones AS t ON t.mailbox_id = m.mailbox_id AND t.uid = m.uid
""",
    "wrong-size": """
SELECT format('mailbox %s uid %s', m.mailbox_id, m.uid),
       format('%s octets, body and trace have %s', m.size, b.size + length(m.trace))
  FROM messages AS m JOIN bodies AS b ON b.id = m.body_id WHERE m.size <> b.size + length(m.trace)
""",
    "wrong-staged-size": """
SELECT 'body ' || b.id, format('%s octets, %s are staged', b.size, length(s.data))
  FROM staged_bodies AS s JOIN bodies AS b ON b.id = s.body_id WHERE length(s.data) <> b.size OR s.size <> b.size
""",
    "body-without-bytes": """
SELECT 'body ' || b.id, 'neither staged nor in the object store' FROM bodies AS b
 WHERE NOT b.stored AND NOT EXISTS (SELECT FROM staged_bodies AS s WHERE s.body_id = b.id)
""",
    "staged-though-stored": """
SELECT 'body ' || b.id, 'the object store has it' FROM bodies AS b JOIN staged_bodies AS s ON s.body_id = b.id
 WHERE b.stored
""",
    "body-without-text": """
SELECT 'body ' || b.id, 'nothing to search in' FROM bodies AS b
 WHERE NOT EXISTS (SELECT FROM body_texts AS t WHERE t.body_id = b.id)
""",
    "body-unreferenced": """
SELECT 'body ' || b.id, 'nobody refers to it and it is not condemned' FROM bodies AS b
 WHERE b.condemned_at IS NULL
   AND NOT EXISTS (SELECT FROM messages AS m WHERE m.body_id = b.id)
   AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.body_id = b.id)
""",
    "discarded-in-use": """
SELECT 'body ' || b.id, 'its object is to be deleted' FROM bodies AS b
  JOIN discarded_objects AS d ON d.object_key = b.object_key
""",
    "keyword-unknown": """
SELECT format('mailbox %s uid %s', m.mailbox_id, m.uid), array_to_string(m.keywords, ' ')
  FROM messages AS m JOIN mailboxes AS b ON b.id = m.mailbox_id
 WHERE m.keywords IS NOT NULL AND NOT m.keywords <@ b.keywords
""",
    "account-without-address": """
SELECT 'account ' || x.id, 'no primary address' FROM accounts AS x
 WHERE NOT EXISTS (SELECT FROM addresses AS a WHERE a.account_id = x.id AND a.is_primary)
""",
    "account-without-inbox": """
SELECT 'account ' || x.id, 'no INBOX' FROM accounts AS x
 WHERE x.status <> 'deleted' AND NOT EXISTS (SELECT FROM mailboxes AS b WHERE b.account_id = x.id AND b.name = 'INBOX')
""",
}
_MOMENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0"
_REFERENCES: Final = Statement("""
SELECT id, hash, size, object_key, stored FROM bodies WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
""")
_KNOWN: Final = Statement("""
SELECT object_key FROM bodies WHERE object_key = ANY (%(keys)s::text[])
 UNION SELECT object_key FROM discarded_objects WHERE object_key = ANY (%(keys)s::text[])
""")


async def _look(transaction: Transaction) -> list[Finding]:
    await transaction.fetch(_MOMENT)
    found: list[Finding] = []
    for kind, query in QUERIES.items():
        rows = await transaction.fetch(f"{query} LIMIT {FINDINGS_MAX - len(found)}")
        found.extend(Finding(kind, where, detail) for where, detail in rows)
        if len(found) >= FINDINGS_MAX:
            break
    return found


class PostgresAudit:
    """`store.interfaces.Audit` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @deferred
    async def findings(self) -> list[Finding]:
        """Look for rows that contradict each other; at most 10,000 findings.

        One query a kind, all of one moment, so that work going on meanwhile is no contradiction.
        """
        return await self._database.transact(_look)

    @deferred
    async def references(self, *, after: BodyId, limit: int) -> list[BodyRef]:
        """List bodies ascending by id, to be compared with the object store."""
        rows = await self._database.fetch(_REFERENCES, {"after": after, "limit": limit})
        return [body_ref(row) for row in rows]

    @deferred
    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return which object keys some body, or the list of keys to discard, names."""
        rows = await self._database.fetch(_KNOWN, {"keys": list(keys)})
        return {row[0] for row in rows}
