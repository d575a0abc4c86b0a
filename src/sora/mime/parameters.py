"""The only place that reads `value; name=value` fields (RFC 2045 5.1, RFC 2183, RFC 2231)."""

import re
from itertools import islice
from typing import Final
from urllib.parse import unquote_to_bytes

from sora.core.limits import ENVELOPE_FIELD_MAX, MIME_PARAMETERS_MAX

Parameters = tuple[tuple[bytes, bytes], ...]
"""Name as sent, and value as sent without its quoting; RFC 2231 fragments stay apart and encoded."""

_PARAMETER: Final = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|([^\s;"]*+))', re.S)
_ESCAPED: Final = re.compile(rb"\\(.)", re.S)
_CONTINUED: Final = re.compile(rb"([^*]+)(?:\*(\d{1,4}))?(\*)?")


def split(value: bytes) -> tuple[bytes, Parameters]:
    """Return the text before the first semicolon, stripped, and the parameters."""
    value = value[:ENVELOPE_FIELD_MAX]
    head, semicolon, _ = value.partition(b";")
    if not semicolon:
        return head.partition(b"(")[0].strip(), ()
    if b"(" in head:
        head = head.partition(b"(")[0]
    found = []
    for match in islice(_PARAMETER.finditer(value, len(head)), MIME_PARAMETERS_MAX):
        name, quoted, plain = match.groups()
        if quoted is not None and b"\\" in quoted:
            quoted = _ESCAPED.sub(rb"\1", quoted)
        found.append((name, plain if quoted is None else quoted))
    return head.strip(), tuple(found)


def lookup(parameters: Parameters, name: bytes) -> bytes | None:
    """Return one parameter's octets, fragments joined and percent-decoded, without the charset's name."""
    pieces: dict[int, bytes] = {}
    for key, value in parameters:
        lowered = key.lower()
        if lowered == name:
            return value
        match = _CONTINUED.fullmatch(lowered) if b"*" in lowered else None
        if match is None or match[1] != name:
            continue
        number = int(match[2] or 0)
        if match[3]:
            if number == 0:
                value = value.split(b"'", 2)[-1]
            value = unquote_to_bytes(value)
        pieces.setdefault(number, value)
    return b"".join(pieces[number] for number in sorted(pieces)) if pieces else None
