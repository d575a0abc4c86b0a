"""Search criteria as one SQL statement.

Each step of the program becomes a boolean expression. SQL's logic has three values, and that is what an
incomplete text needs: not found in a text that was cut is NULL, which only the message's bytes can decide;
AND, OR and NOT pass it on exactly where it matters. Every other expression is never NULL.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, assert_never

from sora.aio import deferred
from sora.core import criteria as keys
from sora.core.errors import Busy, LimitReached, NoSuchMailbox
from sora.core.flags import SEEN
from sora.core.ids import UID_MAX, AccountId, MailboxId, Uid
from sora.core.uidset import STAR, UidSet
from sora.postgres.adapter import Rows
from sora.postgres.rows import numbers, strip
from sora.postgres.statement import integers
from sora.postgres.work import Database
from sora.store.model import TRACE_FIELDS, Found

_SEARCH: Final = """
SELECT b.id, found.uids, found.undecided
  FROM mailboxes AS b CROSS JOIN LATERAL (
       SELECT coalesce(string_agg(uid_octets(uid), '') FILTER (WHERE verdict), '') AS uids,
              coalesce(string_agg(uid_octets(uid), '') FILTER (WHERE verdict IS NULL), '') AS undecided
         FROM (SELECT m.uid, {verdict} AS verdict
                 FROM {messages} AS m{joins}
                WHERE m.mailbox_id = b.id{bounds}
                ORDER BY m.uid OFFSET 0) AS judged
        WHERE verdict IS NOT FALSE) AS found
 WHERE {which}
"""
# OFFSET 0 has each message judged once: what is found would else be read again, to say so.
_NUMBERED: Final = """(
    SELECT *, row_number() OVER (ORDER BY uid) AS number, count(*) OVER () AS last_number, max(uid) OVER () AS last_uid
      FROM messages WHERE mailbox_id = b.id)"""
"""Messages with what sequence numbers and `*` mean in their mailbox."""
_OF_BODY: Final = " JOIN bodies AS y ON y.id = m.body_id"
_OF_TEXT: Final = """
                 LEFT JOIN LATERAL (SELECT * FROM body_texts AS x WHERE x.body_id = m.body_id OFFSET 0) AS t ON true"""
"""The mailbox's texts one by one: PostgreSQL would at times rather read those of the whole database."""
_OF_READER: Final = """
                 LEFT JOIN private_seen AS own
                   ON own.mailbox_id = m.mailbox_id AND own.account_id = %(reader)s AND own.uid = m.uid"""
_TRACE: Final = "trace_text(m.trace)"
_SKIPPED: Final = 3
"""From so many characters on strpos is the quicker: it skips by what it has read."""
_FIELDS: Final = {
    keys.Field.FROM: "from",
    keys.Field.TO: "to",
    keys.Field.CC: "cc",
    keys.Field.BCC: "bcc",
    keys.Field.SUBJECT: "subject",
}


