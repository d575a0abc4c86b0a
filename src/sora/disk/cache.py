"""The local cache of bodies: a few large append-only files and an index in memory, never trusted, always expendable.

A record is a header (magic, length, BLAKE3 of the body, CRC of these) and the body. Reading is one `pread`,
and what was read must have the hash it was asked for by. New bodies are collected for a moment and written
together by a thread. The oldest segment goes when the bound is reached. Anyone may delete the directory.
"""

import os
import secrets
import struct
import time
import zlib
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs
from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sora import aio
from sora.disk.threads import Threads
from sora.observe import metrics

log = Logger()

_HEADER: Final = struct.Struct(">4sI32sI")
_MAGIC: Final = b"sBc1"
_SUFFIX: Final = ".bodies"

INLINE_MAX: Final = 65_536
"""Bodies up to this size are read in the reactor's thread: the page cache answers faster than a thread."""
WAITING_MAX: Final = 16_777_216
"""Octets waiting to be written; beyond them bodies are not cached."""
FLUSH_DELAY: Final = 0.05
"""Seconds in which new bodies are collected for one write."""


COMPLAINT_EVERY: Final = 60.0
"""Seconds between two log lines about a file system that refuses."""
SEGMENTS_MIN: Final = 64
"""How many segments (one descriptor each) are kept however small they are."""


_LENGTH: Final = 0xFFFF_FFFF


def _key(hash: bytes) -> int:
    """Return the key of a hash: as many of its octets as an integer of 32 octets holds."""
    return int.from_bytes(hash[:7], "big")


def _place(offset: int, length: int) -> int:
    """Return where a record begins and how long its body is, as one integer."""
    return offset << _LENGTH.bit_length() | length


class _Wrong(Enum):
    """Why what was read is not the body that was asked for."""

    OTHER = "another hash with the same key"
    DAMAGED = "a damaged record"


@attrs.define(eq=False)
class _Segment:
    """One file; `size` is where the next record goes."""

    path: Path
    descriptor: int
    size: int = 0
    live: dict[int, int] = attrs.field(factory=dict)
    """`_key` of the hash → `_place` of the record: small integers, as there may be hundreds of thousands"""

    def __del__(self) -> None:
        # Reads in threads hold the segment, so the descriptor lives as long as anyone needs it.
        os.close(self.descriptor)


