"""The only place that writes what was found: SEARCH, SORT and ESEARCH answers.

RFC 3501 7.2.5, RFC 4731 3.1, RFC 5256 4, RFC 5267 4.3, RFC 6203 4, RFC 7377 2.1, RFC 9394 3.1.
"""

from collections.abc import Iterable, Sequence

import attrs

from sora.core.uidset import compact
from sora.imap.fetch_items import Range
from sora.imap.responses import mailbox, string


def words(found: Iterable[int]) -> bytes:
    """Write numbers as SEARCH and SORT have them."""
    # The list's own writing, without its punctuation: a third less than writing each number.
    return str(list(found)).encode("ascii").translate(None, b"[],")


def numbers(word: bytes, words: bytes, *, modseq: int | None = None) -> bytes:
    """Write SEARCH or SORT, with the highest modseq of what was found if asked (RFC 7162 3.1.5)."""
    line = b"* %b %b" % (word, words) if words else b"* %b" % word
    if modseq is not None and words:
        return b"%b (MODSEQ %d)\r\n" % (line, modseq)
    return line + b"\r\n"


@attrs.frozen
class Results:
    """What an ESEARCH answer says; what is None is left out, and ALL of nothing too."""

    minimum: int | None = None
    maximum: int | None = None
    count: int | None = None
    everything: Sequence[int] | None = None
    partial: tuple[Range, Sequence[int]] | None = None
    """The range that was asked for, and what of the results is in it."""
    modseq: int | None = None
    scores: Sequence[int] | None = None
    """The relevancy of each of `everything` or `partial`."""


@attrs.frozen
class Place:
    """A mailbox that is not, or not only, the selected one (RFC 7377 2.1)."""

    name: str
    uid_validity: int
    utf8: bool = False


def esearch(tag: bytes, results: Results, *, by_uid: bool, place: Place | None = None) -> bytes:
    """Write ESEARCH."""
    parts = [_beginning(tag, by_uid=by_uid, place=place)]
    for name, number in ((b"MIN", results.minimum), (b"MAX", results.maximum), (b"COUNT", results.count)):
        if number is not None:
            parts.append(b"%b %d" % (name, number))
    if results.everything:
        parts.append(b"ALL " + _set(results.everything))
    if results.partial is not None:
        asked, chosen = results.partial
        parts.append(b"PARTIAL (%b %b)" % (str(asked).encode("ascii"), _set(chosen) if chosen else b"NIL"))
    if results.modseq is not None:
        parts.append(b"MODSEQ %d" % results.modseq)
    if results.scores is not None:
        parts.append(b"RELEVANCY (%b)" % " ".join(map(str, results.scores)).encode("ascii"))
    return b" ".join(parts) + b"\r\n"


def update(
    tag: bytes,
    word: bytes,
    changes: Iterable[tuple[int, Sequence[int]]],
    *,
    by_uid: bool,
    place: Place | None = None,
) -> bytes:
    """Write what ADDTO or REMOVEFROM (`word`) says: context positions, and what comes or goes there."""
    pairs = b" ".join(b"%d %b" % (position, _set(found)) for position, found in changes)
    return b"%b %b (%b)\r\n" % (_beginning(tag, by_uid=by_uid, place=place), word, pairs)


def no_update(tag: bytes) -> bytes:
    """Write the NOUPDATE code (RFC 5267 4.3.1)."""
    return b"NOUPDATE " + string(tag)


def _beginning(tag: bytes, *, by_uid: bool, place: Place | None = None) -> bytes:
    correlator = b"TAG " + string(tag)
    if place is not None:
        correlator += b" MAILBOX %b UIDVALIDITY %d" % (mailbox(place.name, utf8=place.utf8), place.uid_validity)
    return b"* ESEARCH (%b)%b" % (correlator, b" UID" if by_uid else b"")


def _set(found: Sequence[int]) -> bytes:
    return compact(found).encode("ascii")
