"""Insertion of messages: what arrives together is inserted and committed together, in one statement."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg2 import Binary
from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core import limits
from sora.core.errors import CommitUnknown, LimitReached, NoSuchMailbox, UidsExhausted
from sora.core.ids import BodyId, MailboxId, ModSeq, Uid
from sora.postgres.batch import Batches
from sora.postgres.rows import strip, stripped
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.model import BodyRef, Inserted, Named, NewBody, NewMessage

_CALL: Final = """
SELECT * FROM insert_messages(
    %(described)s, %(hashes)s, %(envelopes)s, %(structures)s, %(plain_structures)s, %(headers)s, %(datas)s,
    {boxes}, %(body_ordinals)s, %(traces)s, %(bits)s, %(words)s, %(dates)s, %(lines)s, %(windows)s,
    %(surplus)s, %(keywords_max)s)
"""
_INSERT: Final = Statement(_CALL.format(boxes="%(boxes)s"))
# A mailbox that is named is found as this statement begins; 0 is none.
_INSERT_NAMED: Final = Statement(
    _CALL.format(
        boxes="""
    ARRAY(SELECT coalesce(u.id, (SELECT b.id FROM mailboxes AS b WHERE b.account_id = u.account AND b.name = u.name), 0)
            FROM unnest(%(boxes)s::bigint[], %(accounts)s::bigint[], %(names)s::text[])
                 WITH ORDINALITY AS u (id, account, name, n) ORDER BY u.n)"""
    )
)
IN_FLIGHT_MAX: Final = 2
"""Batches at once: NOTIFY lets only one of them commit at a time, so that more would only be smaller."""
BATCH_MAX: Final = 64
BATCH_OCTETS_MAX: Final = 4_194_304

Outcome = Inserted | Exception


class Arrivals:
    """Inserts messages, many calls in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: Batches[Sequence[NewMessage], list[Outcome]] = Batches(
            self._send,
            reactor=database.pool.reactor,
            in_flight_max=IN_FLIGHT_MAX,
            count_max=BATCH_MAX,
            weight_max=BATCH_OCTETS_MAX,
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
            bodies: dict[tuple[str, bytes], tuple[int, NewBody]] = {}
            ordinals = []
            surplus: list[str] = []
            for index in chosen:
                body = messages[index].body
                ordinal, kept = bodies.setdefault((body.scope, body.hash), (len(bodies) + 1, body))
                ordinals.append(ordinal)
                if body.data is None and body.object_key != kept.object_key:
                    surplus.append(body.object_key)
            parameters = _bodies([body for _, body in bodies.values()])
            parameters.update(_messages([messages[index] for index in chosen], ordinals))
            parameters["surplus"] = surplus
            statement = _INSERT_NAMED if "names" in parameters else _INSERT
            rows = await self._database.change(statement, parameters)
            for row in rows:
                index = chosen[row[0] - 1]
                outcomes[index] = _outcome(row, messages[index].body)
        return [outcome if outcome is not None else CommitUnknown("no answer for a message") for outcome in outcomes]


def _bodies(bodies: list[NewBody]) -> dict[str, Any]:
    described = [_described(number, body) for number, body in enumerate(bodies, 1)]
    return {
        "described": json.dumps(described, ensure_ascii=False),
        "hashes": [Binary(body.hash) for body in bodies],
        "envelopes": [Binary(body.described.envelope) for body in bodies],
        "structures": [Binary(body.described.structure) for body in bodies],
        "plain_structures": [Binary(body.described.body) for body in bodies],
        "headers": [None if body.described.header is None else Binary(body.described.header) for body in bodies],
        "datas": [None if body.data is None else Binary(body.data) for body in bodies],
    }


def _described(number: int, body: NewBody) -> dict[str, Any]:
    described = body.described
    return {
        "n": number,
        "scope": body.scope,
        "size": body.size,
        "object_key": body.object_key,
        "stored": body.data is None,
        "sent_at": None if described.sent_at is None else described.sent_at.isoformat(),
        "sent_day": None if described.sent_day is None else described.sent_day.isoformat(),
        "thread": described.thread,
        "subject": strip(described.subject),
        "base_subject": strip(described.base_subject),
        "sort_from": strip(described.sort_from),
        "sort_to": strip(described.sort_to),
        "sort_cc": strip(described.sort_cc),
        "display_from": strip(described.display_from),
        "display_to": strip(described.display_to),
        "message_id": None if described.message_id is None else strip(described.message_id),
        "in_reply_to": None if described.in_reply_to is None else strip(described.in_reply_to),
        "refs": stripped(described.references) or None,
        "preview": strip(described.preview),
        "complete": described.text_complete,
        "fields": {strip(name): strip(text) for name, text in described.fields.items()},
        "header_text": strip(described.header_text),
        "body_text": strip(described.body_text),
    }


def _messages(messages: list[NewMessage], ordinals: list[int]) -> dict[str, Any]:
    words = {str(n): list(message.keywords) for n, message in enumerate(messages, 1) if message.keywords}
    lines = [
        None if message.suppress is None else Binary(message.suppress[0].encode("utf-8", "replace"))
        for message in messages
    ]
    return {
        **_boxes([message.mailbox for message in messages]),
        "body_ordinals": integers(ordinals),
        "traces": [Binary(message.trace) for message in messages],
        "bits": integers(message.flags for message in messages),
        "words": json.dumps(words),
        "dates": "{" + ",".join(_date(message.internal_date) for message in messages) + "}",
        "lines": lines,
        "windows": [None if message.suppress is None else message.suppress[1] for message in messages],
        "keywords_max": limits.KEYWORDS_MAX,
    }


def _boxes(mailboxes: "list[MailboxId | Named]") -> dict[str, Any]:
    named = [mailbox if isinstance(mailbox, Named) else None for mailbox in mailboxes]
    if not any(named):
        return {"boxes": integers(mailbox for mailbox in mailboxes if not isinstance(mailbox, Named))}
    return {
        "boxes": [None if isinstance(mailbox, Named) else mailbox for mailbox in mailboxes],
        "accounts": [None if name is None else name.account for name in named],
        "names": [None if name is None else strip(name.name) for name in named],
    }


def _date(moment: datetime | None) -> str:
    return "NULL" if moment is None else f'"{moment.isoformat()}"'


def _outcome(row: "tuple[Any, ...]", body: NewBody) -> Outcome:
    _, outcome, uid_validity, uid, modseq, body_id, object_key, stored = row
    if outcome == "no mailbox":
        return NoSuchMailbox("the mailbox does not exist")
    if outcome == "uids":
        return UidsExhausted("the mailbox has no UIDs left")
    if outcome == "keywords":
        return LimitReached(f"more than {limits.KEYWORDS_MAX} different keywords in one mailbox")
    return Inserted(
        uid_validity=uid_validity,
        uid=Uid(uid),
        modseq=ModSeq(modseq),
        duplicate=outcome == "duplicate",
        body=BodyRef(BodyId(body_id), body.hash, body.size, object_key, not stored),
    )
