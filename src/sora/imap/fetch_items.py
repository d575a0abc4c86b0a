"""The only place for what FETCH may ask of a message and on which conditions.

RFC 3501 6.4.5, RFC 3516, RFC 7162, RFC 8474 5.3, RFC 8514, RFC 8970, RFC 9394.
"""

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
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    SAVEDATE = b"SAVEDATE"
    PREVIEW = b"PREVIEW"


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


@attrs.frozen
class Range:
    """PARTIAL of FETCH (RFC 9394 3.3): the messages from number `first` to number `last` of those named, both counted.

    Numbers begin at 1; `from_end`: from the highest UID downwards.
    """

    first: int
    last: int
    from_end: bool = False
    turned: bool = False
    """Whether the client wrote the last number first; answers repeat the range as it wrote it (RFC 9394 4)."""

    def __str__(self) -> str:
        """Write the range as the client did."""
        sign = "-" if self.from_end else ""
        one, other = (self.last, self.first) if self.turned else (self.first, self.last)
        return f"{sign}{one}:{sign}{other}"


@attrs.frozen
class FetchModifiers:
    """What stands behind the items of FETCH (RFC 4466 2.4)."""

    changed_since: int | None = None
    """RFC 7162 3.1.4.1."""
    vanished: bool = False
    """RFC 7162 3.2.6."""
    partial: Range | None = None


FetchItem = Attribute | BodySection | Binary | BinarySize