class SegmentCache:
    """Implements `mail.bodies.BodyCache` in a directory. Sizes are in octets.

    Processes may share a directory: each appends only to files that it made, and reads what it found.
    """

    def __init__(
        self,
        path: Path,
        *,
        reactor: Any,
        size_max: int = 1_073_741_824,
        segment_size: int = 67_108_864,
        body_max: int = 8_388_608,
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._size_max = size_max
        # At least four segments, so that eviction takes about a quarter of the cache at most.
        self._segment_size = max(min(segment_size, size_max // 4), 1)
        self._waiting_max = min(WAITING_MAX, self._segment_size)
        self._body_max = min(body_max, self._waiting_max - _HEADER.size)
        self._segments_max = max(SEGMENTS_MIN, 2 * size_max // self._segment_size)
        self._threads = Threads(reactor, 2, "cache")
        self._segments: list[_Segment] = []
        self._current: _Segment | None = None
        self._waiting: dict[bytes, bytes] = {}
        self._waiting_held = 0
        self._writing: aio.Once[None] | None = None
        self._timer: IDelayedCall | None = None
        self._complained = 0.0
        self._open = False

    @property
    def size(self) -> int:
        """Octets of all segments."""
        return sum(segment.size for segment in self._segments)

    @property
    def bodies(self) -> int:
        """How many bodies can be read from files."""
        return sum(len(segment.live) for segment in self._segments)

    @aio.deferred
    async def open(self) -> None:
        """Find what an earlier run left. Until then, and if it fails, the cache is empty."""
        try:
            self._segments = await self._threads.run(_scan, self._path)
        except OSError as error:
            self._complain(error)
        self._open = True
        self._evict(0)

    @aio.deferred
    async def close(self) -> None:
        """Write what waits, close the files and end the threads."""
        self._open = False
        self._disarm()
        while self._waiting:
            self._flush()
            if self._writing is not None:
                await self._writing.wait()
        self._threads.stop()
        self._segments, self._current = [], None

    def get(self, hash: bytes) -> "bytes | Deferred[bytes | None] | None":
        """Return the bytes, None if they are not there, or a Deferred of either for a large body."""
        data = self._waiting.get(hash)
        if data is not None:
            return data
        key = _key(hash)
        segment = self._holder(key)
        if segment is None:
            return None
        place = segment.live[key]
        if place & _LENGTH <= INLINE_MAX:
            return self._checked(_read(segment, hash, place), segment, hash)
        return self._threads.run(_read, segment, hash, place).addCallback(self._checked, segment, hash)

    def put(self, hash: bytes, data: bytes) -> None:
        """Offer bytes that have this hash; they are readable at once and written soon."""
        if not self._open or len(data) > self._body_max or hash in self._waiting or self._holder(_key(hash)):
            return
        octets = len(data) + _HEADER.size
        if self._waiting_held + octets > self._waiting_max:
            metrics.CACHE_SKIPPED.inc()
            return
        self._waiting[hash] = data
        self._waiting_held += octets
        if self._timer is None and self._writing is None:
            self._timer = self._reactor.callLater(FLUSH_DELAY, self._flush)

    # ------------------------------------------------------------ reading

    def _holder(self, key: int) -> _Segment | None:
        """Return the segment with a body: of a few dozen, the newest first."""
        for segment in reversed(self._segments):
            if key in segment.live:
                return segment
        return None

    def _checked(self, found: "bytes | OSError | _Wrong", segment: _Segment, hash: bytes) -> bytes | None:
        if isinstance(found, bytes):
            return found
        if found is _Wrong.OTHER:
            return None
        segment.live.pop(_key(hash), None)
        if found is _Wrong.DAMAGED:
            metrics.CACHE_CORRUPT.inc()
            log.warn("body cache: dropped a damaged record of {path}", path=str(segment.path))
        else:
            self._complain(found)
        return None

    # ------------------------------------------------------------ writing

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _flush(self) -> None:
        self._disarm()
        if self._writing is None and self._waiting:
            self._writing = aio.Once()
            self._write(dict(self._waiting), self._writing)

    @aio.deferred
    async def _write(self, batch: dict[bytes, bytes], done: "aio.Once[None]") -> None:
        octets = sum(map(len, batch.values())) + len(batch) * _HEADER.size
        self._evict(octets)
        current = self._current
        if current is not None and current.size + octets > self._segment_size:
            current = None
        try:
            segment, places = await self._threads.run(_append, self._path, current, batch)
        except OSError as error:
            self._current = None
            self._complain(error)
            if self._segments:
                # The disk may be full: what the cache holds is the first to go.
                self._drop(self._segments[0])
        else:
            self._take(segment, places, octets)
        for hash, data in batch.items():
            del self._waiting[hash]
            self._waiting_held -= len(data) + _HEADER.size
        self._writing = None
        done.fire(None)
        if self._waiting and self._open:
            self._timer = self._reactor.callLater(FLUSH_DELAY, self._flush)

    def _take(self, segment: _Segment, places: dict[int, int], octets: int) -> None:
        if segment is not self._current:
            if self._current is not None and not _linked(self._current):
                # Its directory was deleted: give the space back, too.
                self._drop(self._current)
            self._current = segment
            self._segments.append(segment)
        segment.size += octets
        segment.live.update(places)
        metrics.CACHE_BODIES.set(self.bodies)
        metrics.CACHE_OCTETS.set(self.size)

    def _evict(self, room: int) -> None:
        while self._segments and (self.size + room > self._size_max or len(self._segments) > self._segments_max):
            self._drop(self._segments[0])

    def _drop(self, segment: _Segment) -> None:
        self._segments.remove(segment)
        if segment is self._current:
            self._current = None
        segment.live.clear()
        self._threads.run(_unlink, segment.path)

    def _complain(self, error: OSError) -> None:
        metrics.CACHE_ERRORS.inc()
        now = self._reactor.seconds()
        if not self._complained or now - self._complained >= COMPLAINT_EVERY:
            self._complained = now
            log.warn("body cache: {reason}; going on without", reason=str(error))


# ---------------------------------------------------------------- in a thread


def _scan(path: Path) -> list[_Segment]:
    """Open all segments, oldest first, and read the headers of their records."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    segments = []
    for file in sorted(path.glob("*" + _SUFFIX)):
        try:
            segment = _Segment(file, os.open(file, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            continue
        segment.size = os.fstat(segment.descriptor).st_size
        _index(segment)
        if segment.live:
            segments.append(segment)
        else:
            file.unlink(missing_ok=True)
    return segments


def _index(segment: _Segment) -> None:
    """Fill `live` up to the first header that is torn or damaged; what follows is not reachable."""
    offset = 0
    while len(header := os.pread(segment.descriptor, _HEADER.size, offset)) == _HEADER.size:
        magic, length, hash, check = _HEADER.unpack(header)
        offset += _HEADER.size
        if magic != _MAGIC or check != zlib.crc32(header[:-4]) or offset + length > segment.size:
            return
        segment.live[_key(hash)] = _place(offset - _HEADER.size, length)
        offset += length


def _append(path: Path, segment: _Segment | None, batch: dict[bytes, bytes]) -> tuple[_Segment, dict[int, int]]:
    """Write records in one go to `segment`, or to a new one; returns it and where each body lies."""
    if segment is None or not _linked(segment):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The time first, so that the oldest sorts first; the rest, so that no two processes share a name.
        file = path / f"{time.time_ns():020d}-{secrets.token_hex(4)}{_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        segment = _Segment(file, os.open(file, flags, 0o600))
    parts: list[bytes] = []
    places: dict[int, int] = {}
    offset = segment.size
    for hash, data in batch.items():
        header = _HEADER.pack(_MAGIC, len(data), hash, 0)[:-4]
        parts += (header, zlib.crc32(header).to_bytes(4, "big"), data)
        places[_key(hash)] = _place(offset, len(data))
        offset += _HEADER.size + len(data)
    left = memoryview(b"".join(parts))
    while left:
        left = left[os.write(segment.descriptor, left) :]
    return segment, places


def _linked(segment: _Segment) -> bool:
    return os.fstat(segment.descriptor).st_nlink > 0


def _read(segment: _Segment, hash: bytes, place: int) -> "bytes | OSError | _Wrong":
    """Read one body, or tell why it is not the one that was asked for."""
    try:
        record = os.pread(segment.descriptor, _HEADER.size + (place & _LENGTH), place >> _LENGTH.bit_length())
    except OSError as error:
        return error
    header, data = record[: _HEADER.size], record[_HEADER.size :]
    if blake3(data).digest() == hash:
        return data
    # Of two hashes with one key only one is cached; whoever makes mail with such hashes wins nothing else.
    whole = len(header) == _HEADER.size and zlib.crc32(header[:-4]).to_bytes(4, "big") == header[-4:]
    return _Wrong.OTHER if whole and header[8:40] != hash else _Wrong.DAMAGED


def _unlink(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
