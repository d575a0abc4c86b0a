"""What a search reads of a whole mailbox when it is to be kept: columns of what never changes."""

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import Final

import attrs

ABSENT: Final = b"n"[0]
PRESENT: Final = b"y"[0]
UNSURE: Final = b"?"[0]
"""The header was cut, and the field is not in what was kept of it."""
PARTLY: Final = b"+"[0]
"""The header was cut, and the field is in what was kept: there may be more of it."""


class Number(Enum):
    """A column of numbers."""

    ARRIVED = "arrived"
    """Microseconds since 1970."""
    SAVED = "saved"
    SENT = "sent"
    """The sender's day since 1970; `NEVER` if there is no Date header."""
    SIZE = "size"


NEVER: Final = -(2**31)

Name = str | Number
"""A header field in small letters, none of `TRACE_FIELDS`, or a number."""


@attrs.define
class Fields:
    """A header field of messages, ascending by UID."""

    uids: "array[int]"
    """typecode `I`"""
    kinds: bytes
    """ABSENT, PRESENT, UNSURE or PARTLY of each."""
    texts: Sequence[str]
    """Folded; empty where the field is absent."""


@attrs.define
class Numbers:
    """A number of messages, ascending by UID."""

    uids: "array[int]"
    values: Sequence[int]
