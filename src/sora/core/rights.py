"""The only place for what rights are: the eleven of RFC 4314, how they are written, what grants come to."""

from collections.abc import Iterable
from enum import Enum
from typing import Final

import attrs

from sora.core import flags

LETTERS: Final = "lrswipkxtea"
"""Lookup, read, seen, write, insert, post, create, delete, delete messages, expunge, administer (RFC 4314 2.1)."""
ALL: Final = frozenset(LETTERS)
_VIRTUAL: Final = {"c": frozenset("kx"), "d": frozenset("te")}
"""What RFC 2086 called create and delete (RFC 4314 2.1.1)."""
KNOWING: Final = frozenset("lrikxa")
"""Whoever has one of them may ask which (RFC 4314 4, MYRIGHTS)."""
WRITING: Final = frozenset("ieswt")
"""Without any of them nothing in a mailbox can be changed."""

Rights = frozenset[str]
NONE: Final[Rights] = frozenset()


class Edit(Enum):
    """What SETACL does to the rights that an identifier has."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"


@attrs.frozen
class Grant:
    """Rights given to an identifier, or, if `negative`, taken from it whoever else gives them."""

    rights: Rights
    negative: bool = False


def parse(letters: str) -> Rights:
    """Read rights; `c` and `d` stand for what they meant. Raises `ValueError` for a letter that is no right."""
    found: set[str] = set()
    for letter in letters:
        if letter in ALL:
            found.add(letter)
        elif letter in _VIRTUAL:
            found |= _VIRTUAL[letter]
        else:
            raise ValueError(f"{letter!a} is not a right")
    return frozenset(found)


def canonical(rights: Rights) -> str:
    """Write rights in the order in which they are kept."""
    return "".join(letter for letter in LETTERS if letter in rights)


def shown(rights: Rights) -> str:
    """Write rights as clients see them, with the virtual `c` and `d` (RFC 4314 2.1.1)."""
    return canonical(rights) + "".join(letter for letter, members in _VIRTUAL.items() if members & rights)


def effective(grants: Iterable[Grant]) -> Rights:
    """Return what the grants that concern someone come to: all that is given without what is taken (RFC 4314 2)."""
    given: set[str] = set()
    taken: set[str] = set()
    for grant in grants:
        (taken if grant.negative else given).update(grant.rights)
    return frozenset(given - taken)


def edited(had: Rights, edit: Edit, rights: Rights) -> Rights:
    """Return what SETACL makes of rights."""
    if edit is Edit.ADD:
        return had | rights
    return had - rights if edit is Edit.REMOVE else rights


def settable(rights: Rights) -> int:
    """Return the system flags that rights allow to change (RFC 4314 4, STORE)."""
    bits = 0
    if "s" in rights:
        bits |= flags.SEEN
    if "t" in rights:
        bits |= flags.DELETED
    if "w" in rights:
        bits |= flags.SYSTEM_MASK & ~(flags.SEEN | flags.DELETED)
    return bits
