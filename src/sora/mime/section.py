"""Which part of a message a section names (RFC 3501 6.4.5), and the only place that cuts it out."""

from enum import Enum

import attrs

from sora.core.errors import SoraError
from sora.mime import decode, headers
from sora.mime.parse import Parsed, Part


class UnknownEncoding(SoraError):
    """A part's transfer encoding is not one sora can undo (RFC 3516 4.3, UNKNOWN-CTE)."""


class Kind(Enum):
    """What of the part is meant."""

    ALL = "all"
    HEADER = "header"
    HEADER_FIELDS = "header fields"
    HEADER_FIELDS_NOT = "header fields not"
    MIME = "mime"
    TEXT = "text"


@attrs.frozen
class Section:
    """A section; `part` is empty for the message itself, `names` are header field names."""

    part: tuple[int, ...] = ()
    kind: Kind = Kind.ALL
    names: tuple[bytes, ...] = ()


WHOLE = Section()
"""The message itself."""
_CHOSEN = (Kind.HEADER_FIELDS, Kind.HEADER_FIELDS_NOT)


def extract(raw: bytes, parsed: Parsed, section: Section) -> bytes | None:
    """Return a section's octets; None if the message has no such part (RFC 3501 6.4.5)."""
    if section == WHOLE:
        return raw
    found = span(parsed, section)
    if found is None:
        return None
    block = raw[found[0] : found[1]]
    return header_fields(block, section) if section.kind in _CHOSEN else block


def span(parsed: Parsed, section: Section) -> tuple[int, int] | None:
    """Return the beginning and the end of what a section is cut out of; None if the message has no such part."""
    kind = section.kind
    index = parsed.numbers.get(section.part) if section.part else 0
    if index is None:
        return None
    part = parsed.parts[index]
    if section.part:
        if kind is Kind.ALL:
            return part.body_start, part.end
        if kind is not Kind.MIME:
            if not part.is_message:
                return None
            part = parsed.parts[index + 1]
    elif kind is Kind.ALL:
        return part.header_start, part.end
    return (part.body_start, part.end) if kind is Kind.TEXT else (part.header_start, part.body_start)


def header_fields(block: bytes, section: Section) -> bytes:
    """Return what HEADER, HEADER.FIELDS or HEADER.FIELDS.NOT show of a header block.

    It ends with an empty line, unless the message has none, and so no body either (RFC 9051 6.4.5.1).
    """
    if section.kind is Kind.HEADER:
        return block
    names = {name.lower() for name in section.names}
    wanted = section.kind is not Kind.HEADER_FIELDS_NOT
    chosen = [octets for name, octets in headers.raw_fields(block) if (name in names) is wanted]
    if block in (b"\r\n", b"\n") or block.endswith((b"\n\r\n", b"\n\n")):
        chosen.append(b"\r\n")
    return b"".join(chosen)


def decoded(raw: bytes, parsed: Parsed, part: tuple[int, ...]) -> bytes | None:
    """Return a part without its transfer encoding (RFC 3516 4.2); None if there is none. Raises `UnknownEncoding`."""
    if not part:
        return raw
    index = parsed.numbers.get(part)
    if index is None:
        return None
    found = parsed.parts[index]
    body = raw[found.body_start : found.end]
    if found.is_multipart or found.is_message:
        return body
    return decode.transfer(body, _known_encoding(found))


def decoded_size(raw: bytes, parsed: Parsed, part: tuple[int, ...]) -> int | None:
    """Return the octets `decoded` would give (BINARY.SIZE). Raises `UnknownEncoding`."""
    data = decoded(raw, parsed, part)
    return None if data is None else len(data)


def _known_encoding(part: Part) -> bytes:
    encoding = part.encoding.lower()
    if encoding not in decode.KNOWN:
        raise UnknownEncoding("the part's transfer encoding is unknown")
    return encoding
