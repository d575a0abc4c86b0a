"""What `check` reads of the database: rows that contradict each other, and the bodies to compare with the objects.

Everything is read in slices of consecutive ids, each in a short transaction of its own, so that a database of any
size is checked without holding back its cleaning, and with memory for one slice.
"""

from collections.abc import Sequence
from typing import Final

from sora.aio import deferred
from sora.core.ids import BodyId
from sora.postgres.repair import repair
from sora.postgres.rows import body_ref
from sora.postgres.statement import Statement
from sora.postgres.work import Database, Transaction
from sora.store.model import BodyRef, Finding, Slice

FINDINGS_MAX: Final = 10_000

# table -> kind -> rows of (where, detail, ids) for the ids above `after` and up to `upto`. The kinds are stable words.
QUERIES: Final[dict[str, dict[str, str]]] = {
    "accounts": {
        "account-without-address": """
SELECT 'account ' || x.id, 'no primary address', ARRAY[x.id] FROM accounts AS x
 WHERE x.id > %(after)s AND x.id <= %(upto)s
   AND NOT EXISTS (SELECT FROM addresses AS a WHERE a.account_id = x.id AND a.is_primary)
""",
        "account-without-inbox": """
SELECT 'account ' || x.id, 'no INBOX', ARRAY[x.id] FROM accounts AS x
 WHERE x.id > %(after)s AND x.id <= %(upto)s AND x.status <> 'deleted'
   AND NOT EXISTS (SELECT FROM mailboxes AS b WHERE b.account_id = x.id AND b.name = 'INBOX')
   -- Whom a domain's own mailboxes belong to gets no mail.
   AND NOT EXISTS (SELECT FROM addresses AS a WHERE a.account_id = x.id AND starts_with(a.address, '(shared)@'))
""",
    },
    "mailboxes": {
        "uid-beyond-uidnext": """
SELECT 'mailbox ' || b.id, format('UID %%s, UIDNEXT %%s', m.uid, b.uid_next), ARRAY[b.id, m.uid]
  FROM mailboxes AS b
  JOIN LATERAL (SELECT max(uid) AS uid FROM messages WHERE mailbox_id = b.id) AS m ON m.uid >= b.uid_next
 WHERE b.id > %(after)s AND b.id <= %(upto)s
""",
        "modseq-beyond-highest": """
SELECT 'mailbox ' || b.id, format('modseq %%s, HIGHESTMODSEQ %%s', m.modseq, b.highest_modseq), ARRAY[b.id, m.modseq]
  FROM mailboxes AS b
  JOIN LATERAL (SELECT max(modseq) AS modseq
                  FROM (SELECT modseq FROM messages WHERE mailbox_id = b.id
                         UNION ALL SELECT modseq FROM private_readers WHERE mailbox_id = b.id) AS given) AS m
    ON m.modseq > b.highest_modseq
 WHERE b.id > %(after)s AND b.id <= %(upto)s
""",
        "message-without-mailbox": """
SELECT format('mailbox %%s', m.mailbox_id), format('%%s messages', count(*)), ARRAY[m.mailbox_id] FROM messages AS m
 WHERE m.mailbox_id > %(after)s AND m.mailbox_id <= %(upto)s
   AND NOT EXISTS (SELECT FROM mailboxes AS b WHERE b.id = m.mailbox_id) GROUP BY m.mailbox_id
""",
        "message-without-body": """
SELECT format('mailbox %%s uid %%s', m.mailbox_id, m.uid), format('body %%s', m.body_id), ARRAY[m.mailbox_id, m.uid]
  FROM messages AS m
 WHERE m.mailbox_id > %(after)s AND m.mailbox_id <= %(upto)s
   AND NOT EXISTS (SELECT FROM bodies AS b WHERE b.id = m.body_id)
""",
        "tombstone-without-body": """
SELECT format('mailbox %%s uid %%s', t.mailbox_id, t.uid), format('body %%s', t.body_id), ARRAY[t.mailbox_id, t.uid]
  FROM tombstones AS t
 WHERE t.mailbox_id > %(after)s AND t.mailbox_id <= %(upto)s
   AND NOT EXISTS (SELECT FROM bodies AS b WHERE b.id = t.body_id)
""",
        "duplicate-uid": """
SELECT format('mailbox %%s uid %%s', mailbox_id, uid), format('%%s messages', count(*)), ARRAY[mailbox_id, uid]
  FROM messages WHERE mailbox_id > %(after)s AND mailbox_id <= %(upto)s
 GROUP BY mailbox_id, uid HAVING count(*) > 1
""",
        "uid-used-again": """
SELECT format('mailbox %%s uid %%s', m.mailbox_id, m.uid), 'a message and a tombstone have it',
       ARRAY[m.mailbox_id, m.uid]
  FROM messages AS m JOIN tombstones AS t ON t.mailbox_id = m.mailbox_id AND t.uid = m.uid
 WHERE m.mailbox_id > %(after)s AND m.mailbox_id <= %(upto)s
""",
        "wrong-size": """
SELECT format('mailbox %%s uid %%s', m.mailbox_id, m.uid),
       format('%%s octets, body and trace have %%s', m.size, b.size + length(m.trace)), ARRAY[m.mailbox_id, m.uid]
  FROM messages AS m JOIN bodies AS b ON b.id = m.body_id
 WHERE m.mailbox_id > %(after)s AND m.mailbox_id <= %(upto)s AND m.size <> b.size + length(m.trace)
""",
        "keyword-unknown": """
SELECT format('mailbox %%s uid %%s', m.mailbox_id, m.uid), array_to_string(m.keywords, ' '), ARRAY[m.mailbox_id, m.uid]
  FROM messages AS m JOIN mailboxes AS b ON b.id = m.mailbox_id
 WHERE m.mailbox_id > %(after)s AND m.mailbox_id <= %(upto)s
   AND m.keywords IS NOT NULL AND NOT m.keywords <@ b.keywords
""",
        # What belongs to accounts that are being deleted goes in steps.
        "private-seen-drift": """
SELECT format('mailbox %%s account %%s', r.mailbox_id, r.account_id),
       format('stored seen=%%s, counted %%s, and %%s of messages that are gone', r.seen, c.seen, c.gone),
       ARRAY[r.mailbox_id, r.account_id]
  FROM private_readers AS r
  JOIN mailboxes AS b ON b.id = r.mailbox_id
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE p.seen AND m.uid IS NOT NULL) AS seen,
              count(*) FILTER (WHERE m.uid IS NULL) AS gone
         FROM private_seen AS p LEFT JOIN messages AS m ON m.mailbox_id = p.mailbox_id AND m.uid = p.uid
        WHERE p.mailbox_id = r.mailbox_id AND p.account_id = r.account_id) AS c
 WHERE r.mailbox_id > %(after)s AND r.mailbox_id <= %(upto)s AND (r.seen <> c.seen OR c.gone > 0)
   AND NOT EXISTS (SELECT FROM accounts AS x WHERE x.id IN (r.account_id, b.account_id) AND x.status = 'deleted')
""",
        # An index that is wrong would hide messages from searches.
        "text-index-broken": """
SELECT 'mailbox ' || i.mailbox_id,
       format('up to UID %%s of %%s, %%s messages; its %%s segments go up to %%s and have %%s, %%s of them unreadable',
              i.upto, b.uid_next - 1, i.messages, s.segments, s.upto, s.messages, s.unreadable), ARRAY[i.mailbox_id]
  FROM text_indexes AS i JOIN mailboxes AS b ON b.id = i.mailbox_id CROSS JOIN LATERAL (
       SELECT count(*) AS segments, coalesce(max(x.upto), 0) AS upto, coalesce(sum(n), 0) AS messages,
              count(*) FILTER (WHERE substr(x.uids, octet_length(x.uids) - 3) <> uid_octets(x.upto) OR n = 0
                                  OR places = 0 OR places & places - 1 <> 0
                                  OR octet_length(x.bits) <> places * ((n + 7) / 8)) AS unreadable
         FROM text_segments AS x, LATERAL (SELECT octet_length(x.uids) / 4) AS u (n),
              LATERAL (SELECT octet_length(x.bits) / greatest((n + 7) / 8, 1)) AS p (places)
        WHERE x.mailbox_id = i.mailbox_id) AS s
 WHERE i.mailbox_id > %(after)s AND i.mailbox_id <= %(upto)s
   AND ((i.upto, i.messages) IS DISTINCT FROM (s.upto, s.messages) OR s.unreadable > 0 OR i.upto >= b.uid_next)
""",
        # Last, because what the others mend is counted here.
        "counter-drift": """
SELECT 'mailbox ' || b.id,
       format('stored messages=%%s unseen=%%s deleted=%%s recent=%%s size=%%s deleted_size=%%s, '
              'counted %%s %%s %%s %%s %%s %%s',
              b.messages, b.unseen, b.deleted, b.recent, b.size, b.deleted_size,
              c.messages, c.unseen, c.deleted, c.recent, c.size, c.deleted_size), ARRAY[b.id]
  FROM mailboxes AS b CROSS JOIN LATERAL (
       SELECT count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
              count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, count(*) FILTER (WHERE uid >= b.recent_from) AS recent,
              coalesce(sum(size), 0) AS size, coalesce(sum(size) FILTER (WHERE flags & 8 <> 0), 0) AS deleted_size
         FROM messages WHERE mailbox_id = b.id) AS c
 WHERE b.id > %(after)s AND b.id <= %(upto)s
   AND (b.messages, b.unseen, b.deleted, b.recent, b.size, b.deleted_size)
       IS DISTINCT FROM (c.messages, c.unseen, c.deleted, c.recent, c.size, c.deleted_size)
""",
    },
    "bodies": {
        "wrong-staged-size": """
SELECT 'body ' || b.id, format('%%s octets, %%s are staged', b.size, length(s.data)), ARRAY[b.id]
  FROM staged_bodies AS s JOIN bodies AS b ON b.id = s.body_id
 WHERE b.id > %(after)s AND b.id <= %(upto)s AND (length(s.data) <> b.size OR s.size <> b.size)
""",
        "body-without-bytes": """
SELECT 'body ' || b.id, 'neither staged nor in the object store', ARRAY[b.id] FROM bodies AS b
 WHERE b.id > %(after)s AND b.id <= %(upto)s
   AND NOT b.stored AND NOT EXISTS (SELECT FROM staged_bodies AS s WHERE s.body_id = b.id)
""",
        "staged-though-stored": """
SELECT 'body ' || b.id, 'the object store has it', ARRAY[b.id]
  FROM bodies AS b JOIN staged_bodies AS s ON s.body_id = b.id
 WHERE b.id > %(after)s AND b.id <= %(upto)s AND b.stored
""",
        # Longer than any pause of the uploader between two attempts.
        "staged-late": """
SELECT 'body ' || s.body_id,
       format('waits for its upload since %%s after %%s attempts: %%s', s.staged_at, s.attempts, s.last_error),
       ARRAY[s.body_id]
  FROM staged_bodies AS s
 WHERE s.body_id > %(after)s AND s.body_id <= %(upto)s AND s.staged_at < now() - interval '1 day'
""",
        "body-without-text": """
SELECT 'body ' || b.id, 'nothing to search in', ARRAY[b.id] FROM bodies AS b
 WHERE b.id > %(after)s AND b.id <= %(upto)s AND NOT EXISTS (SELECT FROM body_texts AS t WHERE t.body_id = b.id)
""",
        "body-unreferenced": """
SELECT 'body ' || b.id, 'nobody refers to it and it is not condemned', ARRAY[b.id] FROM bodies AS b
 WHERE b.id > %(after)s AND b.id <= %(upto)s AND b.condemned_at IS NULL
   AND NOT EXISTS (SELECT FROM messages AS m WHERE m.body_id = b.id)
   AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.body_id = b.id)
""",
        "discarded-in-use": """
SELECT 'body ' || b.id, 'its object is to be deleted', ARRAY[b.id] FROM bodies AS b
  JOIN discarded_objects AS d ON d.object_key = b.object_key
 WHERE b.id > %(after)s AND b.id <= %(upto)s
""",
    },
}
TABLES: Final = tuple(QUERIES)
_MOMENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0"
_ID_MAX: Final = 2**63 - 1
_ROWS: Final = 100_000
"""Messages, or half as many bodies or accounts, in one slice; a single mailbox may hold more."""
_ENDS: Final = {
    "accounts": Statement(
        "SELECT id FROM accounts WHERE id > %(after)s ORDER BY id OFFSET %(rows)s::bigint - 1 LIMIT 1"
    ),
    "mailboxes": Statement("""
SELECT min(id) FROM (
       SELECT id, sum(messages + 1) OVER (ORDER BY id) AS sum
         FROM (SELECT id, messages FROM mailboxes WHERE id > %(after)s ORDER BY id LIMIT %(rows)s) AS near) AS filled
 WHERE sum >= %(rows)s
"""),
    "bodies": Statement(
        "SELECT id FROM bodies WHERE id > %(after)s ORDER BY id OFFSET %(rows)s::bigint / 2 - 1 LIMIT 1"
    ),
}
_REFERENCES: Final = Statement("""
SELECT id, hash, size, object_key, stored FROM bodies WHERE id > %(after)s ORDER BY id LIMIT %(limit)s
""")
_KEYED: Final = Statement("""
SELECT id, hash, size, object_key, stored FROM bodies
 WHERE object_key > %(after)s AND (%(upto)s::text IS NULL OR object_key <= %(upto)s::text)
 ORDER BY object_key LIMIT %(limit)s
""")
_KNOWN: Final = Statement("""
SELECT object_key FROM bodies WHERE object_key = ANY (%(keys)s::text[])
 UNION SELECT object_key FROM discarded_objects WHERE object_key = ANY (%(keys)s::text[])
""")
_STORED: Final = Statement("""
WITH dropped AS (DELETE FROM staged_bodies WHERE body_id = %(body)s)
UPDATE bodies SET stored = true WHERE id = %(body)s AND NOT stored
""")
_NOT_STORED: Final = Statement("""
UPDATE bodies AS b SET stored = false
 WHERE id = %(body)s AND stored AND EXISTS (SELECT FROM staged_bodies AS s WHERE s.body_id = b.id)
""")
_DISCARD: Final = Statement("""
INSERT INTO discarded_objects (object_key)
SELECT k FROM unnest(%(keys)s::text[]) AS k WHERE NOT EXISTS (SELECT FROM bodies AS b WHERE b.object_key = k)
ON CONFLICT DO NOTHING
""")


