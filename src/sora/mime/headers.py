"""The only place that splits a header block into fields (RFC 5322 2.2), whatever state the block is in."""

import re
from itertools import islice
from typing import Final

from sora.core.limits import HEADER_SCAN_MAX

FIELDS_MAX: Final = 10_000
"""Fields of one header block that are read; each costs far more memory than its octets."""

Field = tuple[bytes, bytes]
"""Lower-cased name; unfolded value without surrounding white space."""

_FIELD: Final = re.compile(rb"[^\n]++(?:\n[ \t][^\n]*+)*+")


def fields(block: bytes, *, octets_max: int = HEADER_SCAN_MAX, fields_max: int = FIELDS_MAX) -> list[Field]:
    """Return the fields of a header block in order; lines that are no field (no colon, mbox "From ") are left out."""
    found: list[Field] = []
    for match in islice(_FIELD.finditer(block, 0, octets_max), fields_max):
        name, colon, value = match[0].partition(b":")
        name = name.rstrip(b" \t").lower()
        if not colon or not name or b" " in name or b"\t" in name or b"\n" in name:
            continue
        if b"\n" in value:
            value = value.replace(b"\r\n", b"").replace(b"\n", b"")
        found.append((name, value.strip()))
    return found


def raw_fields(block: bytes) -> list[tuple[bytes, bytes]]:
    """Return (lower-cased name, octets as received with a line break at the end) of each field, folding kept."""
    found: list[tuple[bytes, bytes]] = []
    for match in islice(_FIELD.finditer(block, 0, HEADER_SCAN_MAX), FIELDS_MAX):
        text = match[0].rstrip(b"\r")
        name, colon, _ = text.partition(b":")
        name = name.rstrip(b" \t").lower()
        if colon and name and b" " not in name:
            found.append((name, text + b"\r\n"))
    return found


def unfolded(block: bytes) -> bytes:
    """Return a header block with each field on one line, ended by LF, white space kept (RFC 5322 2.2.3)."""
    return block.replace(b"\r\n", b"\n").replace(b"\n ", b" ").replace(b"\n\t", b"\t")


def is_complete(block: bytes, found: int) -> bool:
    """Say whether `found` fields are all that the block holds: no bound cut the reading."""
    return len(block) <= HEADER_SCAN_MAX and found < FIELDS_MAX


def first(found: list[Field], name: bytes) -> bytes | None:
    """Return the value of the first field of that lower-case name."""
    for key, value in found:
        if key == name:
            return value
    return None
