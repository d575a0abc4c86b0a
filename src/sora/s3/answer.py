"""An HTTP/1.1 answer read from octets as they come, complete or an error; does no I/O."""

import re
from enum import Enum, auto
from typing import Final

from sora.s3.http import NoAnswer, Reply

HEAD_MAX: Final = 65_536
"""Octets of a status line and header, and of a chunked answer's size lines and trailer."""
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")


class _State(Enum):
    HEAD = auto()
    LENGTH = auto()
    CLOSE = auto()
    """The body ends with the connection."""
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    DONE = auto()


class Answer:
    """Reads one answer (RFC 9112). `bodyless`: to a HEAD, which has no body whatever its header says."""

    def __init__(self, *, bodyless: bool, body_max: int) -> None:
        self._bodyless = bodyless
        self._allowed = body_max
        self._state = _State.HEAD
        self._held = b""
        self._left = 0
        self._parts: list[bytes] = []
        self._headers: dict[str, str] = {}
        self.status = 0
        self.reusable = False
        """Whether the connection may serve another request once the answer is complete."""

    def feed(self, data: bytes) -> bool:
        """Take octets; return whether the answer is complete. Raises `NoAnswer` for one that is malformed."""
        while self._state is not _State.DONE:
            if self._state in (_State.LENGTH, _State.CHUNK):
                if not data:
                    return False
                data = self._take(data)
            elif self._state is _State.CLOSE:
                self._keep(data)
                return False
            else:
                end = b"\r\n\r\n" if self._state is _State.HEAD else b"\r\n"
                self._held += data
                block, found, data = self._held.partition(end)
                if len(block) > HEAD_MAX:
                    raise NoAnswer("the answer's header is larger than allowed")
                if not found:
                    return False
                self._held = b""
                self._block(block)
        if data:
            # Nothing was asked that this could answer.
            self.reusable = False
        return True

    def ended(self) -> bool:
        """The connection has ended; return whether the answer is complete by that.

        Without a length only an error's text may end with the connection: an object may have been cut.
        """
        return self._state is _State.DONE or (self._state is _State.CLOSE and self.status >= 300)

    @property
    def reply(self) -> Reply:
        """The complete answer."""
        return Reply(self.status, self._headers, b"".join(self._parts))

    # ------------------------------------------------------------ lines

    def _block(self, block: bytes) -> None:
        match self._state:
            case _State.HEAD:
                self._head(block.decode("latin-1"))
            case _State.CHUNK_SIZE:
                size = _SIZE.fullmatch(block)
                if size is None:
                    raise NoAnswer("the answer has a malformed chunk")
                self._left = int(size[1], 16)
                self._state = _State.CHUNK if self._left else _State.TRAILER
            case _State.CHUNK_END:
                if block:
                    raise NoAnswer("the answer has a malformed chunk")
                self._state = _State.CHUNK_SIZE
            case _:
                if not block:
                    self._state = _State.DONE

    def _head(self, text: str) -> None:
        first, *lines = text.split("\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            raise NoAnswer("the answer is not HTTP")
        self._headers = {}
        for line in lines:
            field = _FIELD.fullmatch(line)
            if field is None:
                raise NoAnswer("the answer's header is malformed")
            name, value = field[1].lower(), field[2]
            if name == "content-length" and self._headers.get(name, value) != value:
                raise NoAnswer("the answer has two lengths")
            self._headers.setdefault(name, value)
        self.status = int(status[2])
        if self.status < 200:
            # An interim answer: the one that counts follows.
            return
        connection = self._headers.get("connection", "").lower()
        self.reusable = "close" not in connection and (status[1] == "1" or "keep-alive" in connection)
        self._frame()

    def _frame(self) -> None:
        """Find out where the body ends (RFC 9112 6.3)."""
        length = self._headers.get("content-length")
        coding = self._headers.get("transfer-encoding", "").lower()
        if self._bodyless or self.status in (204, 304):
            self._state = _State.DONE
        elif coding:
            if coding != "chunked":
                raise NoAnswer("the answer has an unknown coding")
            self.reusable = self.reusable and length is None
            self._state = _State.CHUNK_SIZE
        elif length is None:
            self.reusable = False
            self._state = _State.CLOSE
        elif re.fullmatch("[0-9]{1,15}", length) is None:
            raise NoAnswer("the answer's length is malformed")
        else:
            self._left = int(length)
            self._state = _State.LENGTH if self._left else _State.DONE

    # ------------------------------------------------------------ octets

    def _take(self, data: bytes) -> bytes:
        part, rest = data[: self._left], data[self._left :]
        self._left -= len(part)
        self._keep(part)
        if not self._left:
            self._state = _State.DONE if self._state is _State.LENGTH else _State.CHUNK_END
        return rest

    def _keep(self, part: bytes) -> None:
        self._allowed -= len(part)
        if self._allowed < 0:
            raise NoAnswer("the answer is larger than allowed")
        if part:
            self._parts.append(part)
