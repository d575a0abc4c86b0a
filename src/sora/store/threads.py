"""What THREAD reads of messages: the rows that cross the store's interface (RFC 5256 3)."""

from array import array
from collections.abc import Sequence
from typing import Final

import attrs

REFERENCES_MAX: Final = 100
"""Ids of one message that threads are made of: its first, and its last ones. Cycles and floods cost no more."""
BETWEEN: Final = "<"
"""What stands between the ids of a message: it is in none of them."""


@attrs.define
class ThreadRows:
    """Messages as columns, ascending by UID and all of one length."""

    uids: "array[int]"
    """typecode `I`"""
    sent: Sequence[int]
    """The sent date, or the internal date where there is none (RFC 5256 2.2), in microseconds."""
    arrived: Sequence[int]
    ids: Sequence[bytes]
    """The message's own id (which may be empty) and those it refers to, joined by `BETWEEN`."""
    subjects: Sequence[bytes]
    """Base subjects, folded."""
    marked: Sequence[bytes]
    """The decoded subject where it is another than the base subject, else nothing."""


def bounded(references: Sequence[str]) -> Sequence[str]:
    """Return the references that count, the first and the nearest."""
    if len(references) <= REFERENCES_MAX:
        return references
    return (references[0], *references[1 - REFERENCES_MAX :])
