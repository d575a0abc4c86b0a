"""Insertion of messages: what arrives together is inserted and committed together, in one statement."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import CommitUnknown, LimitReached, NoSuchMailbox, OverQuota, UidsExhausted
from sora.core.ids import BodyId, MailboxId, ModSeq, Uid
from sora.core.quota import NO_LIMITS, Filled, Limits
from sora.postgres.batch import Batches
from sora.postgres.binary import BinaryStatement, octets, texts
from sora.postgres.rows import strip
from sora.postgres.statement import integers
from sora.postgres.work import Database
from sora.store.model import BodyRef, Inserted, Named, NewBody, NewMessage

BODIES: Final = """
    %(scopes)s, %(hashes)s, %(sizes)s, %(keys)s, %(datas)s, %(sent_ats)s, %(sent_days)s, %(threads)s, %(envelopes)s,
    %(structures)s, %(plain_structures)s, %(headers)s, %(subjects)s, %(base_subjects)s, %(sorts_from)s, %(sorts_to)s,
    %(sorts_cc)s, %(displays_from)s, %(displays_to)s, %(message_ids)s, %(answers)s, %(references_of)s, %(previews)s,
    %(completes)s, %(fields_of)s, %(header_texts)s, %(texts)s"""
# A mailbox that is named is found as the statement begins; 0 is none.
BOXES_NAMED: Final = """
    ARRAY(SELECT coalesce(u.id, (SELECT b.id FROM mailboxes AS b WHERE b.account_id = u.account AND b.name = u.name), 0)
            FROM unnest(%(boxes)s::bigint[], %(accounts)s::bigint[], %(names)s::text[])
                 WITH ORDINALITY AS u (id, account, name, n) ORDER BY u.n)"""
_CALL: Final = """
SELECT json_agg(json_build_array(ordinal, outcome, uid_validity, uid, modseq, body_id, object_key, stored,
                                 filled))::text
  FROM insert_messages(
    {bodies},
    {boxes}, %(body_ordinals)s, %(traces)s, %(bits)s, %(words)s, %(dates)s, %(lines)s, %(windows)s, %(surplus)s,
    %(keywords_max)s, %(storage_default)s, %(messages_default)s)
