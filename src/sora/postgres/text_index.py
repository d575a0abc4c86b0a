"""Indexes of the texts of mailboxes, in PostgreSQL."""

from array import array
from collections.abc import Sequence
from typing import Final

from sora.aio import deferred
from sora.core.ids import MailboxId
from sora.postgres.binary import BinaryStatement, OctetStatement, octets
from sora.postgres.rows import numbers
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.text_index import Rows, Text

_READ: Final = OctetStatement("""
WITH wanted AS (
    INSERT INTO text_indexes (mailbox_id)
    SELECT id FROM mailboxes
     WHERE id = %(mailbox)s::bigint AND %(want)s::boolean
       AND NOT EXISTS (SELECT FROM text_indexes WHERE mailbox_id = %(mailbox)s::bigint)
       FOR KEY SHARE
    ON CONFLICT DO NOTHING
), used AS (
    UPDATE text_indexes SET used_at = now()
     WHERE mailbox_id = %(mailbox)s::bigint AND used_at < now() - interval '1 day'
)
SELECT s.uids, (SELECT string_agg(substr(s.bits, 1 + (place & s.places - 1) * s.width, s.width), '' ORDER BY n)
                  FROM unnest(%(places)s::integer[]) WITH ORDINALITY AS u (place, n))
  FROM (SELECT x.upto, x.uids, x.bits, width, octet_length(x.bits) / width AS places
          FROM text_segments AS x, LATERAL (SELECT (octet_length(x.uids) / 4 + 7) / 8) AS w (width)
         WHERE x.mailbox_id = %(mailbox)s::bigint) AS s
 ORDER BY s.upto
""")
_CLAIM: Final = Statement("""
UPDATE text_indexes SET leased_until = now() + make_interval(secs => %(lease)s)
 WHERE mailbox_id = (
       SELECT i.mailbox_id FROM text_indexes AS i JOIN mailboxes AS b ON b.id = i.mailbox_id
        WHERE i.leased_until <= now() AND b.uid_next - i.upto > %(messages)s
          AND EXISTS (SELECT FROM messages AS m WHERE m.mailbox_id = i.mailbox_id AND m.uid > i.upto
                       ORDER BY m.uid OFFSET %(messages)s - 1)
        ORDER BY i.leased_until LIMIT 1 FOR UPDATE OF i SKIP LOCKED)
RETURNING mailbox_id, upto
""")
_TEXTS: Final = OctetStatement("""
SELECT uid_octets(m.uid), m.trace,
       CASE WHEN t.complete AND octet_length(t.body_text) + octet_length(t.header_text) + octet_length(m.trace) + 2
                 <= %(octets_max)s::integer
            THEN convert_to(t.body_text || E'\\n' || t.header_text || E'\\n', 'UTF8') END
  FROM messages AS m LEFT JOIN body_texts AS t ON t.body_id = m.body_id
 WHERE m.mailbox_id = %(mailbox)s::bigint AND m.uid > %(after)s::bigint
 ORDER BY m.uid LIMIT %(limit)s::integer
""")
_ADD: Final = BinaryStatement("""
WITH index AS (
    UPDATE text_indexes SET upto = %(upto)s::bigint, messages = messages + %(count)s::bigint, leased_until = now()
     WHERE mailbox_id = %(mailbox)s::bigint AND upto = %(after)s::bigint RETURNING mailbox_id
)
INSERT INTO text_segments (mailbox_id, upto, uids, bits)
SELECT mailbox_id, %(upto)s::bigint, (%(octets)s::bytea[])[1], (%(octets)s::bytea[])[2] FROM index
""")
_TIDY: Final = Statement("""
WITH gone AS (
    DELETE FROM text_indexes AS i USING mailboxes AS b
     WHERE b.id = i.mailbox_id
       AND (i.used_at < now() - make_interval(secs => %(unused)s) OR i.messages > 2 * b.messages)
    RETURNING i.mailbox_id
)
SELECT count(*) FROM gone
""")


class PostgresTextIndexes:
    """`store.text_index.TextIndexes` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @deferred
    async def read(self, mailbox: MailboxId, places: Sequence[int], *, want: bool) -> list[Rows]:
        """Read of each segment the rows of places, in their order; that counts as a use."""
        parameters = {"mailbox": str(mailbox), "places": integers(places), "want": "t" if want else "f"}
        rows = await self._database.fetch(_READ, parameters)
        return [Rows(numbers(uids, "I"), bytes(bits or b"")) for uids, bits in rows]

    @deferred
    async def claim(self, *, messages: int, lease: float) -> tuple[MailboxId, int] | None:
        """Take a mailbox that has so many messages beyond its index, and return the UID after which they begin."""
        rows = await self._database.change(_CLAIM, {"messages": messages, "lease": float(lease)})
        return (MailboxId(rows[0][0]), rows[0][1]) if rows else None

    @deferred
    async def texts(self, mailbox: MailboxId, *, after: int, limit: int, octets_max: int) -> list[Text]:
        """Read the first `limit` messages above `after`; those longer than `octets_max` without their text."""
        rows = await self._database.fetch(
            _TEXTS,
            {"mailbox": str(mailbox), "after": str(after), "limit": str(limit), "octets_max": str(octets_max)},
        )
        # A trace is sought in as octets, of which ASCII letters count without case.
        return [
            Text(int.from_bytes(uid, "big"), None if text is None else bytes(text) + bytes(trace).lower())
            for uid, trace, text in rows
        ]

    @deferred
    async def add(self, mailbox: MailboxId, after: int, uids: "array[int]", bits: bytes) -> None:
        """Add a segment, unless the index does not end at `after` any more, or is gone."""
        packed = b"".join([uid.to_bytes(4, "big") for uid in uids])
        await self._database.change(
            _ADD,
            {
                **{"mailbox": str(mailbox), "after": str(after), "upto": str(uids[-1]), "count": str(len(uids))},
                "octets": octets([packed, bits]),
            },
        )

    @deferred
    async def tidy(self, *, unused: float) -> int:
        """Drop indexes that no search asked for `unused` seconds, or most of whose messages are gone."""
        rows = await self._database.change(_TIDY, {"unused": float(unused)})
        return int(rows[0][0])
