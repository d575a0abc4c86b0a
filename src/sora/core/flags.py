"""Flags and keywords: the system flags as bits, everything else as text.

RFC 3501 2.3.2. System flags travel as one integer from the wire to the database and back, because a
mailbox view holds one per message; keywords (which few messages have) travel as tuples of text.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

SEEN: Final = 1
ANSWERED: Final = 2
FLAGGED: Final = 4
DELETED: Final = 8
DRAFT: Final = 16
SYSTEM_MASK: Final = 31

NAMES: Final[dict[int, str]] = {
    SEEN: "\\Seen",
    ANSWERED: "\\Answered",
    FLAGGED: "\\Flagged",
    DELETED: "\\Deleted",
    DRAFT: "\\Draft",
}
BITS: Final[dict[str, int]] = {name.lower(): bit for bit, name in NAMES.items()}

KEYWORD_LENGTH_MAX: Final = 100
_KEYWORD = re.compile(r"[^\x00-\x20\x7f-\uffff\U00010000-\U0010ffff(){%*\"\\\]]{1,100}\Z")


class Change(Enum):
    """What STORE does with the flags it names (RFC 3501 6.4.6)."""

    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


def is_keyword(text: str) -> bool:
    """Tell whether `text` is an atom that may name a keyword (RFC 3501 9, flag-keyword)."""
    return _KEYWORD.match(text) is not None


def split(names: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Split flag names into system bits and keywords, each keyword once (first spelling wins).

    Raises `ValueError` for a backslash name that is no settable system flag and for a malformed keyword.
    """
    bits = 0
    keywords: dict[str, str] = {}
    for name in names:
        if name.startswith("\\"):
            bit = BITS.get(name.lower())
            if bit is None:
                raise ValueError(f"unknown system flag {name[:KEYWORD_LENGTH_MAX]}")
            bits |= bit
        elif is_keyword(name):
            keywords.setdefault(name.lower(), name)
        else:
            raise ValueError("malformed keyword")
    return bits, tuple(keywords.values())


_JOINED: Final = [" ".join(name for bit, name in NAMES.items() if bits & bit) for bits in range(SYSTEM_MASK + 1)]


def join(bits: int, keywords: Iterable[str] = ()) -> str:
    """Write flags as IMAP does inside the parentheses, system flags first."""
    system = _JOINED[bits & SYSTEM_MASK]
    words = " ".join(keywords)
    return f"{system} {words}" if system and words else system or words
