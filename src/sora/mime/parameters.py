"""The only place that reads `value; name=value` fields (RFC 2045 5.1, RFC 2183, RFC 2231)."""

import re
from itertools import islice
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sora.core.limits import ENVELOPE_FIELD_MAX, MIME_PARAMETERS_MAX

Parameters = tuple[tuple[bytes, bytes], ...]
"""Name as sent, and value as sent without its quoting; what RFC 2231 has cut and encoded is still so."""

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
    for key, value in parameters:
        if key.lower() == name:
            return value
    found = encoded(parameters).get(name)
    return None if found is None else found[0]


def joined(parameters: Parameters) -> Parameters:
    """Return the parameters with continuations joined (RFC 2231 3), what is encoded still encoded (RFC 2231 4)."""
    for name, _ in parameters:
        if b"*" in name:
            return _joined(parameters)
    return parameters


def _joined(parameters: Parameters) -> Parameters:
    found: dict[bytes, tuple[bytes, bytes] | None] = {}
    pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    names: dict[bytes, bytes] = {}
    for index, (name, value) in enumerate(parameters):
        match = _CONTINUED.fullmatch(name) if b"*" in name else None
        if match is None or match[2] is None:
            found[b"%d" % index] = (name, value)
            continue
        key = b"*" + match[1].lower()
        found.setdefault(key, None)
        names.setdefault(key, match[1])
        pieces.setdefault(key, {}).setdefault(int(match[2]), (value, match[3] is not None))
    return tuple(one or _whole(names[key], pieces[key]) for key, one in found.items())


def _whole(name: bytes, pieces: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    ordered = [pieces[number] for number in sorted(pieces)]
    if not any(is_encoded for _, is_encoded in ordered):
        return name, b"".join([value for value, _ in ordered])
    written = [value if is_encoded else quote_from_bytes(value, safe="").encode() for value, is_encoded in ordered]
    # Only the first piece may name a charset.
    return name + b"*", (b"" if ordered[0][1] else b"''") + b"".join(written)


def encoded(parameters: Parameters) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the parameters in the form of RFC 2231 by lower-case name: the octets as `lookup`, and the charset."""
    pieces: dict[bytes, dict[int, bytes]] = {}
    charsets: dict[bytes, bytes] = {}
    for key, value in parameters:
        match = _CONTINUED.fullmatch(key.lower()) if b"*" in key else None
        if match is None:
            continue
        name, number = match[1], int(match[2] or 0)
        if match[3]:
            if number == 0:
                *charset, value = value.split(b"'", 2)
                charsets.setdefault(name, charset[0] if charset else b"")
            value = unquote_to_bytes(value)
        pieces.setdefault(name, {}).setdefault(number, value)
    return {
        name: (b"".join([found[number] for number in sorted(found)]), charsets.get(name, b""))
        for name, found in pieces.items()
    }
