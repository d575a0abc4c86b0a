"""The only place that finds the parts of a message: one pass, a flat list, no recursion (RFC 2046 5.1)."""

import re
from typing import Final

import attrs

from sora.core.limits import ENVELOPE_FIELD_MAX, HEADER_SCAN_MAX, MIME_DEPTH_MAX, MIME_PARTS_MAX
from sora.mime import headers, parameters
from sora.mime.headers import Field
from sora.mime.parameters import Parameters

BOUNDARY_MAX: Final = 1_000
"""Octets of a boundary (RFC 2046 allows 70); longer lines are no delimiter."""
PARAMETERS_MAX: Final = 10_000
"""Parameters of one message that are kept; each costs far more memory than its octets."""

_NEEDED: Final = (b"boundary", b"charset")
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,127}")
_IDENTITY: Final = frozenset((b"7bit", b"8bit", b"binary"))


@attrs.define
class Part:
    """A part of a message; offsets are octets of the whole message."""

    number: tuple[int, ...]
    """As RFC 3501 6.4.5 counts. A message that is a multipart has the number of what contains it."""
    parent: int
    """Index of the containing multipart or message; -1 for the message itself."""
    header_start: int
    body_start: int
    end: int
    type: bytes = b"text"
    subtype: bytes = b"plain"
    params: Parameters = ()
    encoding: bytes = b"7bit"
    disposition: bytes | None = None
    disposition_params: Parameters = ()
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    language: tuple[bytes, ...] = ()
    location: bytes | None = None
    lines: int = 0
    is_multipart: bool = False
    is_message: bool = False
    """Whether the next part in the list is the message that this one contains."""
    children: int = 0

    @property
    def octets(self) -> int:
        """Octets of the body."""
        return self.end - self.body_start


@attrs.define
class Parsed:
    """A message's parts in order of appearance, each before its children."""

    parts: list[Part]
    numbers: dict[tuple[int, ...], int]
    """Index of the part that a number names."""
    headers: dict[int, list[Field]]
    """Fields of the message's own header (0) and of each contained message, by index."""


def parse(raw: bytes) -> Parsed:
    """Find the parts of any octets at all; never raises."""
    return _Scan(raw).run()


