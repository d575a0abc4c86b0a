"""How the contradictions that the audit finds are mended in the database: one short transaction each.

A repair locks what it changes, looks again, and does nothing if all is well meanwhile: it may run beside the server,
be cut short at any point and be run again. What cannot be known is left for people: which of two messages has a UID,
whose a mailbox was, bytes that are nowhere.
"""

from typing import Final

from sora.postgres.work import Database, Transaction
from sora.store.model import Finding

_LOCK: Final = "SELECT 1 FROM mailboxes WHERE id = %(id)s FOR NO KEY UPDATE"
_COUNT: Final = """
UPDATE mailboxes AS b
   SET messages = c.messages, unseen = c.unseen, deleted = c.deleted, recent = c.recent, size = c.size,
       deleted_size = c.deleted_size
  FROM (SELECT count(*) AS messages, count(*) FILTER (WHERE m.flags & 1 = 0) AS unseen,
               count(*) FILTER (WHERE m.flags & 8 <> 0) AS deleted,
               count(*) FILTER (WHERE m.uid >= (SELECT recent_from FROM mailboxes WHERE id = %(id)s)) AS recent,
               coalesce(sum(m.size), 0) AS size,
               coalesce(sum(m.size) FILTER (WHERE m.flags & 8 <> 0), 0) AS deleted_size
          FROM messages AS m WHERE m.mailbox_id = %(id)s) AS c
 WHERE b.id = %(id)s RETURNING 1
"""
# kind -> statements of one transaction; the last one returns a row if it mended something. %(id)s is the first id of
# the finding, %(other)s the second.
STATEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "counter-drift": (_LOCK, _COUNT),
    "uid-beyond-uidnext": (
        _LOCK,
        """
UPDATE mailboxes AS b SET uid_next = greatest(b.uid_next, (SELECT max(uid) FROM messages WHERE mailbox_id = b.id) + 1)
 WHERE b.id = %(id)s RETURNING 1
""",
    ),
    "modseq-beyond-highest": (
        _LOCK,
        """
UPDATE mailboxes AS b
   SET highest_modseq = greatest(b.highest_modseq, (SELECT max(modseq) FROM messages WHERE mailbox_id = b.id),
                                 (SELECT max(modseq) FROM private_readers WHERE mailbox_id = b.id)),
       changed_modseq = greatest(b.changed_modseq, (SELECT max(modseq) FROM messages WHERE mailbox_id = b.id))
 WHERE b.id = %(id)s RETURNING 1
""",
    ),
    "private-seen-drift": (
        _LOCK,
        """
DELETE FROM private_seen AS p
 WHERE p.mailbox_id = %(id)s AND p.account_id = %(other)s
   AND NOT EXISTS (SELECT FROM messages AS m WHERE m.mailbox_id = p.mailbox_id AND m.uid = p.uid)
""",
        """
UPDATE private_readers AS r
   SET seen = (SELECT count(*) FROM private_seen AS p
                WHERE p.mailbox_id = %(id)s AND p.account_id = %(other)s AND p.seen)
 WHERE r.mailbox_id = %(id)s AND r.account_id = %(other)s RETURNING 1
""",
        # Otherwise whoever removes messages would go on leaving such rows behind.
        "UPDATE mailboxes SET private_seen = true WHERE id = %(id)s RETURNING 1",
    ),
    # The mailbox was deleted: its messages become the tombstones that its deletion would have made of them.
    "message-without-mailbox": (
        """
WITH gone AS (
    DELETE FROM messages AS m USING former_mailboxes AS f
     WHERE m.mailbox_id = %(id)s AND f.id = m.mailbox_id
       AND NOT EXISTS (SELECT FROM mailboxes AS b WHERE b.id = m.mailbox_id)
    RETURNING m.*, f.account_id, f.deleted_at, f.who_account, f.who_address, f.protocol, f.session
)
INSERT INTO tombstones (mailbox_id, uid, modseq, account_id, body_id, email_id, thread_id, internal_date, save_date,
                        size, flags, keywords, trace, expunged_at, how, who_account, who_address, protocol, session)
SELECT mailbox_id, uid, modseq, account_id, body_id, email_id, thread_id, internal_date, save_date, size, flags,
       keywords, trace, deleted_at, 'delete', who_account, who_address, protocol, session
  FROM gone RETURNING 1
""",
    ),
    "wrong-size": (
        _LOCK,
        """
UPDATE messages AS m SET size = o.size + length(m.trace) FROM bodies AS o
 WHERE m.mailbox_id = %(id)s AND m.uid = %(other)s AND o.id = m.body_id
""",
        _COUNT,
    ),
    "keyword-unknown": (
        _LOCK,
        """
UPDATE mailboxes AS b SET keywords = keywords_merged(b.keywords, m.keywords) FROM messages AS m
 WHERE b.id = %(id)s AND m.mailbox_id = b.id AND m.uid = %(other)s AND m.keywords IS NOT NULL RETURNING 1
""",
    ),
    # Searches pass over the texts until it is made again.
    "text-index-broken": ("DELETE FROM text_indexes WHERE mailbox_id = %(id)s RETURNING 1",),
    "account-without-inbox": (
        """
INSERT INTO mailboxes (account_id, name) SELECT id, 'INBOX' FROM accounts WHERE id = %(id)s
ON CONFLICT DO NOTHING RETURNING 1
""",
    ),
    "account-without-address": (
        """
UPDATE addresses AS a SET is_primary = true
 WHERE a.address = (SELECT min(o.address) FROM addresses AS o WHERE o.account_id = %(id)s)
   AND NOT EXISTS (SELECT FROM addresses AS o WHERE o.account_id = %(id)s AND o.is_primary) RETURNING 1
""",
    ),
    "wrong-staged-size": (
        """
UPDATE staged_bodies AS s SET size = b.size FROM bodies AS b
 WHERE s.body_id = %(id)s AND b.id = s.body_id AND length(s.data) = b.size RETURNING 1
""",
    ),
    "staged-late": ("UPDATE staged_bodies SET due_at = now() WHERE body_id = %(id)s RETURNING 1",),
    "body-unreferenced": (
        """
UPDATE bodies AS b SET condemned_at = now()
 WHERE b.id = %(id)s AND b.condemned_at IS NULL
   AND NOT EXISTS (SELECT FROM messages AS m WHERE m.body_id = b.id)
   AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.body_id = b.id) RETURNING 1
""",
    ),
    "discarded-in-use": (
        """
DELETE FROM discarded_objects AS d USING bodies AS b
 WHERE b.id = %(id)s AND d.object_key = b.object_key RETURNING 1
""",
    ),
}


async def repair(database: Database, finding: Finding) -> bool:
    """Mend what a finding names; returns whether something was mended."""
    statements = STATEMENTS.get(finding.kind)
    if statements is None or not finding.ids:
        return False
    ids = {"id": finding.ids[0], "other": finding.ids[-1]}

    async def mend(transaction: Transaction) -> bool:
        await transaction.fetch("SET LOCAL statement_timeout = 0")
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = await transaction.fetch(statement, ids)
        return bool(rows)

    return await database.transact(mend)