"""
_INSERT: Final = BinaryStatement(_CALL.format(bodies=BODIES, boxes="%(boxes)s"))
_INSERT_NAMED: Final = BinaryStatement(
    _CALL.format(
        bodies=BODIES,
        boxes=BOXES_NAMED,
    )
)
IN_FLIGHT_MAX: Final = 2
"""Batches at once: NOTIFY lets only one of them commit at a time, so that more would only be smaller."""
PATIENCE: Final = 0.05
"""Seconds a batch may take until the next one, if it is not full, stops waiting for it. A batch costs PostgreSQL some
0.3 ms before its first message, so one after the other, twice as large, is cheaper and quicker than two at once; but
one that waits for a mailbox that somebody has locked must not hold up the others."""
BATCH_MAX: Final = 64
BATCH_OCTETS_MAX: Final = 4_194_304

Outcome = Inserted | Exception


class Arrivals:
    """Inserts messages, many calls in one statement."""

    def __init__(self, database: Database, *, quota: Limits = NO_LIMITS) -> None:
        """`quota` holds for accounts that have none of their own."""
        self._database = database
        self.defaults = {"storage_default": _plain(quota.storage), "messages_default": _plain(quota.messages)}
        self._batches: Batches[Sequence[NewMessage], list[Outcome]] = Batches(
            self._send,
            reactor=database.pool.reactor,
            in_flight_max=IN_FLIGHT_MAX,
            count_max=BATCH_MAX,
            weight_max=BATCH_OCTETS_MAX,
            patience=PATIENCE,
        )

    def insert(self, messages: Sequence[NewMessage]) -> "Deferred[list[Outcome]]":
        """Insert messages with the next batch; each has its result or its error in its place."""
        return self._batches.add(messages, sum(len(message.body.data or b"") for message in messages))

    @deferred
    async def _send(self, calls: list[Sequence[NewMessage]]) -> list[list[Outcome]]:
        every = [message for messages in calls for message in messages]
        outcomes = iter(await self._insert(every) if every else [])
        return [[next(outcomes) for _ in messages] for messages in calls]

    async def _insert(self, messages: list[NewMessage]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [
            LimitReached(f"more than {limits.KEYWORDS_PER_MESSAGE_MAX} keywords on one message")
            if len(message.keywords) > limits.KEYWORDS_PER_MESSAGE_MAX
            else None
            for message in messages
        ]
        chosen = [index for index, outcome in enumerate(outcomes) if outcome is None]
        if chosen:
            named, parameters = parameters_of([messages[index] for index in chosen])
            rows = await self._database.change(_INSERT_NAMED if named else _INSERT, parameters | self.defaults)
            for row in json.loads(rows[0][0]):
                index = chosen[row[0] - 1]
                outcomes[index] = outcome(row, messages[index].body)
        return [outcome if outcome is not None else CommitUnknown("no answer for a message") for outcome in outcomes]


def parameters_of(messages: list[NewMessage]) -> tuple[bool, dict[str, Any]]:
    """Return whether mailboxes are named, and what the statement takes."""
    kept: dict[tuple[str, bytes], NewBody] = {}
    surplus: list[str] = []
    for message in messages:
        body = message.body
        first = kept.setdefault((body.scope, body.hash), body)
        if body.data is None and body.object_key != first.object_key:
            surplus.append(body.object_key)
    # Two batches with the same bodies wait for each other only if they insert them in different orders.
    places = sorted(kept)
    ordinals = {place: number for number, place in enumerate(places, 1)}
    mailboxes = [message.mailbox for message in messages]
    parameters = {
        **_bodies([kept[place] for place in places]),
        **_boxes(mailboxes),
        "body_ordinals": integers(ordinals[message.body.scope, message.body.hash] for message in messages),
        "traces": octets(message.trace for message in messages),
        "bits": integers(message.flags for message in messages),
        "words": _words(messages),
        "dates": _moments(message.internal_date for message in messages),
        "lines": octets(
            None if message.suppress is None else message.suppress[0].encode("utf-8", "replace") for message in messages
        ),
        "windows": _literal(None if message.suppress is None else str(message.suppress[1]) for message in messages),
        "surplus": texts(surplus),
        "keywords_max": str(limits.KEYWORDS_MAX),
    }
    return "names" in parameters, parameters


def _bodies(bodies: list[NewBody]) -> dict[str, Any]:
    described = [body.described for body in bodies]
    return {
        "scopes": texts([body.scope for body in bodies]),
        "hashes": octets([body.hash for body in bodies]),
        "sizes": integers([body.size for body in bodies]),
        "keys": texts([body.object_key for body in bodies]),
        "datas": octets([body.data for body in bodies]),
        "sent_ats": _moments([one.sent_at for one in described]),
        "sent_days": _literal([None if one.sent_day is None else one.sent_day.isoformat() for one in described]),
        "threads": integers([one.thread for one in described]),
        "envelopes": octets([one.envelope for one in described]),
        "structures": octets([one.structure for one in described]),
        "plain_structures": octets([one.body for one in described]),
        "headers": octets([one.header for one in described]),
        "subjects": texts([one.subject for one in described]),
        "base_subjects": texts([one.base_subject for one in described]),
        "sorts_from": texts([one.sort_from for one in described]),
        "sorts_to": texts([one.sort_to for one in described]),
        "sorts_cc": texts([one.sort_cc for one in described]),
        "displays_from": texts([one.display_from for one in described]),
        "displays_to": texts([one.display_to for one in described]),
        "message_ids": texts([one.message_id for one in described]),
        "answers": texts([one.in_reply_to for one in described]),
        # No message id has a "<" in it.
        "references_of": texts(["<".join(one.references) or None for one in described]),
        "previews": texts([one.preview for one in described]),
        "completes": _literal(["t" if one.text_complete else "f" for one in described]),
        "fields_of": texts([_fields(one.fields) for one in described]),
        "header_texts": texts([one.header_text for one in described]),
        "texts": texts([one.body_text for one in described]),
    }


def _fields(fields: dict[str, str]) -> str:
    text = json.dumps(fields, ensure_ascii=False)
    # A NUL would be an escape that jsonb refuses.
    return (
        text
        if "\\u0000" not in text
        else json.dumps({strip(k): strip(v) for k, v in fields.items()}, ensure_ascii=False)
    )


def _words(messages: list[NewMessage]) -> str:
    return json.dumps({str(n): list(message.keywords) for n, message in enumerate(messages, 1) if message.keywords})


def _plain(number: int | None) -> str | None:
    return None if number is None else str(number)


def _literal(values: Iterable[str | None]) -> str:
    """Write an array of values that hold nothing to be quoted."""
    return "{" + ",".join(["NULL" if value is None else value for value in values]) + "}"


def _moments(moments: Iterable[datetime | None]) -> str:
    return _literal([None if moment is None else f'"{moment.isoformat()}"' for moment in moments])


def _boxes(mailboxes: "list[MailboxId | Named]") -> dict[str, Any]:
    named = [mailbox if isinstance(mailbox, Named) else None for mailbox in mailboxes]
    boxes = integers(None if isinstance(mailbox, Named) else mailbox for mailbox in mailboxes)
    if not any(named):
        return {"boxes": boxes}
    return {
        "boxes": boxes,
        "accounts": integers(None if name is None else name.account for name in named),
        "names": texts(None if name is None else name.name for name in named),
    }


def outcome(row: list[Any], body: NewBody) -> Outcome:
    """Read what `insert_messages` says of a message."""
    _, word, uid_validity, uid, modseq, body_id, object_key, stored, filled = row
    if word == "no mailbox":
        return NoSuchMailbox("the mailbox does not exist")
    if word == "uids":
        return UidsExhausted("the mailbox has no UIDs left")
    if word == "quota":
        return OverQuota("the quota leaves no room for the message")
    if word == "keywords":
        return LimitReached(f"more than {limits.KEYWORDS_MAX} different keywords in one mailbox")
    return Inserted(
        uid_validity=uid_validity,
        uid=Uid(uid),
        modseq=ModSeq(modseq),
        duplicate=word == "duplicate",
        body=BodyRef(BodyId(body_id), body.hash, body.size, object_key, not stored),
        filled=None if filled is None else Filled(*filled),
    )