class _Program:
    """Collects parameters while expressions are built."""

    def __init__(self, recent_from: int | None, uid_max: int | None, reader: AccountId | None) -> None:
        """Begin; without `recent_from` and `uid_max` a program is for mailboxes that no session has selected.

        A `reader` has a \\Seen of his own in mailboxes of others.
        """
        self.recent_from = recent_from
        self.uid_max = uid_max
        self.numbered = False
        """Whether it asks for numbers, or for the last message."""
        self.parameters: dict[str, Any] = {} if reader is None else {"reader": reader}
        self.joins: set[str] = set()
        self._reader = reader

    def parameter(self, value: Any) -> str:
        """Add a value and return what stands for it."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"

    def expression(self, step: keys.Step) -> str:
        """Return the SQL of a step that has no operands."""
        match step:
            case keys.All():
                return "true"
            case keys.Flag(bit, wanted):
                return self._flag(bit, wanted)
            case keys.Keyword(name, wanted):
                return self._keyword(name, wanted)
            case keys.Recent(wanted):
                recent_from = "b.recent_from" if self.recent_from is None else int(self.recent_from)
                return f"m.uid {'>=' if wanted else '<'} {recent_from}"
            case keys.Uids() | keys.Numbers():
                return self._among(step)
            case keys.Text() | keys.Header():
                return self._sought(step)
            case keys.Size(relation, octets):
                return f"m.size {relation.value} {int(octets)}"
            case keys.ModSeqAtLeast(modseq):
                return self._changed(modseq)
            case keys.Dated(of, relation, day):
                return self._dated(of, relation, day)
            case keys.Arrived(moment, later):
                # To the second, which INTERNALDATE shows (RFC 5032 2).
                bound = moment if later else moment + timedelta(seconds=1)
                return f"m.internal_date {'>=' if later else '<'} {self.parameter(bound.isoformat())}::timestamptz"
            case keys.Id(of, value):
                return "false" if value is None else f"m.{of.value}_id = {int(value)}"
        raise ValueError(f"{type(step).__name__} is not for a store")

    def _flag(self, bit: int, wanted: bool) -> str:
        if bit != SEEN or self._reader is None:
            return f"m.flags & {int(bit)} {'<>' if wanted else '='} 0"
        self.joins.add(_OF_READER)
        seen = "CASE WHEN b.account_id = %(reader)s THEN m.flags & 1 <> 0 ELSE coalesce(own.seen, false) END"
        return seen if wanted else f"NOT {seen}"

    def _changed(self, modseq: int) -> str:
        if self._reader is None:
            return f"m.modseq >= {int(modseq)}"
        self.joins.add(_OF_READER)
        return f"greatest(m.modseq, own.modseq) >= {int(modseq)}"

    def _among(self, step: keys.Uids | keys.Numbers) -> str:
        if isinstance(step, keys.Uids) and self.uid_max is not None:
            return f"m.uid <@ {self._multirange(step.uids.resolve(self.uid_max))}"
        if self.uid_max is not None:
            raise ValueError("numbers are the session's")
        if isinstance(step, keys.Uids):
            return self._relative(step.uids, "m.uid", "m.last_uid")
        return self._relative(step.numbers, "m.number", "m.last_number")

    def _sought(self, step: keys.Text | keys.Header) -> str:
        if isinstance(step, keys.Header):
            return self._field(step.name, step.needle)
        return self._text(step.field, step.needle)

    def _relative(self, named: UidSet, column: str, last: str) -> str:
        """Return whether a column is in a set in which `*` is another column's value."""
        found = []
        plain = UidSet(tuple(pair for pair in named.ranges if STAR not in pair))
        if plain.ranges:
            found.append(f"{column} <@ {self._multirange(plain.resolve(1))}")
        if column == "m.number" or len(plain.ranges) < len(named.ranges):
            self.numbered = True
        # `n:*` reaches the last message whatever n is (RFC 3501 6.4.8), so the least n says it all.
        if open_ones := [max(pair) for pair in named.ranges if STAR in pair]:
            lowest = min(one or UID_MAX for one in open_ones)
            found.append(f"{column} >= least({lowest}, {last})")
        return " OR ".join(found) or "false"

    def _multirange(self, pairs: list[tuple[int, int]]) -> str:
        ranges = "{" + ",".join(f"[{low},{high}]" for low, high in pairs) + "}"
        return f"{self.parameter(ranges)}::int8multirange"

    def _keyword(self, name: str, wanted: bool) -> str:
        has = f"lower(m.keywords::text)::text[] @> ARRAY[{self.parameter(strip(name))}]"
        return f"{'' if wanted else 'NOT '}coalesce({has}, false)"

    def _dated(self, of: keys.DateOf, relation: keys.Relation, day: date) -> str:
        if of is keys.DateOf.SENT:
            self.joins.add(_OF_BODY)
            return f"coalesce(y.sent_day {relation.value} {self.parameter(day)}::date, false)"
        column = "m.internal_date" if of is keys.DateOf.INTERNAL else "m.save_date"
        # Calendar days of arrival and of saving are UTC's. Bounds instead of days keep the column bare.
        start, end = (f"{self.parameter(text)}::timestamptz" for text in _bounds(day))
        match relation:
            case keys.Relation.BEFORE:
                return f"{column} < {start}"
            case keys.Relation.SINCE:
                return f"{column} >= {start}"
            case keys.Relation.ON:
                return f"({column} >= {start} AND {column} < {end})"
            case keys.Relation.LARGER:
                return f"{column} >= {end}"
        assert_never(relation)

    def _text(self, field: keys.Field, needle: str) -> str:
        if field in _FIELDS:
            return self._field(_FIELDS[field], needle)
        if not needle:
            return "true"
        self.joins.add(_OF_TEXT)
        found = self._contains("coalesce(t.body_text, '')", needle)
        if field is keys.Field.TEXT:
            # The trace last: unfolding it costs as much as the rest. Its octets are read as LATIN1.
            trace = needle.encode("utf-8", "replace").decode("latin-1")
            header, traced = self._contains("coalesce(t.header_text, '')", needle), self._contains(_TRACE, trace)
            found = f"{found} OR {header} OR {traced}"
        return f"CASE WHEN {found} THEN true WHEN coalesce(t.complete, false) THEN false END"

    def _contains(self, text: str, needle: str) -> str:
        needle = strip(needle)
        if len(needle) < _SKIPPED:
            pattern = re.sub(r"([\\%_])", r"\\\1", needle)
            return f"{text} LIKE {self.parameter(f'%{pattern}%')}"
        return f"strpos({text}, {self.parameter(needle)}) > 0"

    def _field(self, name: str, needle: str) -> str:
        self.joins.add(_OF_TEXT)
        named = self.parameter(strip(name))
        if needle:
            sought = self.parameter(strip(needle))
            found, traced = f"strpos(t.fields ->> {named}, {sought}) > 0", f"strpos({{}}, {sought}) > 0"
        else:
            found, traced = f"t.fields ? {named}", "{} IS NOT NULL"
        if name in TRACE_FIELDS:
            # Taking a trace apart costs more than all the rest: only where it may hold the field.
            found = f"{found} OR {traced.format(f'trace_field(m.trace, {named})')}"
        return f"CASE WHEN {found} THEN true WHEN coalesce(t.complete, false) THEN false END"


