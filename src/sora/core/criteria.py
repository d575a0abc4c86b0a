"""What a search asks for: a flat program in postfix order, so that no reader of it recurses.

RFC 3501 6.4.4. The IMAP parser makes it, the stores evaluate it. `And(n)`, `Or(n)` and `Not()` take
their operands from what stands before them. Text is already decoded and folded (`core.text.fold`).
"""

from datetime import date
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
    """Which date a `Dated` key compares: of arrival, or of the Date header (its own zone's day)."""

    INTERNAL = "internal"
    SENT = "sent"


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


@attrs.frozen
class Header:
    """HEADER <name> <text>: `name` lower-cased; the empty `needle` asks only that the field is there."""

    name: str
    needle: str


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


Step = All | Flag | Keyword | Recent | Uids | Numbers | Text | Header | Dated | Size | ModSeqAtLeast | And | Or | Not


@attrs.frozen
class Criteria:
    """A search program: postfix `steps` that leave exactly one result."""

    steps: tuple[Step, ...]
