"""Columns of a mailbox for searches that keep them: header fields, dates and sizes, packed by the database."""

# ruff: noqa: S608  the pieces are constants of this folder

from array import array
from typing import Final

from sora.core.ids import MailboxId
from sora.postgres.binary import OctetStatement
from sora.postgres.rows import numbers, strip
from sora.postgres.work import Database
from sora.store.columns import NEVER, Fields, Name, Number, Numbers

_SOME: Final = """
         WHERE m.mailbox_id = %(mailbox)s::bigint AND m.uid > %(after)s::bigint AND m.uid <= %(uid_max)s::bigint
         ORDER BY m.uid LIMIT %(limit)s::integer) AS x
"""
_FIELD: Final = OctetStatement(
    """
SELECT string_agg(uid_octets(uid), ''), string_agg(convert_to(kind, 'SQL_ASCII'), ''),
       string_agg(convert_to(field, 'UTF8'), '\\x00')
  FROM (SELECT m.uid, coalesce(t.fields ->> %(name)s::text, '') AS field,
               CASE WHEN coalesce(t.complete, false) THEN CASE WHEN t.fields ? %(name)s::text THEN 'y' ELSE 'n' END
                    WHEN coalesce(t.fields ? %(name)s::text, false) THEN '+' ELSE '?' END AS kind
          FROM messages AS m LEFT JOIN body_texts AS t ON t.body_id = m.body_id"""
    + _SOME
)
_NUMBERS: Final = {
    name: OctetStatement(
        f"""
SELECT string_agg(uid_octets(uid), ''), string_agg({send}, '')
  FROM (SELECT m.uid, {column} AS value FROM messages AS m{join}"""
        + _SOME
    )
    for name, column, send, join in (
        (Number.ARRIVED, "m.internal_date", "timestamptz_send(value)", ""),
        (Number.SAVED, "m.save_date", "timestamptz_send(value)", ""),
        (Number.SIZE, "m.size", "int8send(value)", ""),
        (
            Number.SENT,
            f"coalesce(y.sent_day - date '1970-01-01', {NEVER})::bigint",
            "int8send(value)",
            " JOIN bodies AS y ON y.id = m.body_id",
        ),
    )
}
_MICROSECONDS_OF_2000: Final = 946_684_800_000_000
"""What PostgreSQL counts from."""


async def read(
    database: Database, mailbox: MailboxId, name: Name, *, after: int, uid_max: int, limit: int
) -> Fields | Numbers:
    """Read a column, ascending by UID."""
    parameters = {"mailbox": str(mailbox), "after": str(after), "uid_max": str(uid_max), "limit": str(limit)}
    if isinstance(name, Number):
        ((uids, values),) = await database.fetch(_NUMBERS[name], parameters)
        if uids is None:
            return Numbers(array("I"), ())
        found: array[int] = numbers(values, "q")
        if name in (Number.ARRIVED, Number.SAVED):
            found = array("q", [value + _MICROSECONDS_OF_2000 for value in found])
        return Numbers(numbers(uids, "I"), found)
    ((uids, kinds, texts),) = await database.fetch(_FIELD, {**parameters, "name": strip(name)})
    if uids is None:
        return Fields(array("I"), b"", ())
    return Fields(numbers(uids, "I"), bytes(kinds), bytes(texts).decode().split("\0"))