class _Scan:
    """The one pass; `cursor` and `blank` only move forward, which keeps the cost linear."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.size = len(raw)
        self.parts: list[Part] = []
        self.headers: dict[int, list[Field]] = {}
        self.stack: list[int] = []
        self.boundaries: list[bytes | None] = []
        self.shadowed: list[int | None] = []
        self.open: dict[bytes, int] = {}
        self.cursor = 0
        self.params = 0
        self.blank = (-1, -1)

    def run(self) -> Parsed:
        self._open(0, parent=-1)
        while self.open and len(self.parts) < MIME_PARTS_MAX:
            found = self._delimiter(self.size)
            if found is None:
                break
            self._split(*found)
        self._close(0, self.size)
        self._count_lines()
        numbers: dict[tuple[int, ...], int] = {}
        for index, part in enumerate(self.parts):
            numbers.setdefault(part.number, index)
        return Parsed(self.parts, numbers, self.headers)

    def _split(self, line: int, after: int, level: int, closes: bool) -> None:
        end = line - 1
        if end > 0 and self.raw[end - 1] == 13:
            end -= 1
        self._close(level + 1, end)
        if closes:
            self._forget(level)
        else:
            self._open(after, parent=self.stack[level])

    def _delimiter(self, limit: int) -> tuple[int, int, int, bool] | None:
        """Return (line start, next line's start, stack level, whether it closes) of the next delimiter before limit."""
        find, raw, known = self.raw.find, self.raw, self.open
        cursor = self.cursor
        while (at := find(b"\n--", cursor, limit)) >= 0:
            eol = find(b"\n", at + 3, at + BOUNDARY_MAX + 8)
            if eol < 0:
                cursor = at + 3
                if at + BOUNDARY_MAX + 8 < self.size:
                    continue
                eol = self.size
            cursor = eol
            text = raw[at + 3 : eol].rstrip(b" \t\r")
            level = known.get(text)
            closes = level is None and text.endswith(b"--")
            if closes:
                level = known.get(text[:-2].rstrip(b" \t"))
            if level is not None:
                self.cursor = cursor
                return at + 1, min(eol + 1, self.size), level, closes
        self.cursor = max(cursor, min(limit, self.size) - 2, 0)
        return None

    def _forget(self, level: int) -> None:
        boundary = self.boundaries[level]
        if boundary is None:
            return
        shadowed = self.shadowed[level]
        self.boundaries[level] = None
        if self.open.get(boundary) == level:
            if shadowed is not None and self.boundaries[shadowed] == boundary:
                self.open[boundary] = shadowed
            else:
                del self.open[boundary]

    def _close(self, level: int, end: int) -> None:
        """End the parts from `level` of the stack on; a multipart without parts gets an empty one (C11)."""
        while len(self.stack) > level:
            self._forget(len(self.stack) - 1)
            index = self.stack.pop()
            self.boundaries.pop()
            self.shadowed.pop()
            part = self.parts[index]
            end = part.end = max(end, part.body_start)  # what holds a part ends no earlier than it
            if part.is_multipart and not part.children:
                part.children = 1
                self.parts.append(Part((*part.number, 1), index, part.end, part.end, part.end))

    def _body_start(self, start: int) -> int:
        """Return where the body begins: after the first empty line, else at the end."""
        raw = self.raw
        if raw.startswith(b"\r\n", start):
            return start + 2
        if raw.startswith(b"\n", start):
            return start + 1
        line, body = self.blank
        if line < start:
            line = raw.find(b"\n\r\n", start)
            body = line + 3
            if line < 0:
                line = body = self.size
            bare = raw.find(b"\n\n", start, line)
            if bare >= 0:
                line, body = bare, bare + 2
            self.blank = (line, body)
        return body

    def _open(self, start: int, *, parent: int) -> None:
        """Read a part's header; go on into the message it may contain."""
        while True:
            self.cursor = max(self.cursor, start - 1, 0)
            body = self._body_start(start)
            found = self._delimiter(body) if self.open and body > start else None
            if found is not None:
                body = max(found[0], start)
            index = len(self.parts)
            part = self._read(start, body, parent)
            self.parts.append(part)
            self.stack.append(index)
            self.boundaries.append(None)
            self.shadowed.append(None)
            if found is not None:
                self.cursor = max(found[0] - 1, 0)
                if part.is_message or part.is_multipart:
                    _make_opaque(part)
                return
            self.cursor = max(self.cursor, body - 1, 0)
            if part.is_multipart:
                self._push(part)
            if not part.is_message:
                return
            part.children = 1
            start, parent = body, index

    def _push(self, part: Part) -> None:
        boundary = (parameters.lookup(part.params, b"boundary") or b"").rstrip(b" \t")
        level = len(self.stack) - 1
        self.shadowed[level] = self.open.get(boundary)
        self.boundaries[level] = boundary
        self.open[boundary] = level

    def _read(self, start: int, body: int, parent: int) -> Part:
        above = self.parts[parent] if parent >= 0 else None
        is_root = above is None or above.is_message
        block = self.raw[start : min(body, start + HEADER_SCAN_MAX)]
        fields = headers.fields(block)
        if is_root:
            self.headers[len(self.parts)] = fields
        part = Part((), parent, start, body, self.size)
        digest = above is not None and above.is_multipart and above.subtype.lower() == b"digest"
        _describe(part, fields, digest=digest)
        self.params += len(part.params) + len(part.disposition_params)
        if self.params > PARAMETERS_MAX:
            part.params = tuple(pair for pair in part.params if pair[0].lower() in _NEEDED)[:2]
            part.disposition_params = ()
        if (part.is_multipart or part.is_message) and (
            len(self.stack) >= MIME_DEPTH_MAX or len(self.parts) + 1 >= MIME_PARTS_MAX
        ):
            _make_opaque(part)
        if above is None:
            part.number = () if part.is_multipart else (1,)
        elif above.is_message:
            part.number = above.number if part.is_multipart else (*above.number, 1)
        else:
            above.children += 1
            part.number = (*above.number, above.children)
        return part

    def _count_lines(self) -> None:
        """Count each octet once, however deep the messages lie in each other."""
        wanted = [part for part in self.parts if part.is_message or part.type.lower() == b"text"]
        offsets = sorted({offset for part in wanted for offset in (part.body_start, part.end)})
        before: dict[int, int] = {}
        total = last = 0
        for offset in offsets:
            total += self.raw.count(b"\n", last, offset)
            before[offset] = total
            last = offset
        for part in wanted:
            part.lines = before[part.end] - before[part.body_start]


def _make_opaque(part: Part) -> None:
    """Show what is not looked into as octets: its own type would promise parts (RFC 3501 7.4.2)."""
    part.is_multipart = part.is_message = False
    part.type, part.subtype, part.params = b"application", b"octet-stream", ()


def _type(part: Part, value: bytes | None, *, digest: bool) -> None:
    if digest:
        part.type, part.subtype = b"message", b"rfc822"
    if value is not None:
        head, params = parameters.split(value)
        major, _, minor = head.partition(b"/")
        major, minor = major.strip(), minor.strip()
        if _TOKEN.fullmatch(major) and (token := _TOKEN.match(minor)):
            part.type, part.subtype, part.params = major, token[0], params
        elif major.lower() == b"text":
            part.params = params
    lowered = part.type.lower()
    if lowered == b"multipart":
        boundary = (parameters.lookup(part.params, b"boundary") or b"").rstrip(b" \t")
        if 0 < len(boundary) <= BOUNDARY_MAX and b"\n" not in boundary:
            part.is_multipart = True
        else:
            part.type, part.subtype, part.params = b"text", b"plain", ()
    elif lowered == b"message" and part.subtype.lower() in (b"rfc822", b"global"):
        if part.encoding.lower() in _IDENTITY:
            part.is_message = True
        else:
            _make_opaque(part)


def _describe(part: Part, fields: list[Field], *, digest: bool) -> None:
    seen: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b"content-") and name not in seen:
            seen[name] = value[:ENVELOPE_FIELD_MAX]
    if seen:
        get = seen.get
        part.encoding = _token(get(b"content-transfer-encoding")) or b"7bit"
        part.id = get(b"content-id")
        part.description = get(b"content-description")
        part.md5 = get(b"content-md5")
        part.location = get(b"content-location")
        if (language := get(b"content-language")) is not None:
            part.language = tuple(word for piece in language.split(b",", 100)[:100] if (word := piece.strip()))
        if (disposition := get(b"content-disposition")) is not None:
            head, part.disposition_params = parameters.split(disposition)
            part.disposition = head if _TOKEN.fullmatch(head) else b"attachment"
    _type(part, seen.get(b"content-type"), digest=digest)


def _token(value: bytes | None) -> bytes | None:
    match = _TOKEN.match(value.strip(b'" \t')) if value else None
    return match[0] if match else None
