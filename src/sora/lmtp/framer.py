"""Cuts a peer's octets into LMTP command lines, the content of DATA, and BDAT chunks.

The rules: any chunking of the same octets gives the same events. A command line ends with CRLF and nothing
else. The content of DATA ends with CRLF.CRLF and nothing else (CVE-2023-51747); a bare CR or LF in it makes
the whole content a fault, after it was read to its end, because hops that see line ends differently see
different messages. A chunk is taken as it is. Over `message_max` octets are read, counted, and not kept.

After a DATA line nothing is parsed until `expect_content` or `refuse_content` says what the octets are.
"""

import re
from enum import Enum, auto
from typing import Final

import attrs

_END: Final = b"\r\n.\r\n"
_BDAT = re.compile(rb"BDAT[ \t]+([0-9]{1,15})([ \t]+LAST)?[ \t]*\Z", re.IGNORECASE)


class Fault(Enum):
    """Why content was read but not kept."""

    TOO_LARGE = auto()
    BARE_LINE_END = auto()
    NO_ROOM = auto()


@attrs.define
class Line:
    """A command line, without its CRLF."""

    text: bytes


@attrs.define
class BadLine:
    """A line that is no command line; `reason` is fit to be shown."""

    reason: str


@attrs.define
class Content:
    """The content of DATA, unstuffed; empty if there is a fault."""

    data: bytes
    fault: Fault | None = None


@attrs.define
class Chunk:
    """A BDAT chunk of `octets`; `data` is empty if there is a fault."""

    data: bytes
    octets: int
    last: bool
    fault: Fault | None = None


@attrs.define
class Astray:
    """A BDAT without a usable length: where the next command begins is unknown, so nothing more is read."""


Event = Line | BadLine | Content | Chunk | Astray


class _State(Enum):
    LINE = auto()
    WAIT = auto()
    CONTENT = auto()
    CHUNK = auto()
    ASTRAY = auto()


class _Unstuffer:
    """Collects the content of DATA: looks for its end, removes stuffed dots, counts, keeps up to a limit.

    What is held back between two calls is a beginning of CRLF.CRLF, so each stuffed dot and each
    CRLF lies within one piece. The CRLF of the DATA line counts as the one before a first dot.
    """

    __slots__ = ("_bare", "_dropped", "_first", "_limit", "_size", "_tail", "kept")

    def __init__(self, limit: int) -> None:
        self.kept = bytearray()
        self._limit = limit
        self._size = 0
        self._tail = b"\r\n"
        self._first = True
        self._bare = False
        self._dropped = False

    def feed(self, data: bytes) -> bytes | None:
        """Take octets; returns those after the end, or None if the end has not come."""
        data = self._tail + data
        end = data.find(_END)
        if end >= 0:
            self._take(data[: end + 2])
            return data[end + len(_END) :]
        held = next((n for n in (4, 3, 2, 1) if data.endswith(_END[:n])), 0)
        cut = len(data) - held
        self._tail = data[cut:]
        self._take(data[:cut])
        return None

    def _take(self, piece: bytes) -> None:
        if not piece:
            return
        lines = piece.count(b"\n")
        if piece.count(b"\r") != lines or piece.count(b"\r\n") != lines:
            self._bare = True
        if b"\n." in piece:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if self._first:
            self._first = False
            piece = piece[2:]
        self._size += len(piece)
        if self._size > self._limit or self._bare:
            self.drop()
        elif not self._dropped:
            self.kept += piece

    def drop(self) -> None:
        """Keep nothing from here on."""
        self._dropped = True
        self.kept = bytearray()

    def finish(self) -> Content:
        """Return what was collected."""
        if self._size > self._limit:
            return Content(b"", Fault.TOO_LARGE)
        if self._bare:
            return Content(b"", Fault.BARE_LINE_END)
        if self._dropped:
            return Content(b"", Fault.NO_ROOM)
        return Content(bytes(self.kept))


