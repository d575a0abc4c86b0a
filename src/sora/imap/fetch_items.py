"""The only place for what FETCH may ask of a message (RFC 3501 6.4.5, RFC 3516, RFC 7162)."""

from enum import Enum

import attrs

from sora.mime.section import Section


class Attribute(Enum):
    """Items that need no section; the value is the name used in the answer."""

    UID = b"UID"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    """The body structure without extension data."""
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    MODSEQ = b"MODSEQ"


@attrs.frozen
class Partial:
    """`<first.count>`: at most `count` octets from octet `first` on."""

    first: int
    count: int


@attrs.frozen
class BodySection:
    """BODY[...], BODY.PEEK[...] and the RFC822 items, which name a section too."""

    section: Section
    partial: Partial | None = attrs.field(kw_only=True, default=None)
    sets_seen: bool = attrs.field(kw_only=True)
    name: bytes = attrs.field(kw_only=True)
    """What the answer calls it: `BODY[1.TEXT]<0>`, `RFC822.HEADER`."""


@attrs.frozen
class Binary:
    """BINARY[part] and BINARY.PEEK[part]: decoded octets (RFC 3516 4.2); the empty part is the message."""

    part: tuple[int, ...]
    partial: Partial | None = attrs.field(kw_only=True, default=None)
    sets_seen: bool = attrs.field(kw_only=True)
    name: bytes = attrs.field(kw_only=True)


@attrs.frozen
class BinarySize:
    """BINARY.SIZE[part]: decoded octets counted (RFC 3516 4.3)."""

    part: tuple[int, ...]
    name: bytes = attrs.field(kw_only=True)


FetchItem = Attribute | BodySection | Binary | BinarySize
