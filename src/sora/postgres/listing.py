"""The columns of a page of messages, joined by the database: the only place that takes them apart.

A page is one row whatever it holds: each column is the octets of all its messages. Python then handles a handful of
objects for a page instead of a row for each message.
"""

# ruff: noqa: S608  the pieces are constants of this folder

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sora.core.errors import Corrupt
from sora.core.ids import MailboxId
from sora.postgres.binary import OctetStatement
from sora.postgres.rows import numbers
from sora.postgres.statement import integers
from sora.postgres.work import Database
from sora.store.model import Listed, Want

# What stands between texts: it is in none of them, since a string in IMAP cannot hold it (RFC 3501 9, CHAR8).
_JOINED: Final = "string_agg({}, '\\x00')"
_COLUMNS: Final[dict[Want, tuple[str, str]]] = {
    Want.INTERNAL_DATE: ("m.internal_date", "string_agg(timestamptz_send(internal_date), '')"),
    Want.SIZE: ("m.size", "string_agg(int8send(size), '')"),
    Want.ENVELOPE: ("b.envelope", _JOINED.format("envelope")),
    Want.STRUCTURE: ("b.structure", _JOINED.format("structure")),
    Want.BODY: ("b.body", _JOINED.format("body")),
    Want.SAVE_DATE: ("m.save_date", "string_agg(timestamptz_send(save_date), '')"),
    Want.EMAIL: ("m.email_id", "string_agg(int8send(email_id), '')"),
    Want.THREAD: ("m.thread_id", "string_agg(int8send(thread_id), '')"),
    Want.PREVIEW: ("b.preview", _JOINED.format("convert_to(preview, 'UTF8')")),
}
_OF_BODY: Final = Want.ENVELOPE | Want.STRUCTURE | Want.BODY | Want.PREVIEW
_NUMBERS: Final = {Want.SIZE: "sizes", Want.EMAIL: "emails", Want.THREAD: "threads"}
_DATES: Final = {Want.INTERNAL_DATE: "internal_dates", Want.SAVE_DATE: "save_dates"}
_TEXTS: Final = {
    Want.ENVELOPE: "envelopes",
    Want.STRUCTURE: "structures",
    Want.BODY: "bodies",
    Want.PREVIEW: "previews",
}
_SECONDS_OF_2000: Final = 946_684_800
"""What PostgreSQL counts microseconds from."""


@cache
def _statement(want: Want) -> tuple[OctetStatement, tuple[Want, ...]]:
    wanted = tuple(one for one in _COLUMNS if one & want)
    read = ", ".join(["m.uid", *(_COLUMNS[one][0] for one in wanted)])
    packed = ", ".join(["string_agg(uid_octets(uid), '')", *(_COLUMNS[one][1] for one in wanted)])
    join = " JOIN bodies AS b ON b.id = m.body_id" if want & _OF_BODY else ""
    return OctetStatement(
        f"SELECT {packed} FROM (SELECT {read} FROM messages AS m{join}"
        " WHERE m.mailbox_id = %(mailbox)s AND m.uid = ANY (%(uids)s::bigint[]) ORDER BY m.uid) AS x"
    ), wanted


_FIRST: Final = Want.INTERNAL_DATE | Want.SIZE | Want.ENVELOPE | Want.STRUCTURE
ASKED_FIRST: Final = ((_statement(_FIRST)[0], {"mailbox": 0, "uids": "{}"}),)


async def read(database: Database, mailbox: MailboxId, uids: Sequence[int], want: Want) -> Listed:
    """Read columns of messages, ascending by UID; messages that are gone are absent. Raises `Corrupt`."""
    statement, wanted = _statement(want)
    ((octets, *columns),) = await database.fetch(statement, {"mailbox": mailbox, "uids": integers(uids)})
    found = Listed(numbers(octets or b"", "I"))
    if found.uids:
        for one, column in zip(wanted, columns, strict=True):
            _put(found, one, column)
    return found


def _put(found: Listed, one: Want, column: Any) -> None:
    if one in _DATES:
        moments = [moment // 1_000_000 + _SECONDS_OF_2000 for moment in numbers(column, "q")]
        setattr(found, _DATES[one], moments)
    elif one in _NUMBERS:
        setattr(found, _NUMBERS[one], numbers(column, "q"))
    else:
        texts = bytes(column).split(b"\0")
        if len(texts) != len(found.uids):
            # Never one message's text in the place of another's.
            raise Corrupt("a description holds a NUL")
        setattr(found, _TEXTS[one], texts)