def _bounds(day: date) -> tuple[str, str]:
    after = day + timedelta(days=1) if day < date.max else day
    return f"{day.isoformat()} 00:00:00+00", f"{after.isoformat()} 00:00:00+00"


def compose(
    criteria: keys.Criteria,
    *,
    recent_from: int,
    uid_max: int,
    reader: AccountId | None = None,
    among: Sequence[int] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the statement for one mailbox, or some UIDs of it, and its parameters, but for `mailbox`."""
    program = _Program(recent_from, uid_max, reader)
    verdict = _verdict(criteria, program)
    bounds = " AND m.uid <= %(uid_max)s"
    if (pair := _outermost(criteria, uid_max)) is not None:
        bounds += f" AND m.uid BETWEEN {pair[0]} AND {pair[1]}"
    if among is not None:
        # A literal: PostgreSQL plans by how many there are.
        bounds += f" AND m.uid = ANY ({program.parameter(integers(among))}::bigint[])"
    joins = "".join(sorted(program.joins))
    sql = _SEARCH.format(verdict=verdict, messages="messages", joins=joins, bounds=bounds, which="b.id = %(mailbox)s")
    return sql, {**program.parameters, "uid_max": uid_max}


def compose_many(criteria: keys.Criteria, reader: AccountId | None = None) -> tuple[str, dict[str, Any]]:
    """Return the statement for several mailboxes and its parameters, but for `mailboxes`."""
    program = _Program(None, None, reader)
    verdict = _verdict(criteria, program)
    joins = "".join(sorted(program.joins))
    which = "b.id = ANY (%(mailboxes)s::bigint[]) AND (found.uids <> '' OR found.undecided <> '')"
    sql = _SEARCH.format(
        verdict=verdict, messages=_NUMBERED if program.numbered else "messages", joins=joins, bounds="", which=which
    )
    return sql, program.parameters


def _verdict(criteria: keys.Criteria, program: _Program) -> str:
    stack: list[str] = []
    for step in criteria.steps:
        if isinstance(step, keys.Not):
            stack.append(f"(NOT {stack.pop()})")
        elif isinstance(step, keys.And | keys.Or):
            operands = stack[len(stack) - step.count :]
            del stack[len(stack) - step.count :]
            word, nothing = (" AND ", "true") if isinstance(step, keys.And) else (" OR ", "false")
            stack.append(f"({word.join(operands)})" if operands else nothing)
        else:
            stack.append(f"({program.expression(step)})")
    (verdict,) = stack
    return verdict


def _outermost(criteria: keys.Criteria, uid_max: int) -> tuple[int, int] | None:
    """Return bounds of the UIDs if the program is a set, or all else is joined to sets by AND."""
    # Where each result that is on the stack begins, and so what the last AND takes.
    begins: list[int] = []
    operands: list[tuple[int, int]] = []
    for at, step in enumerate(criteria.steps):
        count = step.count if isinstance(step, keys.And | keys.Or) else int(isinstance(step, keys.Not))
        taken = begins[len(begins) - count :]
        operands = list(pairwise([*taken, at]))
        begins[len(begins) - count :] = [taken[0] if taken else at]
    last = len(criteria.steps) - 1
    if not isinstance(criteria.steps[last], keys.And):
        operands = [(last, last + 1)] if last == 0 else []
    low, high = 1, uid_max
    for start, end in operands:
        step = criteria.steps[start]
        if end == start + 1 and isinstance(step, keys.Uids):
            pairs = step.uids.resolve(uid_max)
            low, high = (max(low, pairs[0][0]), min(high, pairs[-1][1])) if pairs else (1, 0)
    return (low, high) if (low, high) != (1, uid_max) else None


@deferred
async def search(
    database: Database,
    mailbox: MailboxId,
    criteria: keys.Criteria,
    *,
    recent_from: Uid,
    uid_max: int,
    reader: AccountId | None = None,
    among: Sequence[int] | None = None,
) -> Found:
    """Evaluate criteria over a mailbox, or some UIDs of it. Raises `NoSuchMailbox`."""
    statement, parameters = compose(criteria, recent_from=recent_from, uid_max=uid_max, reader=reader, among=among)
    rows = await _ask(database, statement, {**parameters, "mailbox": mailbox})
    if not rows:
        raise NoSuchMailbox("the mailbox was deleted")
    return Found(uids=numbers(rows[0][1], "I"), undecided=numbers(rows[0][2], "I"))


@deferred
async def search_many(
    database: Database, mailboxes: Sequence[MailboxId], criteria: keys.Criteria, *, reader: AccountId | None = None
) -> dict[MailboxId, Found]:
    """Evaluate criteria over several mailboxes in one statement."""
    statement, parameters = compose_many(criteria, reader)
    rows = await _ask(database, statement, {**parameters, "mailboxes": integers(mailboxes)})
    return {MailboxId(row[0]): Found(uids=numbers(row[1], "I"), undecided=numbers(row[2], "I")) for row in rows}


async def _ask(database: Database, statement: str, parameters: dict[str, Any]) -> Rows:
    try:
        return await database.fetch(statement, parameters)
    except Busy:
        # It waits for no lock, so what ended it was `database.statement_timeout`.
        raise LimitReached("the search takes too long") from None
