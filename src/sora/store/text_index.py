"""What the use cases ask of storage about indexes of texts; `core.signatures` says what their bits are.

An index is that of one mailbox, made of segments that never change: each has some of its messages, ascending, all
above those of the segment before. A mailbox has an index only once it is wanted; deliveries know nothing of it.
"""

from array import array
from collections.abc import Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from sora.core.ids import MailboxId


@attrs.frozen
class Rows:
    """What a search reads of a segment: the rows of some places, one after the other."""

    uids: "array[int]"
    """typecode `I`"""
    rows: bytes


@attrs.frozen
class Text:
    """What a segment is made of: a message's text."""

    uid: int
    octets: bytes | None
    """Folded text of body and header, and the trace header; None if it is too long, or not all is known."""


class TextIndexes(Protocol):
    """Indexes of the texts of mailboxes."""

    def read(self, mailbox: MailboxId, places: Sequence[int], *, want: bool) -> "Deferred[list[Rows]]":
        """Read of each segment the rows of places, in their order; that counts as a use.

        `want`: if there is no index, have one made.
        """

    def claim(self, *, messages: int, lease: float) -> "Deferred[tuple[MailboxId, int] | None]":
        """Take a mailbox that has so many messages beyond its index, and return the UID after which they begin.

        No other claimant gets it for `lease` seconds, or until `add`. None: there is none.
        """

    def texts(self, mailbox: MailboxId, *, after: int, limit: int, octets_max: int) -> "Deferred[list[Text]]":
        """Read the first `limit` messages above `after`; those longer than `octets_max` without their text."""

    def add(self, mailbox: MailboxId, after: int, uids: "array[int]", bits: bytes) -> "Deferred[None]":
        """Add a segment, unless the index does not end at `after` any more, or is gone."""

    def tidy(self, *, unused: float) -> "Deferred[int]":
        """Drop indexes that no search asked for `unused` seconds, or most of whose messages are gone.

        Returns how many.
        """