class Framer:
    """One connection's framer; `held` says how many octets it keeps."""

    def __init__(self, *, line_max: int, message_max: int) -> None:
        self._line_max = line_max
        self._message_max = message_max
        self._state = _State.LINE
        self._buffer = b""
        self._skipping = False
        self._doomed = False
        self._content = _Unstuffer(message_max)
        self._chunk = bytearray()
        self._chunk_octets = 0
        self._chunk_left = 0
        self._chunk_last = False
        self._chunk_fault: Fault | None = None

    @property
    def held(self) -> int:
        """Octets kept for what is not complete."""
        return len(self._buffer) + len(self._content.kept) + len(self._chunk)

    @property
    def in_data(self) -> bool:
        """Whether the peer is in the middle of sending a message."""
        return self._state in (_State.CONTENT, _State.CHUNK)

    def feed(self, data: bytes) -> list[Event]:
        """Take octets and return the events they complete; `feed(b"")` goes on after a DATA line."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        events: list[Event] = []
        position = 0
        while True:
            if self._state is _State.LINE:
                position = self._line(data, position, events)
                if position < 0:
                    break
            elif self._state is _State.CHUNK:
                position = self._take_chunk(data, position, events)
                if self._state is _State.CHUNK:
                    break
            elif self._state is _State.CONTENT:
                rest = self._content.feed(data[position:] if position else data)
                if rest is None:
                    break
                events.append(self._content.finish())
                self._content = _Unstuffer(self._message_max)
                self._state = _State.LINE
                data, position = rest, 0
            elif self._state is _State.WAIT:
                self._buffer = data[position:]
                break
            else:
                break
        return events

    @property
    def waiting(self) -> bool:
        """Whether a DATA line was read and nobody has said yet what follows it."""
        return self._state is _State.WAIT

    def expect_content(self) -> None:
        """Read what follows the DATA line as its content."""
        self._state = _State.CONTENT
        if self._doomed:
            self._doomed = False
            self._content.drop()

    def refuse_content(self) -> None:
        """Read what follows the refused DATA line as commands."""
        self._state = _State.LINE
        self._doomed = False

    def drop(self) -> None:
        """Keep no more of the content that is being sent, or is about to be: it becomes a fault, `NO_ROOM`."""
        if self._state is _State.WAIT:
            self._doomed = True
        elif self._state is _State.CONTENT:
            self._content.drop()
        elif self._state is _State.CHUNK and self._chunk_fault is None:
            self._chunk = bytearray()
            self._chunk_fault = Fault.NO_ROOM

    # ------------------------------------------------------------ inside

    def _line(self, data: bytes, position: int, events: list[Event]) -> int:
        """Take one line; returns where the next begins, or -1 if the line is not complete."""
        end = data.find(b"\n", position)
        if end < 0:
            if self._skipping or len(data) - position >= self._line_max:
                self._skipping = True
            else:
                self._buffer = data[position:]
            return -1
        line = data[position:end]
        if self._skipping or len(line) >= self._line_max:
            self._skipping = False
            events.append(BadLine("line too long"))
        elif not line.endswith(b"\r"):
            events.append(BadLine("a line ends with CRLF"))
        elif b"\r" in line[:-1] or b"\0" in line:
            events.append(BadLine("stray CR or NUL"))
        else:
            self._command(line[:-1], events)
        return end + 1

    def _command(self, text: bytes, events: list[Event]) -> None:
        verb = text[:5].rstrip().upper()
        if verb == b"BDAT":
            match = _BDAT.match(text)
            if match is None:
                self._state = _State.ASTRAY
                events.append(Astray())
                return
            self._chunk_octets = self._chunk_left = int(match[1])
            self._chunk_last = match[2] is not None
            self._chunk_fault = Fault.TOO_LARGE if self._chunk_octets > self._message_max else None
            self._state = _State.CHUNK
            return
        if verb == b"DATA" and text.rstrip(b" ").upper() == b"DATA":
            self._state = _State.WAIT
        events.append(Line(text))

    def _take_chunk(self, data: bytes, position: int, events: list[Event]) -> int:
        end = min(position + self._chunk_left, len(data))
        self._chunk_left -= end - position
        if self._chunk_fault is None:
            self._chunk += data[position:end]
        if self._chunk_left == 0:
            events.append(Chunk(bytes(self._chunk), self._chunk_octets, self._chunk_last, self._chunk_fault))
            self._chunk = bytearray()
            self._state = _State.LINE
        return end
