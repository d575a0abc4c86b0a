"""What messages can be ordered by: the vocabulary of SORT (RFC 5256 3, RFC 5957, RFC 6203 6)."""

from enum import Enum


class SortKey(Enum):
    """One criterion; FROM, TO and CC are the local part of the first address, SUBJECT is the base subject."""

    ARRIVAL = "arrival"
    CC = "cc"
    DATE = "date"
    FROM = "from"
    SIZE = "size"
    SUBJECT = "subject"
    TO = "to"
    DISPLAYFROM = "displayfrom"
    DISPLAYTO = "displayto"
    RELEVANCY = "relevancy"
    """How well it matches a fuzzy search; no store knows it."""


Order = tuple[tuple[SortKey, bool], ...]
"""Criteria, the first of most weight, each with whether it is reversed; the order of UIDs decides between equals."""


def collated(text: str) -> bytes:
    """Return what folded text is ordered by: as i;unicode-casemap does, ASCII letters stand as capitals (RFC 5051)."""
    return text.encode("utf-8", "replace").upper()