class PostgresAudit:
    """`store.interfaces.Audit` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @deferred
    async def next_slice(self, done: Slice | None) -> Slice | None:
        """Return what to look at after a slice, or first; None at the end."""
        if done is None:
            table, after = TABLES[0], 0
        elif done.upto is not None:
            table, after = done.table, done.upto
        elif done.table != TABLES[-1]:
            table, after = TABLES[TABLES.index(done.table) + 1], 0
        else:
            return None
        rows = await self._database.fetch(_ENDS[table], {"after": after, "rows": _ROWS})
        return Slice(table, after, rows[0][0] if rows else None)

    @deferred
    async def findings(self, among: Slice | None = None) -> list[Finding]:
        """Look for rows that contradict each other, among all or in a slice; at most 10,000 findings."""
        slices = [among] if among is not None else [Slice(table) for table in TABLES]

        async def look(transaction: Transaction) -> list[Finding]:
            await transaction.fetch(_MOMENT)
            found: list[Finding] = []
            for one in slices:
                ids = {"after": one.after, "upto": _ID_MAX if one.upto is None else one.upto}
                for kind, query in QUERIES[one.table].items():
                    rows = await transaction.fetch(f"{query} LIMIT {FINDINGS_MAX - len(found)}", ids)
                    found.extend(Finding(kind, row[0], row[1], tuple(row[2])) for row in rows)
                    if len(found) >= FINDINGS_MAX:
                        return found
            return found

        return await self._database.transact(look)

    @deferred
    async def repair(self, finding: Finding) -> bool:
        """Mend one thing that `findings` named, if it is still so and can be known."""
        return await repair(self._database, finding)

    @deferred
    async def references(self, *, after: BodyId, limit: int) -> list[BodyRef]:
        """List bodies ascending by id."""
        rows = await self._database.fetch(_REFERENCES, {"after": after, "limit": limit})
        return [body_ref(row) for row in rows]

    @deferred
    async def keyed(self, *, after: str, upto: str | None, limit: int) -> list[BodyRef]:
        """List bodies with object keys above `after` and up to `upto`, ascending by the octets of the key."""
        rows = await self._database.fetch(_KEYED, {"after": after, "upto": upto, "limit": limit})
        return [body_ref(row) for row in rows]

    @deferred
    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return which object keys some body, or the list of keys to discard, names."""
        rows = await self._database.fetch(_KNOWN, {"keys": list(keys)})
        return {row[0] for row in rows}

    @deferred
    async def settle(self, body: BodyId, *, stored: bool) -> None:
        """Record whether the object store verifiably has a body; if so its staged bytes are dropped."""
        await self._database.change(_STORED if stored else _NOT_STORED, {"body": body})

    @deferred
    async def discard(self, keys: Sequence[str]) -> None:
        """List object keys that no body names among those that the collector deletes."""
        if keys:
            await self._database.change(_DISCARD, {"keys": list(keys)})
