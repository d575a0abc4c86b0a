"""Turning what PostgreSQL returns into the values of `store.model`; no statement is here."""

import json
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sora.core.ids import BodyId, MailboxId, ModSeq, Uid
from sora.store.model import BodyRef, Columns, MailboxRow, Reach

_SWAP: Final = sys.byteorder == "little"

MAILBOX_COLUMNS: Final = """
    b.id, b.name, b.special_use, b.uid_validity, b.uid_next, b.highest_modseq, b.messages, b.unseen, b.deleted,
    b.size, b.deleted_size, b.recent, b.keywords,
    EXISTS (SELECT FROM subscriptions AS s WHERE s.account_id = b.account_id AND s.name = b.name) AS subscribed
"""
PRIVATE_COLUMNS: Final = MAILBOX_COLUMNS.replace(
    "b.unseen",
    """b.messages - coalesce((SELECT r.seen FROM private_readers AS r
                               WHERE r.mailbox_id = b.id AND r.account_id = {reader}), 0) AS unseen""",
)
"""`MAILBOX_COLUMNS` for a reader with a \\Seen of his own."""
MAILBOX_WIDTH: Final = 14
"""How many columns `mailbox` reads."""

PACKED: Final = """
    coalesce(string_agg(uid_octets(uid), ''), ''), coalesce(string_agg(int2send(flags), ''), ''),
    coalesce(string_agg(int8send(modseq), ''), ''),
    convert_to((json_object_agg(uid, keywords) FILTER (WHERE keywords IS NOT NULL))::text, 'UTF8')
"""
"""Messages as columns of octets; the rows come in ascending order from a subquery."""

AS_OCTETS: Final = """
    convert_to(json_build_array(box.id, box.name, box.special_use, box.uid_validity, box.uid_next, box.highest_modseq,
        box.messages, box.unseen, box.deleted, box.size, box.deleted_size, box.recent, box.keywords, box.subscribed,
        box.recent_from, box.forgotten_modseq, box.lost_from, box.lost_to)::text, 'UTF8')
"""
"""`MAILBOX_COLUMNS`, recent_from and reach of a row named `box`, for a statement that answers in octets."""


def mailbox(row: "Sequence[Any]") -> MailboxRow:
    """Read `MAILBOX_COLUMNS`."""
    return MailboxRow(
        id=MailboxId(row[0]),
        name=row[1],
        special_use=row[2],
        uid_validity=row[3],
        uid_next=row[4],
        highest_modseq=ModSeq(row[5]),
        messages=row[6],
        unseen=row[7],
        deleted=row[8],
        size=row[9],
        deleted_size=row[10],
        recent=row[11],
        keywords=tuple(row[12]),
        subscribed=row[13],
    )


def numbers(octets: "bytes | memoryview", typecode: str) -> "array[int]":
    """Read integers in network order."""
    found = array(typecode, bytes(octets))
    if _SWAP:
        found.byteswap()
    return found


def as_octets(row: Any) -> tuple[MailboxRow, Uid, Reach]:
    """Read `AS_OCTETS`: the mailbox, from which UID on messages are \\Recent, and how far back it can tell."""
    values = json.loads(bytes(row))
    return mailbox(values), Uid(values[MAILBOX_WIDTH]), Reach(*values[MAILBOX_WIDTH + 1 :])


def columns(uids: Any, flags: Any, modseqs: Any, keywords: Any) -> Columns:
    """Read `PACKED`; a flag word is two octets of which the second counts.

    Keywords are JSON in octets, or what psycopg2 has made of it.
    """
    if keywords is not None and not isinstance(keywords, dict):
        keywords = json.loads(bytes(keywords))
    return Columns(
        uids=numbers(uids, "I"),
        flags=array("B", bytes(flags)[1::2]),
        modseqs=numbers(modseqs, "Q"),
        keywords={int(uid): tuple(words) for uid, words in keywords.items()} if keywords else {},
    )


def body_ref(row: "tuple[Any, ...]") -> BodyRef:
    """Read id, hash, size, object_key, stored."""
    return BodyRef(id=BodyId(row[0]), hash=bytes(row[1]), size=row[2], object_key=row[3], staged=not row[4])


def strip(text: str) -> str:
    """Return text that PostgreSQL can keep: no NUL, no half of a surrogate pair."""
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text


def stripped(texts: Iterable[str]) -> list[str]:
    """Return texts that PostgreSQL can keep."""
    return [strip(text) for text in texts]
