"""The only place where search criteria are evaluated in memory.

A step's result is True, False, or None where stored text is incomplete and nothing was found in what
there is: only the message's bytes can tell. `And`, `Or` and `Not` keep what cannot be known apart
(Kleene's logic), so that a message is undecided only if its bytes would change the answer.
"""

from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, date

from sora.core import criteria as keys
from sora.core.text import fold
from sora.core.uidset import pick
from sora.store.memory_state import StoredMessage
from sora.store.model import Found

_ADDRESS_FIELDS = {
    keys.Field.FROM: "from",
    keys.Field.TO: "to",
    keys.Field.CC: "cc",
    keys.Field.BCC: "bcc",
    keys.Field.SUBJECT: "subject",
}


def search(criteria: keys.Criteria, messages: Sequence[StoredMessage], *, recent_from: int, uid_max: int) -> Found:
    """Evaluate criteria over messages that are ascending by UID."""
    named = [
        {uid for _, uid in pick([m.uid for m in messages], step.uids.resolve(uid_max))}
        if isinstance(step, keys.Uids)
        else set()
        for step in criteria.steps
    ]
    uids, undecided = array("I"), array("I")
    for message in messages:
        result = _evaluate(criteria.steps, named, message, recent_from)
        if result is None:
            undecided.append(message.uid)
        elif result:
            uids.append(message.uid)
    return Found(uids, undecided)


def _evaluate(
    steps: Sequence[keys.Step], named: Sequence[set[int]], message: StoredMessage, recent_from: int
) -> bool | None:
    stack: list[bool | None] = []
    for step, uids in zip(steps, named, strict=True):
        match step:
            case keys.And(count):
                stack.append(_both([stack.pop() for _ in range(count)]))
            case keys.Or(count):
                stack.append(_negate(_both([_negate(stack.pop()) for _ in range(count)])))
            case keys.Not():
                stack.append(_negate(stack.pop()))
            case keys.Uids():
                stack.append(message.uid in uids)
            case keys.Recent(wanted):
                stack.append((message.uid >= recent_from) is wanted)
            case keys.Text() | keys.Header():
                stack.append(_text(step, message))
            case _:
                stack.append(_plain(step, message))
    (result,) = stack
    return result


def _negate(result: bool | None) -> bool | None:
    return None if result is None else not result


def _both(results: Iterable[bool | None]) -> bool | None:
    known = set(results)
    if False in known:
        return False
    return None if None in known else True


def _plain(step: keys.Step, message: StoredMessage) -> bool:
    match step:
        case keys.All():
            return True
        case keys.Flag(bit, wanted):
            return bool(message.flags & bit) is wanted
        case keys.Keyword(name, wanted):
            return (name in (word.lower() for word in message.keywords)) is wanted
        case keys.Size(relation, octets):
            return _related(message.size, relation, octets)
        case keys.Dated(keys.DateOf.INTERNAL, relation, day):
            return _related(message.internal_date.astimezone(UTC).date(), relation, day)
        case keys.Dated(_, relation, day):
            sent = message.body.described.sent_day
            return sent is not None and _related(sent, relation, day)
        case keys.ModSeqAtLeast(modseq):
            return message.modseq >= modseq
    raise ValueError(f"{type(step).__name__} is not for a store")


def _related(value: int | date, relation: keys.Relation, other: int | date) -> bool:
    match relation:
        case keys.Relation.BEFORE:
            return value < other  # type: ignore[operator]
        case keys.Relation.ON:
            return value == other
        case keys.Relation.SINCE:
            return value >= other  # type: ignore[operator]
        case keys.Relation.LARGER:
            return value > other  # type: ignore[operator]


def _text(step: keys.Text | keys.Header, message: StoredMessage) -> bool | None:
    described = message.body.described
    if isinstance(step, keys.Text) and step.field is keys.Field.BODY:
        places = [described.body_text]
    elif isinstance(step, keys.Text) and step.field is keys.Field.TEXT:
        places = [described.header_text, described.body_text, fold(_decoded(message.trace))]
    else:
        name = step.name if isinstance(step, keys.Header) else _ADDRESS_FIELDS[step.field]
        fields = (described.fields, _trace_fields(message.trace))
        places = [found[name] for found in fields if name in found]
    if any(step.needle in place for place in places):
        return True
    return False if described.text_complete else None


def _decoded(trace: bytes) -> str:
    return trace.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ")


def _trace_fields(trace: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in _decoded(trace).splitlines():
        name, _, value = line.partition(":")
        lowered, folded = name.strip().lower(), fold(value.strip())
        fields[lowered] = f"{fields[lowered]}\n{folded}" if lowered in fields else folded
    return fields
