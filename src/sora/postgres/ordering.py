"""Orders of messages, and what threads are made of: packed columns that the database makes, never rows."""

from array import array
from collections.abc import Sequence
from typing import Final

from sora.core.errors import Busy, LimitReached
from sora.core.ids import MailboxId
from sora.core.ordering import Order, SortKey
from sora.postgres.binary import OctetStatement
from sora.postgres.rows import numbers
from sora.postgres.statement import integers
from sora.postgres.work import Database
from sora.store.threads import BETWEEN, REFERENCES_MAX, ThreadRows

_TEXT: Final = 'upper(y.{} COLLATE "C")'
"""Folded text ordered as i;unicode-casemap does: in this collation only ASCII letters have capitals."""
_KEYS: Final[dict[SortKey, str]] = {
    SortKey.ARRIVAL: "m.internal_date",
    SortKey.DATE: "coalesce(y.sent_at, m.internal_date)",
    SortKey.SIZE: "m.size",
    SortKey.SUBJECT: _TEXT.format("base_subject"),
    SortKey.FROM: _TEXT.format("sort_from"),
    SortKey.TO: _TEXT.format("sort_to"),
    SortKey.CC: _TEXT.format("sort_cc"),
    SortKey.DISPLAYFROM: _TEXT.format("display_from"),
    SortKey.DISPLAYTO: _TEXT.format("display_to"),
}
_OF_MESSAGE: Final = frozenset((SortKey.ARRIVAL, SortKey.SIZE))
_OF_BODY: Final = " JOIN bodies AS y ON y.id = m.body_id"
_NAMED: Final = " AND m.uid = ANY (%(uids)s::bigint[])"
_ORDER: Final = """
SELECT coalesce(string_agg(uid_octets(uid), ''), '')
  FROM (SELECT m.uid FROM messages AS m{body}
         WHERE m.mailbox_id = %(mailbox)s AND m.uid <= %(uid_max)s{named} ORDER BY {keys}, m.uid) AS ordered
"""
_NOTHING: Final = "'\\x00'"
_THREADING: Final = """
SELECT string_agg(uid_octets(uid), ''), string_agg(timestamptz_send(sent), ''),
       string_agg(timestamptz_send(arrived), ''), string_agg(convert_to(ids, 'UTF8'), {nothing}),
       string_agg(convert_to(base_subject, 'UTF8'), {nothing}), string_agg(convert_to(marked, 'UTF8'), {nothing})
  FROM (SELECT m.uid, coalesce(y.sent_at, m.internal_date) AS sent, m.internal_date AS arrived, y.base_subject,
               CASE WHEN lower(y.subject) <> y.base_subject THEN y.subject ELSE '' END AS marked,
               concat_ws('{between}', coalesce(y.message_id, ''), array_to_string(
                   CASE WHEN cardinality(y.refs) > {most} THEN y.refs[1] || y.refs[cardinality(y.refs) - {most} + 2:]
                        ELSE y.refs END, '{between}')) AS ids
          FROM messages AS m{body}
         WHERE m.mailbox_id = %(mailbox)s AND m.uid > %(after)s::bigint AND m.uid <= %(uid_max)s::bigint{named}
         ORDER BY m.uid LIMIT %(limit)s::integer) AS x
"""


def _threading(named: str) -> OctetStatement:
    return OctetStatement(
        _THREADING.format(body=_OF_BODY, named=named, most=REFERENCES_MAX, between=BETWEEN, nothing=_NOTHING)
    )


_ALL_THREADS: Final = _threading("")
_SOME_THREADS: Final = _threading(_NAMED)


async def order(
    database: Database, mailbox: MailboxId, keys: Order, uids: Sequence[int] | None, *, uid_max: int
) -> "array[int]":
    """Return UIDs in an order. Raises `LimitReached` if it takes too long."""
    chosen = ", ".join(f"{_KEYS[key]}{' DESC' if backwards else ''}" for key, backwards in keys)
    statement = _ORDER.format(
        body="" if all(key in _OF_MESSAGE for key, _ in keys) else _OF_BODY,
        named="" if uids is None else _NAMED,
        keys=chosen,
    )
    parameters = {"mailbox": mailbox, "uid_max": uid_max, "uids": integers(uids or ())}
    try:
        ((octets,),) = await database.fetch(statement, parameters)
    except Busy:
        raise LimitReached("sorting takes too long") from None
    return numbers(octets, "I")


async def threading(
    database: Database, mailbox: MailboxId, uids: Sequence[int] | None, *, after: int, uid_max: int, limit: int
) -> ThreadRows:
    """Read what threads are made of, ascending by UID."""
    parameters = {"mailbox": str(mailbox), "after": str(after), "uid_max": str(uid_max), "limit": str(limit)}
    if uids is not None:
        parameters["uids"] = integers(uids)
    (columns,) = await database.fetch(_ALL_THREADS if uids is None else _SOME_THREADS, parameters)
    if columns[0] is None:
        return ThreadRows(array("I"), (), (), (), (), ())
    return ThreadRows(
        numbers(columns[0], "I"),
        numbers(columns[1], "q"),
        numbers(columns[2], "q"),
        *(bytes(column).split(b"\0") for column in columns[3:]),
    )
