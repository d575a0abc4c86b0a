"""Which part of a message a section names (RFC 3501 6.4.5)."""

from enum import Enum

import attrs


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
