"""The only place that reads what FETCH asks for: macros, items, sections, partials, modifiers.

RFC 3501 6.4.5 and 9, RFC 3516 4, RFC 7162 3.1.4, RFC 8970 6, RFC 9394 4. Clients repeat the same items, so what
was read is kept.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from sora.core import limits
from sora.core.errors import LimitReached
from sora.imap import responses
from sora.imap.fetch_items import (
    Attribute,
    Binary,
    BinarySize,
    BodySection,
    FetchItem,
    FetchModifiers,
    Partial,
    Range,
)
from sora.imap.tokens import MODSEQ_MAX, BadSyntax, Cursor
from sora.mime.section import Kind, Section

_OCTETS_MAX: Final = 2**63 - 1
_REMEMBERED_MAX: Final = 512
"""Octets of items that are remembered; longer ones are read anew each time."""

_FAST: Final = (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE)
_MACROS: Final[dict[bytes, tuple[FetchItem, ...]]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Attribute.ENVELOPE),
    b"FULL": (*_FAST, Attribute.ENVELOPE, Attribute.BODY),
}
_NAMED: Final[dict[bytes, FetchItem]] = {
    **{attribute.value: attribute for attribute in Attribute},
    b"RFC822": BodySection(Section((), Kind.ALL, ()), sets_seen=True, name=b"RFC822"),
    b"RFC822.HEADER": BodySection(Section((), Kind.HEADER, ()), sets_seen=False, name=b"RFC822.HEADER"),
    b"RFC822.TEXT": BodySection(Section((), Kind.TEXT, ()), sets_seen=True, name=b"RFC822.TEXT"),
}
_SECTIONED: Final = frozenset((b"BODY", b"BODY.PEEK", b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"))
_TEXT_KINDS: Final = {
    b"HEADER": Kind.HEADER,
    b"HEADER.FIELDS": Kind.HEADER_FIELDS,
    b"HEADER.FIELDS.NOT": Kind.HEADER_FIELDS_NOT,
    b"TEXT": Kind.TEXT,
    b"MIME": Kind.MIME,
}
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+\Z")


Asked = tuple[tuple[FetchItem, ...], FetchModifiers]


def parse(cursor: Cursor) -> Asked:
    """Read items, each once, and modifiers, to the end. Raises `BadSyntax`, `LimitReached`."""
    rest = cursor.take_rest(_REMEMBERED_MAX)
    return _read(cursor) if rest is None else _remembered(rest)


@lru_cache(maxsize=1024)
def _remembered(text: bytes) -> Asked:
    return _read(Cursor((text,)))


def _read(cursor: Cursor) -> Asked:
    items = _items(cursor)
    read: dict[str, Any] = {}
    if not cursor.at_end:
        cursor.space()
        for _ in cursor.members("modifiers", items_max=8):
            name = cursor.keyword("a modifier")
            field = _MODIFIERS.get(name)
            if field is None or field[0] in read:
                raise BadSyntax("unknown or repeated FETCH modifier")
            read[field[0]] = field[1](cursor)
    cursor.finish()
    return items, FetchModifiers(**read) if read else _NO_MODIFIERS


def _changed_since(cursor: Cursor) -> int:
    cursor.space()
    return cursor.number(MODSEQ_MAX)


def _range(cursor: Cursor) -> Range:
    cursor.space()
    return partial_range(cursor)


def partial_range(cursor: Cursor) -> Range:
    """Read a range of results (RFC 9394 4): `1:500`, or `-1:-100` from the end."""
    from_end = cursor.accept(b"-")
    one = cursor.number(minimum=1)
    cursor.expect(b":-" if from_end else b":")
    other = cursor.number(minimum=1)
    return Range(min(one, other), max(one, other), from_end, turned=one > other)


_NO_MODIFIERS: Final = FetchModifiers()
_MODIFIERS: Final[dict[bytes, tuple[str, Callable[[Cursor], Any]]]] = {
    b"CHANGEDSINCE": ("changed_since", _changed_since),
    b"PARTIAL": ("partial", _range),
    b"VANISHED": ("vanished", lambda _: True),
}
"""How each modifier is read, and which field of `FetchModifiers` it sets."""


def listed(cursor: Cursor) -> tuple[FetchItem, ...]:
    """Read items to the parenthesis that closes their list; the one that opens it has been read (RFC 5465 8)."""
    found = [_item(cursor, cursor.item_name())]
    while not cursor.accept(b")"):
        if len(found) == limits.IMAP_LIST_ITEMS_MAX:
            raise LimitReached(f"more than {limits.IMAP_LIST_ITEMS_MAX} members in one list")
        cursor.space()
        found.append(_item(cursor, cursor.item_name()))
    return tuple(dict.fromkeys(found))


def _items(cursor: Cursor) -> tuple[FetchItem, ...]:
    if cursor.peek() == b"(":
        found = dict.fromkeys(_item(cursor, cursor.item_name()) for _ in cursor.members("items"))
        if not found:
            raise BadSyntax("FETCH asks for nothing")
        return tuple(found)
    name = cursor.item_name()
    return _MACROS[name] if name in _MACROS else (_item(cursor, name),)


def _item(cursor: Cursor, name: bytes) -> FetchItem:
    if name in _SECTIONED and cursor.accept(b"["):
        return _body(cursor, name) if name.startswith(b"BODY") else _binary(cursor, name)
    item = _NAMED.get(name)
    if item is Attribute.PREVIEW:
        # Previews are stored, so that what may wait for them (RFC 8970 4.1) need not.
        cursor.accept(b" (LAZY)")
    if item is None:
        raise BadSyntax(f"unknown FETCH item {name[:30].decode('ascii', 'replace')}")
    return item


def section(text: bytes) -> Section:
    """Read a section as it stands between brackets (RFC 3501 9, section-spec). Raises `BadSyntax`, `LimitReached`."""
    cursor = Cursor((text + b"]",))
    found = _body(cursor, b"BODY.PEEK").section
    cursor.finish()
    return found


def _body(cursor: Cursor, name: bytes) -> BodySection:
    part = _part(cursor)
    kind = Kind.ALL
    names: tuple[bytes, ...] = ()
    words = b".".join(b"%d" % number for number in part)
    if cursor.peek() != b"]":
        word = cursor.section_word()
        if word not in _TEXT_KINDS or (word == b"MIME" and not part):
            raise BadSyntax("unknown section of a message")
        kind = _TEXT_KINDS[word]
        words += b"." + word if part else word
        if kind in (Kind.HEADER_FIELDS, Kind.HEADER_FIELDS_NOT):
            cursor.space()
            names = tuple(_field_name(cursor) for _ in cursor.members("header field names"))
            if not names:
                raise BadSyntax("no header field is named")
            words += b" (%b)" % b" ".join(map(responses.astring, names))
    cursor.expect(b"]")
    partial = _partial(cursor)
    return BodySection(
        Section(part, kind, names),
        partial=partial,
        sets_seen=name == b"BODY",
        name=_answer_name(b"BODY", words, partial),
    )


def _binary(cursor: Cursor, name: bytes) -> Binary | BinarySize:
    part = _part(cursor)
    cursor.expect(b"]")
    words = b".".join(b"%d" % number for number in part)
    if name == b"BINARY.SIZE":
        return BinarySize(part, name=_answer_name(name, words, None))
    partial = _partial(cursor)
    return Binary(part, partial=partial, sets_seen=name == b"BINARY", name=_answer_name(b"BINARY", words, partial))


def _answer_name(word: bytes, section: bytes, partial: Partial | None) -> bytes:
    origin = b"" if partial is None else b"<%d>" % partial.first
    return b"%b[%b]%b" % (word, section, origin)


def _part(cursor: Cursor) -> tuple[int, ...]:
    """Read part numbers, with the dot before what follows them."""
    numbers: list[int] = []
    while cursor.peek().isdigit():
        if len(numbers) == limits.MIME_DEPTH_MAX:
            raise LimitReached(f"a part number has more than {limits.MIME_DEPTH_MAX} levels")
        numbers.append(cursor.number(minimum=1))
        if not cursor.accept(b"."):
            if cursor.peek() != b"]":
                raise BadSyntax("malformed part number")
            break
        if cursor.peek() == b"]":
            raise BadSyntax("a part number ends in a dot")
    return tuple(numbers)


def _field_name(cursor: Cursor) -> bytes:
    name = cursor.astring("a header field name")
    if not _FIELD_NAME.match(name):
        raise BadSyntax("malformed header field name")
    return name


def _partial(cursor: Cursor) -> Partial | None:
    if not cursor.accept(b"<"):
        return None
    first = cursor.number(_OCTETS_MAX)
    cursor.expect(b".")
    count = cursor.number(_OCTETS_MAX, minimum=1)
    cursor.expect(b">")
    return Partial(first, count)
