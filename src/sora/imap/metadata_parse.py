"""The only place for what GETMETADATA and SETMETADATA say, and how annotations are written (RFC 5464, RFC 9590)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from sora.core.errors import LimitReached
from sora.imap import responses
from sora.imap.tokens import BadSyntax, Cursor

ENTRIES_MAX: Final = 100
"""Entries named by one command."""
_SIZE_MAX: Final = 2**32 - 1
DEPTHS: Final = ("0", "1", "infinity")


@attrs.frozen
class GetMetadata:
    """GETMETADATA (RFC 5464 4.2); the server's if `mailbox` is empty."""

    mailbox: str
    entries: tuple[str, ...]
    depth: str = "0"
    size_max: int | None = None


@attrs.frozen
class SetMetadata:
    """SETMETADATA (RFC 5464 4.3); None removes an entry."""

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...] = attrs.field(repr=False)


MetadataCommand = GetMetadata | SetMetadata


def _entry(cursor: Cursor) -> str:
    text = cursor.text("an entry")
    if any(wildcard in text for wildcard in "*%"):
        raise BadSyntax("an entry's name has no wildcards")
    return text


def entries(cursor: Cursor) -> tuple[str, ...]:
    """Read one entry or several in parentheses."""
    if cursor.peek() != b"(":
        return (_entry(cursor),)
    found = tuple(_entry(cursor) for _ in cursor.members("entries", items_max=ENTRIES_MAX))
    if not found:
        raise BadSyntax("no entry is named")
    return found


def _get(cursor: Cursor) -> MetadataCommand:
    options: dict[str, int | str] = {}
    if cursor.peek() == b"(":
        options = _options(cursor)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    # Options may also stand behind the mailbox, as in the examples of RFC 5464 4.2.
    if not options and cursor.accept(b"("):
        if cursor.peek() in (b"/", b'"', b"{"):
            return GetMetadata(mailbox, _rest(cursor))
        options = _rest_of_options(cursor)
        cursor.space()
    depth, size_max = options.get("DEPTH", "0"), options.get("MAXSIZE")
    return GetMetadata(mailbox, entries(cursor), str(depth), None if size_max is None else int(size_max))


def _rest(cursor: Cursor) -> tuple[str, ...]:
    """Read entries whose opening parenthesis was read."""
    found = [_entry(cursor)]
    while not cursor.accept(b")"):
        if len(found) == ENTRIES_MAX:
            raise LimitReached(f"more than {ENTRIES_MAX} members in one list")
        cursor.space()
        found.append(_entry(cursor))
    return tuple(found)


def _options(cursor: Cursor) -> dict[str, int | str]:
    cursor.expect(b"(")
    return _rest_of_options(cursor)


def _rest_of_options(cursor: Cursor) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    while True:
        name = cursor.keyword("an option").decode("ascii")
        if name in found or name not in ("DEPTH", "MAXSIZE"):
            raise BadSyntax("unknown or repeated option of GETMETADATA")
        cursor.space()
        if name == "MAXSIZE":
            found[name] = cursor.number(_SIZE_MAX)
        else:
            depth = cursor.atom("a depth").decode("ascii").lower()
            if depth not in DEPTHS:
                raise BadSyntax("DEPTH is 0, 1 or infinity")
            found[name] = depth
        if cursor.accept(b")"):
            return found
        cursor.space()


def _set(cursor: Cursor) -> MetadataCommand:
    mailbox = cursor.mailbox()
    cursor.space()
    values: list[tuple[str, bytes | None]] = []
    for _ in cursor.members("entries with values", items_max=ENTRIES_MAX):
        entry = _entry(cursor)
        cursor.space()
        values.append((entry, cursor.literal8()[0] if cursor.peek() in (b"~", b"{") else cursor.nstring("a value")))
    if not values:
        raise BadSyntax("no entry is named")
    return SetMetadata(mailbox, tuple(values))


READERS: Final[dict[bytes, Callable[[Cursor], MetadataCommand]]] = {b"GETMETADATA": _get, b"SETMETADATA": _set}


def metadata(mailbox: bytes, values: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]) -> bytes:
    """Write METADATA with values (RFC 5464 4.4.1); the mailbox's name is written already."""
    pairs = values.items() if isinstance(values, Mapping) else values
    words = []
    for entry, value in pairs:
        words += [responses.astring(entry.encode()), _value(value)]
    return b"* METADATA %b (%b)\r\n" % (mailbox, b" ".join(words))


def changed(mailbox: bytes, entries: Iterable[str]) -> bytes:
    """Write METADATA without values: which entries have changed (RFC 5464 4.4.2)."""
    return b"* METADATA %b %b\r\n" % (mailbox, b" ".join(responses.astring(entry.encode()) for entry in entries))


def _value(value: bytes | None) -> bytes:
    if value is not None and b"\0" in value:
        return b"~{%d}\r\n%b" % (len(value), value)
    return responses.nstring(value)
