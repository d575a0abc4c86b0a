"""The only place that compresses and expands a connection's octets: raw DEFLATE streams (RFC 1951, RFC 4978).

What a peer sends is expanded a piece at a time, when it is asked for, so that a few octets that stand for very many
cost no more memory than one piece; and not more than a budget in all, which grows with what was really sent.
"""

import zlib
from typing import Final

from sora.core import limits

_LEVEL: Final = 3
_WINDOW: Final = 12
_MEMORY: Final = 5
"""Measured on listings: 38 KiB a stream, 7.1 to 1, 240 MB/s; with zlib's own defaults 262 KiB, 8.8 to 1, 145 MB/s."""
_PEER_WINDOW: Final = 15
"""A peer may look back as far as the format allows (RFC 4978 4)."""
_FLUSHED: Final = b"\x00\x00\xff\xff"
"""What a flush ends with (RFC 4978 4): expanding stops there, as what follows may be no part of the stream any more."""

_FLUSH_MAX: Final = 8
"""Octets of a flush that may be on their way when all that it flushes is there: its end, and a few bits before."""


class Garbled(Exception):
    """What the peer sent cannot be expanded, or not within its budget."""


class Packer:
    """One direction out."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW, _MEMORY)

    def pack(self, data: bytes) -> bytes:
        """Compress a batch of answers, to its last octet: the peer can expand all of it at once."""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class Unpacker:
    """One direction in: `add` what came, `take` what it means."""

    __slots__ = ("_budget", "_ending", "_input", "_last", "_more", "_stream")

    def __init__(self, *, free: int = limits.INFLATE_FREE_MAX) -> None:
        """Begin a stream that may expand to `free` octets, and `limits.INFLATE_RATIO_MAX` more for each that comes."""
        self._stream = zlib.decompressobj(-_PEER_WINDOW)
        self._input = b""
        self._budget = free
        self._more = False
        """Whether the stream holds back what did not fit into the last piece."""
        self._last = b""
        """The last octets of the stream so far."""
        self._ending = False

    @property
    def pending(self) -> bool:
        """Whether there may be something to take."""
        if self._ending:
            return self.ended and bool(self._input)
        return bool(self._input) or self._more

    @property
    def ended(self) -> bool:
        """Whether the next octets are no part of the stream any more, after `end`."""
        if not self._ending:
            return False
        if self._stream.eof or self._last == _FLUSHED:
            return True
        # What is left of a flush may come later than the line before it; a client that does not flush sends text.
        start = (self._last + self._input[:_FLUSH_MAX]).find(_FLUSHED)
        if start >= 0:
            self._input = self._input[start + len(_FLUSHED) - len(self._last) :]
            self._last = _FLUSHED
            return True
        return len(self._input) >= _FLUSH_MAX

    def end(self) -> None:
        """Take what follows the present flush as it comes (RFC 8437 4.1)."""
        self._ending = True

    def add(self, data: bytes) -> None:
        """Take over octets that came."""
        self._budget += len(data) * limits.INFLATE_RATIO_MAX
        self._input += data

    def take(self) -> bytes:
        """Return the next piece, at most `limits.INFLATE_PIECE_MAX` octets; empty if more must come first.

        Raises `Garbled`.
        """
        if self._ending:
            plain, self._input = self._input, b""
            return plain
        if self._stream.eof:
            raise Garbled("the compressed stream has ended")
        flushed = self._input.find(_FLUSHED)
        end = len(self._input) if flushed < 0 else flushed + len(_FLUSHED)
        given, rest = self._input[:end], self._input[end:]
        try:
            piece = self._stream.decompress(given, limits.INFLATE_PIECE_MAX)
        except zlib.error:
            raise Garbled("this is no compressed stream") from None
        left = self._stream.unused_data or self._stream.unconsumed_tail
        self._last = (self._last + given[: len(given) - len(left)])[-len(_FLUSHED) :]
        self._input = left + rest
        self._more = len(piece) == limits.INFLATE_PIECE_MAX and not self._stream.eof
        self._budget -= len(piece)
        if self._budget < 0:
            raise Garbled("the compressed stream expands to too much")
        return piece
