"""The only place that reads message ids and decides which conversation a message belongs to (RFC 5256, THREAD)."""

import re
from itertools import islice
from typing import Final

from blake3 import blake3

from sora.core.ids import ThreadId

REFERENCES_MAX: Final = 1_000
"""Message ids of one field that are kept."""

_ID: Final = re.compile(rb'<((?:"(?:[^"\\<>]|\\[^<>])*+"|[^<>\s"])++)>')
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.S)
_ESCAPED: Final = re.compile(rb"\\(.)", re.S)


def message_ids(value: bytes | None) -> tuple[str, ...]:
    """Return the valid ids of a field, without angle brackets and needless quoting."""
    if not value:
        return ()
    found = []
    for match in islice(_ID.finditer(value), REFERENCES_MAX):
        text = match[1]
        if b'"' in text:
            text = _QUOTED.sub(lambda quoted: _ESCAPED.sub(rb"\1", quoted[1]), text)
        if b"@" in text:
            found.append(text.decode("utf-8", "replace").replace("\0", ""))
    return tuple(found)


def thread_id(references: tuple[str, ...], message_id: str | None, raw: bytes) -> ThreadId:
    """Return the conversation's id: that of its first reference, else its own, else of its octets."""
    key = references[0] if references else message_id
    digest = blake3(raw if key is None else key.encode("utf-8", "replace")).digest(8)
    return ThreadId(int.from_bytes(digest, "big") & 0x7FFF_FFFF_FFFF_FFFF or 1)
