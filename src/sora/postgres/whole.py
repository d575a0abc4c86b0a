"""Insertion of messages all or none: several of one APPEND, and one in the place of another."""

# ruff: noqa: S608  the pieces are constants of this folder

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sora.core import limits
from sora.core.errors import CommitUnknown, LimitReached
from sora.core.ids import MailboxId
from sora.postgres.arrivals import BODIES, BOXES_NAMED, outcome, parameters_of
from sora.postgres.binary import BinaryStatement
from sora.postgres.statement import integers
from sora.postgres.work import Database
from sora.store.model import Inserted, Named, NewMessage

_CALL: Final = f"""
SELECT json_agg(json_build_array(ordinal, outcome, uid_validity, uid, modseq, body_id, object_key, stored,
                                 filled))::text,
       refuse(min(outcome) FILTER (WHERE outcome <> 'inserted')){{seen}}
  FROM {{before}} insert_messages(
    {BODIES},
    {{boxes}}, %(body_ordinals)s, %(traces)s, %(bits)s, %(words)s, %(dates)s, %(lines)s, %(windows)s, %(surplus)s,
    %(keywords_max)s, %(storage_default)s, %(messages_default)s)
"""
_SEEN: Final = """,
       note_seen(%(seen_by)s, %(seen_in)s, runs_of(array_agg(uid) FILTER (WHERE ordinal = ANY (%(seen)s))), true,
                 max(modseq))"""
_INSERT: Final = BinaryStatement(_CALL.format(before="", boxes="%(boxes)s", seen=""))
_INSERT_NAMED: Final = BinaryStatement(_CALL.format(before="", boxes=BOXES_NAMED, seen=""))
_INSERT_SEEN: Final = BinaryStatement(_CALL.format(before="", boxes="%(boxes)s", seen=_SEEN))
_ROOM: Final = """make_room(%(source)s, %(uid)s, %(target)s, %(target_account)s, %(target_name)s, %(storage_default)s,
           %(messages_default)s, %(who_account)s, %(who_address)s, %(protocol)s, %(session)s) AS room (box)
       CROSS JOIN LATERAL"""
_REPLACE: Final = BinaryStatement(_CALL.format(before=_ROOM, boxes="ARRAY[room.box]", seen=""))
_REPLACE_SEEN: Final = BinaryStatement(_CALL.format(before=_ROOM, boxes="ARRAY[room.box]", seen=_SEEN))


async def insert(database: Database, messages: Sequence[NewMessage], defaults: Mapping[str, Any]) -> list[Inserted]:
    """Insert messages in one transaction, all or none; raises why one of them cannot be."""
    named, parameters = parameters_of(list(messages))
    seen = _seen(messages)
    statement = _INSERT_NAMED if named else _INSERT_SEEN if seen else _INSERT
    return await _run(database, statement, messages, {**parameters, **seen, **defaults})


def _seen(messages: Sequence[NewMessage]) -> dict[str, Any]:
    """Return who has seen which of the messages, in which mailbox; nothing if nobody with a \\Seen of his own has.

    They are of one user, and for one mailbox.
    """
    ordinals = [number for number, message in enumerate(messages, 1) if message.seen_by is not None]
    if not ordinals:
        return {}
    first = messages[ordinals[0] - 1]
    return {"seen_by": str(first.seen_by), "seen_in": str(first.mailbox), "seen": integers(ordinals)}


async def replace(
    database: Database,
    place: tuple[MailboxId, int],
    message: NewMessage,
    who: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Inserted:
    """Insert a message and bury the one at `place` (its mailbox and UID), both or neither.

    `who` does it, as `mailboxes.actor_parameters` says. Raises as `insert`, and `NoSuchMessage`.
    """
    _, parameters = parameters_of([message])
    target = message.mailbox
    named = target if isinstance(target, Named) else None
    parameters |= {
        "source": str(place[0]),
        "uid": str(place[1]),
        "target": None if named else str(target),
        "target_account": None if named is None else str(named.account),
        "target_name": None if named is None else named.name,
        **{name: None if value is None else str(value) for name, value in who.items()},
    }
    seen = _seen([message])
    statement = _REPLACE_SEEN if seen else _REPLACE
    return (await _run(database, statement, [message], {**parameters, **seen, **defaults}))[0]


async def _run(
    database: Database, statement: BinaryStatement, messages: Sequence[NewMessage], parameters: dict[str, Any]
) -> list[Inserted]:
    if any(len(message.keywords) > limits.KEYWORDS_PER_MESSAGE_MAX for message in messages):
        raise LimitReached(f"more than {limits.KEYWORDS_PER_MESSAGE_MAX} keywords on one message")
    rows = await database.change(statement, parameters)
    found = {row[0]: outcome(row, messages[row[0] - 1].body) for row in json.loads(rows[0][0])}
    inserted = [found[number] for number in range(1, len(messages) + 1)]
    return [_stored(one) for one in inserted]


def _stored(one: Inserted | Exception) -> Inserted:
    if isinstance(one, Exception):
        raise CommitUnknown("a message was refused that the transaction kept")
    return one
