"""The only place where search criteria are evaluated in Python, over one message's facts.

A step's result is True, False, or None where text is incomplete and nothing was found in what there is:
only the message's bytes can tell. `And`, `Or` and `Not` keep what cannot be known apart (Kleene's logic),
so that a message is undecided only if its bytes would change the answer. PostgreSQL does the same in SQL.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final

import attrs

from sora.core import criteria as keys
from sora.core.text import fold

_FIELDS: Final = {
    keys.Field.FROM: "from",
    keys.Field.TO: "to",
    keys.Field.CC: "cc",
    keys.Field.BCC: "bcc",
    keys.Field.SUBJECT: "subject",
}


@attrs.define
class Facts:
    """What is known of one message; texts are folded (`core.text.fold`)."""

    uid: int
    flags: int
    keywords: Sequence[str]
    modseq: int
    size: int
    internal_date: datetime
    sent_day: date | None
    trace: bytes
    fields: dict[str, str]
    header_text: str
    body_text: str
    text_complete: bool


def evaluate(
    criteria: keys.Criteria, facts: Facts, *, named: Sequence[frozenset[int]], recent_from: int
) -> bool | None:
    """Tell whether a message matches; `named[i]` are the UIDs of step i if that is `Uids`."""
    stack: list[bool | None] = []
    for step, uids in zip(criteria.steps, named, strict=True):
        match step:
            case keys.And(count):
                stack.append(_all([stack.pop() for _ in range(count)]))
            case keys.Or(count):
                stack.append(_not(_all([_not(stack.pop()) for _ in range(count)])))
            case keys.Not():
                stack.append(_not(stack.pop()))
            case keys.Uids():
                stack.append(facts.uid in uids)
            case keys.Recent(wanted):
                stack.append((facts.uid >= recent_from) is wanted)
            case keys.Text() | keys.Header():
                stack.append(_text(step, facts))
            case _:
                stack.append(_plain(step, facts))
    (result,) = stack
    return result


def _not(result: bool | None) -> bool | None:
    return None if result is None else not result


def _all(results: Iterable[bool | None]) -> bool | None:
    known = set(results)
    if False in known:
        return False
    return None if None in known else True


def _plain(step: keys.Step, facts: Facts) -> bool:
    match step:
        case keys.All():
            return True
        case keys.Flag(bit, wanted):
            return bool(facts.flags & bit) is wanted
        case keys.Keyword(name, wanted):
            return (name in {word.lower() for word in facts.keywords}) is wanted
        case keys.Size(relation, octets):
            return _related(facts.size - octets, relation)
        case keys.Dated(keys.DateOf.INTERNAL, relation, day):
            return _related((facts.internal_date.astimezone(UTC).date() - day).days, relation)
        case keys.Dated(_, relation, day):
            return facts.sent_day is not None and _related((facts.sent_day - day).days, relation)
        case keys.ModSeqAtLeast(modseq):
            return facts.modseq >= modseq
    raise ValueError(f"{type(step).__name__} is not for a store")


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
    if isinstance(step, keys.Text) and step.field is keys.Field.BODY:
        places = [facts.body_text]
    elif isinstance(step, keys.Text) and step.field is keys.Field.TEXT:
        places = [facts.header_text, facts.body_text, fold(_unfolded(facts.trace))]
    else:
        name = step.name if isinstance(step, keys.Header) else _FIELDS[step.field]
        places = [found[name] for found in (facts.fields, trace_fields(facts.trace)) if name in found]
    if any(step.needle in place for place in places):
        return True
    return False if facts.text_complete else None


def _unfolded(trace: bytes) -> str:
    return trace.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ")


def trace_fields(trace: bytes) -> dict[str, str]:
    """Return a trace header's fields, names lower-cased, values folded, repeated ones joined by a newline."""
    fields: dict[str, str] = {}
    for line in _unfolded(trace).splitlines():
        name, _, value = line.partition(":")
        lowered, folded = name.strip().lower(), fold(value.strip())
        fields[lowered] = f"{fields[lowered]}\n{folded}" if lowered in fields else folded
    return fields
