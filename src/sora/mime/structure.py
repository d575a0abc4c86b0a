"""The only place that writes ENVELOPE and BODYSTRUCTURE (RFC 3501 7.4.2): grammatical and bounded for any message."""

import re
from typing import Final

from sora.core.limits import ENVELOPE_FIELD_MAX
from sora.mime.addresses import Address, addresses
from sora.mime.headers import Field
from sora.mime.parameters import Parameters, joined
from sora.mime.parse import Parsed, Part

STRUCTURE_MAX: Final = 1_048_576
"""Octets of one body structure after which parts are shown without envelopes and parameters (L8)."""
ENVELOPE_MAX: Final = 524_288
"""Octets of one envelope after which address lists are left out."""
EMPTY_ENVELOPE: Final = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

_QUOTED_MAX: Final = 1_000
_PLAIN: Final = re.compile(rb'[^\0\r\n"\\\x80-\xff]*+')
_LISTS: Final = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_SHOWN: Final = frozenset((*_LISTS, b"date", b"subject", b"in-reply-to", b"message-id"))


def string(value: bytes) -> bytes:
    """Return octets as an IMAP string: quoted if that can hold them, else a literal; NULs are dropped."""
    if len(value) <= _QUOTED_MAX and _PLAIN.fullmatch(value):
        return b'"' + value + b'"'
    value = value.replace(b"\0", b"")
    if len(value) > _QUOTED_MAX or b"\r" in value or b"\n" in value or not value.isascii():
        return b"{%d}\r\n" % len(value) + value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def nstring(value: bytes | None) -> bytes:
    """Return a string, or NIL for None."""
    return b"NIL" if value is None else string(value)


def envelope(parsed: Parsed, raw: bytes) -> bytes:
    """Return ENVELOPE's parenthesized value of the message."""
    return envelope_of(parsed.headers[0])


def envelope_of(fields: list[Field], lists: dict[bytes, list[Address]] | None = None) -> bytes:
    """Return the envelope of a header; `lists` receives the addresses it read, by field name."""
    seen: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _SHOWN:
            if name not in seen:
                seen[name] = value
            elif name in _LISTS and len(seen[name]) < ENVELOPE_FIELD_MAX:
                seen[name] = seen[name] + b", " + value
    shown: dict[bytes, bytes] = {}
    size = 0
    for name in _LISTS:
        if name not in seen:
            continue
        found = addresses(seen[name])
        if lists is not None:
            lists[name] = found
        if found and size < ENVELOPE_MAX:
            shown[name] = b"(" + b"".join([_address(address) for address in found]) + b")"
            size += len(shown[name])
    sender = shown.get(b"from", b"NIL")
    if size + 2 * len(sender) > ENVELOPE_MAX:
        sender = b"NIL"
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _field(seen, b"date"),
        _field(seen, b"subject"),
        shown.get(b"from", b"NIL"),
        shown.get(b"sender", sender),
        shown.get(b"reply-to", sender),
        shown.get(b"to", b"NIL"),
        shown.get(b"cc", b"NIL"),
        shown.get(b"bcc", b"NIL"),
        _field(seen, b"in-reply-to"),
        _field(seen, b"message-id"),
    )


def _field(seen: dict[bytes, bytes], name: bytes) -> bytes:
    value = seen.get(name)
    return b"NIL" if value is None else string(value[:ENVELOPE_FIELD_MAX])


def _address(address: Address) -> bytes:
    name, route, mailbox, host = address
    if route is None and mailbox is not None and host is not None:
        together = mailbox + host if name is None else name + mailbox + host
        if len(together) <= _QUOTED_MAX and _PLAIN.fullmatch(together):
            return b'(%b NIL "%b" "%b")' % (b"NIL" if name is None else b'"' + name + b'"', mailbox, host)
    return b"(" + b" ".join([nstring(item) for item in address]) + b")"


def body_structure(parsed: Parsed, raw: bytes, extended: bool) -> bytes:
    """Return BODYSTRUCTURE's value, or BODY's if not `extended`."""
    parts = parsed.parts
    left = STRUCTURE_MAX
    before: list[bytes] = []
    after: list[bytes] = []
    for index, part in enumerate(parts):
        rich = left > 0
        if part.is_multipart:
            opening, closing = b"", b" " + string(part.subtype)
            if extended:
                closing += b" " + _parameters(part.params if rich else ()) + _extension(part, rich=rich)
        elif part.is_message:
            inner = envelope_of(parsed.headers[index + 1]) if rich and index + 1 in parsed.headers else EMPTY_ENVELOPE
            opening = _basic(part, rich=rich) + b" " + inner + b" "
            closing = b" %d" % part.lines + (_single_extension(part, rich=rich) if extended else b"")
        else:
            opening = _basic(part, rich=rich) + (b" %d" % part.lines if part.type.lower() == b"text" else b"")
            closing = _single_extension(part, rich=rich) if extended else b""
        before.append(opening)
        after.append(closing)
        left -= len(opening) + len(closing)
    return _assemble(parts, before, after)


def _assemble(parts: list[Part], before: list[bytes], after: list[bytes]) -> bytes:
    out: list[bytes] = []
    open_parts: list[int] = []
    for index, part in enumerate(parts):
        while open_parts and open_parts[-1] != part.parent:
            out.append(after[open_parts.pop()] + b")")
        out.append(b"(" + before[index])
        open_parts.append(index)
    while open_parts:
        out.append(after[open_parts.pop()] + b")")
    return b"".join(out)


def _basic(part: Part, *, rich: bool) -> bytes:
    return b"%b %b %b %b %b %b %d" % (
        string(part.type),
        string(part.subtype),
        _parameters(part.params if rich else ()),
        nstring(part.id if rich else None),
        nstring(part.description if rich else None),
        string(part.encoding),
        part.end - part.body_start,
    )


def _parameters(params: Parameters) -> bytes:
    if not params:
        return b"NIL"
    return b"(" + b" ".join([string(name) + b" " + string(value) for name, value in joined(params)]) + b")"


def _single_extension(part: Part, *, rich: bool) -> bytes:
    return b" " + nstring(part.md5 if rich else None) + _extension(part, rich=rich)


def _extension(part: Part, *, rich: bool) -> bytes:
    if not rich:
        return b" NIL NIL NIL"
    disposition = b"NIL"
    if part.disposition is not None:
        disposition = b"(" + string(part.disposition) + b" " + _parameters(part.disposition_params) + b")"
    language = b"NIL"
    if part.language:
        language = b"(" + b" ".join([string(word) for word in part.language]) + b")"
    return b" " + disposition + b" " + language + b" " + nstring(part.location)
