"""The only place where search criteria are evaluated for one message whose text is at hand.

A result is True, False, or None where a fact is missing; `And`, `Or` and `Not` keep what is not known
apart (Kleene's logic), so that None comes out only if the missing fact would decide.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import attrs

from sora.core import criteria as keys
from sora.core.text import fold
from sora.core.uidset import UidSet

_FIELDS = {
    keys.Field.FROM: "from",
    keys.Field.TO: "to",
    keys.Field.CC: "cc",
    keys.Field.BCC: "bcc",
    keys.Field.SUBJECT: "subject",
}


class Text(Protocol):
    """Text for search, folded; `mime.description.Described` is one."""

    @property
    def fields(self) -> dict[str, str]:
        """Lower-cased header name to text; several fields joined by a newline."""

    @property
    def header_text(self) -> str:
        """The whole header."""

    @property
    def body_text(self) -> str:
        """All text parts."""

    @property
    def sent_day(self) -> date | None:
        """The Date header's day in its own zone."""

    @property
    def text_complete(self) -> bool:
        """Whether nothing was cut."""


@attrs.define
class Facts:
    """What is known of one message; None is not known."""

    uid: int
    flags: int
    keywords: frozenset[str]
    """Lower-cased."""
    recent: bool
    modseq: int
    size: int | None = None
    arrived: datetime | None = None
    saved: datetime | None = None
    email: int | None = None
    thread: int | None = None
    text: Text | None = None
    trace: bytes = b""


def evaluate(criteria: keys.Criteria, facts: Facts) -> bool | None:
    """Tell whether a message matches; None if a missing fact decides. `*` must have been replaced in `Uids`."""
    stack: list[bool | None] = []
    for step in criteria.steps:
        match step:
            case keys.And(count):
                stack.append(_all(_popped(stack, count)))
            case keys.Or(count):
                stack.append(_opposite(_all([_opposite(result) for result in _popped(stack, count)])))
            case keys.Not():
                stack.append(_opposite(stack.pop()))
            case keys.Text() | keys.Header():
                stack.append(_text(step, facts))
            case keys.Size() | keys.Dated() | keys.Arrived():
                stack.append(_measured(step, facts))
            case keys.Id(of, value):
                known = facts.email if of is keys.IdOf.EMAIL else facts.thread
                stack.append(None if known is None else known == value)
            case _:
                stack.append(_plain(step, facts))
    (result,) = stack
    return result


def _popped(stack: list[bool | None], count: int) -> list[bool | None]:
    at = len(stack) - count
    taken = stack[at:]
    del stack[at:]
    return taken


def _opposite(result: bool | None) -> bool | None:
    return None if result is None else not result


def _all(results: Sequence[bool | None]) -> bool | None:
    if False in results:
        return False
    return None if None in results else True


def _plain(step: keys.Step, facts: Facts) -> bool:
    match step:
        case keys.All():
            return True
        case keys.Flag(bit, wanted):
            return bool(facts.flags & bit) is wanted
        case keys.Keyword(name, wanted):
            return (name in facts.keywords) is wanted
        case keys.Recent(wanted):
            return facts.recent is wanted
        case keys.Uids(uids):
            return _in(uids, facts.uid)
        case keys.ModSeqAtLeast(modseq):
            return facts.modseq >= modseq
    raise ValueError(f"{type(step).__name__} cannot be evaluated for one message")


def _in(uids: UidSet, uid: int) -> bool:
    return any(min(pair) <= uid <= max(pair) for pair in uids.ranges)


def _measured(step: keys.Size | keys.Dated | keys.Arrived, facts: Facts) -> bool | None:
    if isinstance(step, keys.Size):
        return None if facts.size is None else _related(facts.size - step.octets, step.relation)
    if isinstance(step, keys.Arrived):
        if facts.arrived is None:
            return None
        return facts.arrived >= step.moment if step.later else facts.arrived < step.moment + timedelta(seconds=1)
    if step.of is not keys.DateOf.SENT:
        moment = facts.arrived if step.of is keys.DateOf.INTERNAL else facts.saved
        return None if moment is None else _related((moment.astimezone(UTC).date() - step.day).days, step.relation)
    if facts.text is None:
        return None
    day = facts.text.sent_day
    return day is not None and _related((day - step.day).days, step.relation)


def _related(difference: int, relation: keys.Relation) -> bool:
    match relation:
        case keys.Relation.BEFORE:
            return difference < 0
        case keys.Relation.ON:
            return difference == 0
        case keys.Relation.SINCE:
            return difference >= 0
        case keys.Relation.LARGER:
            return difference > 0


def _text(step: keys.Text | keys.Header, facts: Facts) -> bool | None:
    text = facts.text
    if text is None:
        return None
    if isinstance(step, keys.Text) and step.field is keys.Field.BODY:
        places = [text.body_text]
    elif isinstance(step, keys.Text) and step.field is keys.Field.TEXT:
        places = [text.header_text, text.body_text, fold(_unfolded(facts.trace))]
    else:
        name = step.name if isinstance(step, keys.Header) else _FIELDS[step.field]
        places = [fields[name] for fields in (text.fields, _trace_fields(facts.trace)) if name in fields]
    if any(step.needle in place for place in places):
        return True
    return False if text.text_complete else None


def _unfolded(trace: bytes) -> str:
    return trace.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ")


def _trace_fields(trace: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in _unfolded(trace).splitlines():
        name, _, value = line.partition(":")
        key, folded = name.strip().lower(), fold(value.strip())
        fields[key] = f"{fields[key]}\n{folded}" if key in fields else folded
    return fields
