"""What a search asks for: a flat program in postfix order, so that no reader of it recurses.

RFC 3501 6.4.4, RFC 5032, RFC 6203, RFC 8474, RFC 8514. The IMAP parser makes it, the stores evaluate it. `And(n)`,
`Or(n)` and `Not()` take their operands from what stands before them. Text is already decoded and folded
(`core.text.fold`).
"""

from datetime import UTC, date, datetime, timedelta
from enum import Enum

import attrs

from sora.core.uidset import UidSet


class Field(Enum):
    """Which text a `Text` key looks in."""

    FROM = "from"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    SUBJECT = "subject"
    BODY = "body"
    TEXT = "text"
    """The whole header and the whole body."""


class DateOf(Enum):
    """Which date a `Dated` key compares: of arrival, of the Date header (its own zone's day), or of saving here."""

    INTERNAL = "internal"
    SENT = "sent"
    SAVED = "saved"


class Relation(Enum):
    """How a date or size compares with the given one."""

    BEFORE = "<"
    ON = "="
    SINCE = ">="
    LARGER = ">"


@attrs.frozen
class All:
    """ALL: every message."""


@attrs.frozen
class Flag:
    """A system flag is set (`wanted`) or not: SEEN, UNSEEN and so on."""

    bit: int
    wanted: bool = True


@attrs.frozen
class Keyword:
    """KEYWORD and UNKEYWORD; `name` is lower-cased."""

    name: str
    wanted: bool = True


@attrs.frozen
class Recent:
    """RECENT (`wanted`) or OLD; NEW is `Recent` and not seen."""

    wanted: bool = True


@attrs.frozen
class Uids:
    """UID <set>; the view has replaced `*`."""

    uids: UidSet


@attrs.frozen
class Numbers:
    """A sequence set; the session replaces it by `Uids` before a store sees it."""

    numbers: UidSet


@attrs.frozen
class Text:
    """A folded substring of one field; the empty string matches every message that has the field."""

    field: Field
    needle: str
    fuzzy: bool = False
    """Each word of it will do, wherever it stands (RFC 6203); `loosened` says what that means to a store."""


@attrs.frozen
class Header:
    """HEADER <name> <text>: `name` lower-cased; the empty `needle` asks only that the field is there."""

    name: str
    needle: str
    fuzzy: bool = False


@attrs.frozen
class Dated:
    """SINCE, BEFORE, ON and the SENT forms; whole calendar days."""

    of: DateOf
    relation: Relation
    day: date


@attrs.frozen
class Size:
    """LARGER (`Relation.LARGER`) and SMALLER (`Relation.BEFORE`), in octets of RFC822.SIZE."""

    relation: Relation
    octets: int


@attrs.frozen
class ModSeqAtLeast:
    """MODSEQ <n> (RFC 7162 3.1.5)."""

    modseq: int


@attrs.frozen
class Within:
    """YOUNGER and OLDER (RFC 5032): seconds since arrival; `timed` replaces it by `Arrived` before a store sees it."""

    seconds: int
    younger: bool


@attrs.frozen
class Arrived:
    """Arrived at a moment or later (`later`), or at it or before; to the second."""

    moment: datetime
    later: bool


class IdOf(Enum):
    """Whose id an `Id` key names (RFC 8474 6)."""

    EMAIL = "email"
    THREAD = "thread"


@attrs.frozen
class Id:
    """EMAILID and THREADID; None is an id that no message can have."""

    of: IdOf
    value: int | None


@attrs.frozen
class Filter:
    """FILTER (RFC 5466): a named search, which the session puts in its place before anything else looks at it."""

    name: str
    """In small letters."""
    utf8: bool = True
    """Whether the search it stands in is in a charset that it may be in."""
    fuzzy: bool = False


@attrs.frozen
class And:
    """All of the `count` results before this step; `And(0)` is true."""

    count: int


@attrs.frozen
class Or:
    """Any of the `count` results before this step."""

    count: int


@attrs.frozen
class Not:
    """The opposite of the result before this step."""


Step = (
    All
    | Flag
    | Keyword
    | Recent
    | Uids
    | Numbers
    | Text
    | Header
    | Dated
    | Size
    | ModSeqAtLeast
    | Within
    | Arrived
    | Id
    | Filter
    | And
    | Or
    | Not
)


@attrs.frozen
class Criteria:
    """A search program: postfix `steps` that leave exactly one result."""

    steps: tuple[Step, ...]

    @property
    def fuzzy(self) -> bool:
        """Whether any key is to be matched loosely."""
        return any(isinstance(step, Text | Header) and step.fuzzy for step in self.steps)


def loosened(criteria: Criteria) -> Criteria:
    """Write fuzzy keys as what they accept: every word somewhere in the field, in any order."""
    steps: list[Step] = []
    for step in criteria.steps:
        if isinstance(step, Text | Header) and step.fuzzy:
            words = step.needle.split() or [""]
            steps.extend(attrs.evolve(step, needle=word, fuzzy=False) for word in words)
            if len(words) > 1:
                steps.append(And(len(words)))
        else:
            steps.append(step)
    return Criteria(tuple(steps))


def fuzzy(step: Step) -> Step:
    """Return a step as FUZZY makes it: most keys stay as they are (RFC 6203 5)."""
    return attrs.evolve(step, fuzzy=True) if isinstance(step, Text | Header | Filter) else step


def exact(criteria: Criteria) -> Criteria:
    """Write fuzzy keys as if FUZZY had not been said."""
    return Criteria(
        tuple(
            attrs.evolve(step, fuzzy=False) if isinstance(step, Text | Header) and step.fuzzy else step
            for step in criteria.steps
        )
    )


_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)


def timed(criteria: Criteria, now: datetime) -> Criteria:
    """Replace ages by moments, seen from `now`."""
    steps: list[Step] = []
    for step in criteria.steps:
        if isinstance(step, Within):
            whole = now.replace(microsecond=0)
            since = int((whole - _EARLIEST).total_seconds())
            moment = whole - timedelta(seconds=step.seconds) if step.seconds < since else _EARLIEST
            steps.append(Arrived(moment, later=step.younger))
        else:
            steps.append(step)
    return Criteria(tuple(steps))


def both(first: Criteria, second: Criteria) -> Criteria:
    """Return the program of what matches both."""
    return Criteria((*first.steps, *second.steps, And(2)))
