"""Objects sealed before they leave this machine: AES-256-GCM in chunks, under a ring of keys that can be rotated.

An object is a header and chunks of 64 KiB, each sealed by itself, so that a part can be read without the
whole. Each object has a key of its own, derived from the ring's key, a random salt and the object's name: chunk
numbers can be nonces, and neither chunks nor objects can be exchanged, reordered or cut unnoticed.

    header: magic (8) | key id (8) | salt (32) | length in clear (8)
    chunk:  ciphertext | tag (16); nonce: chunk number (12, big endian); additional data: header
"""

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.internet.defer import Deferred

from sora import aio
from sora.core.errors import Corrupt, ObjectStoreUnavailable
from sora.store.interfaces import ObjectStore

T = TypeVar("T")
P = ParamSpec("P")

CHUNK: Final = 65_536
TAG: Final = 16
INLINE_MAX: Final = 262_144
"""Larger objects are sealed and opened in a thread: AES-GCM takes about half a millisecond a MiB."""
KEY_SIZE: Final = 32

_MAGIC: Final = b"\x89sora-S1"
"""Its first octet is no text, so that no message in clear can begin like it by accident."""
_HEADER: Final = struct.Struct(">8s8s32sQ")
_ID_LABEL: Final = b"sora object sealing: key id"
_KEY_LABEL: Final = b"sora object sealing: object key\0"


class KeyRing:
    """Keys of 32 octets: the first one seals, all of them open."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_SIZE for key in keys):
            raise ValueError(f"a sealing key has {KEY_SIZE} octets, and there must be one at least")
        self._keys = {_key_id(key): key for key in keys}
        self.sealing = _key_id(keys[0])

    def derive(self, key_id: bytes, salt: bytes, name: str) -> AESGCM:
        """Return the cipher of one object. Raises `ObjectStoreUnavailable` if the ring lacks the key."""
        key = self._keys.get(key_id)
        if key is None:
            raise ObjectStoreUnavailable(f"the object was sealed with key {key_id.hex()}, which is not on the ring")
        return AESGCM(hmac.digest(key, _KEY_LABEL + salt + name.encode(), hashlib.sha256))


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, _ID_LABEL, hashlib.sha256)[:8]


@attrs.frozen
class _Header:
    raw: bytes
    key_id: bytes
    salt: bytes
    length: int


def _header(data: bytes) -> _Header | None:
    """Read the header of a sealed object; None if the object is in clear."""
    if not data.startswith(_MAGIC):
        return None
    if len(data) < _HEADER.size:
        raise Corrupt("a sealed object is cut short")
    _, key_id, salt, length = _HEADER.unpack_from(data)
    return _Header(data[: _HEADER.size], key_id, salt, length)


def seal(ring: KeyRing, name: str, data: bytes) -> bytes:
    """Return `data` sealed under the ring's first key for the object called `name`."""
    salt = secrets.token_bytes(32)
    header = _HEADER.pack(_MAGIC, ring.sealing, salt, len(data))
    cipher = ring.derive(ring.sealing, salt, name)
    view = memoryview(data)
    chunks = [
        cipher.encrypt(number.to_bytes(12, "big"), view[number * CHUNK : (number + 1) * CHUNK], header)
        for number in range(_count(len(data)))
    ]
    return b"".join((header, *chunks))


def unseal(ring: KeyRing, name: str, data: bytes) -> bytes | None:
    """Return what `seal` was given, or None if `data` was never sealed. Raises `Corrupt`."""
    header = _header(data)
    if header is None:
        return None
    if len(data) != stored_size(header.length):
        raise Corrupt("a sealed object does not have its length")
    return _opened(ring, name, header, memoryview(data)[_HEADER.size :], 0)


def _opened(ring: KeyRing, name: str, header: _Header, chunks: memoryview, first: int) -> bytes:
    cipher = ring.derive(header.key_id, header.salt, name)
    parts = []
    try:
        for number, start in enumerate(range(0, len(chunks), CHUNK + TAG), first):
            chunk = chunks[start : start + CHUNK + TAG]
            parts.append(cipher.decrypt(number.to_bytes(12, "big"), chunk, header.raw))
    except (InvalidTag, ValueError) as error:
        raise Corrupt("a sealed object was changed") from error
    return b"".join(parts)


def stored_size(length: int) -> int:
    """Return how many octets a sealed object of `length` octets takes."""
    return _HEADER.size + length + _count(length) * TAG


def _count(length: int) -> int:
    # The empty object has one (empty) chunk: its tag proves that it is meant to be empty.
    return max(-(-length // CHUNK), 1)


class SealedObjectStore:
    """Implements `store.interfaces.ObjectStore` around another one.

    `clear_allowed`: objects stored before sealing was switched on are read as they are. `seals`: new ones are
    sealed; without it the keys only open what was sealed before.
    """

    def __init__(
        self, inner: ObjectStore, ring: KeyRing, *, reactor: Any, clear_allowed: bool = False, seals: bool = True
    ) -> None:
        self._inner = inner
        self._ring = ring
        self._reactor = reactor
        self._clear_allowed = clear_allowed
        self._seals = seals

    @aio.deferred
    async def put(self, key: str, data: bytes) -> None:
        """Seal and store an object."""
        if not self._seals:
            await self._inner.put(key, data)
            return
        await self._inner.put(key, await self._work(len(data), seal, self._ring, key, data))

    @aio.deferred
    async def get(self, key: str) -> bytes | None:
        """Read and open an object. Raises `Corrupt` if it was changed, or is in clear and must not be."""
        data = await self._inner.get(key)
        if data is None:
            return None
        opened = await self._work(len(data), unseal, self._ring, key, data)
        return opened if opened is not None else self._clear(data)

    @aio.deferred
    async def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Read part of an object; only the chunks it lies in, and the header, are fetched."""
        raw = await self._inner.get_range(key, 0, _HEADER.size)
        if raw is None:
            return None
        header = _header(raw)
        if header is None:
            part = await self._inner.get_range(key, start, length)
            return None if part is None else self._clear(part)
        end = min(start + length, header.length)
        if end <= start:
            return b""
        first, last = start // CHUNK, (end - 1) // CHUNK
        expected = min((last + 1) * CHUNK, header.length) - first * CHUNK + (last + 1 - first) * TAG
        chunks = await self._inner.get_range(key, _HEADER.size + first * (CHUNK + TAG), expected)
        if chunks is None:
            return None
        if len(chunks) != expected:
            raise Corrupt("a sealed object does not have its length")
        opened = await self._work(expected, _opened, self._ring, key, header, memoryview(chunks), first)
        return opened[start - first * CHUNK : end - first * CHUNK]

    def size(self, key: str) -> "Deferred[int | None]":
        """Return an object's length in octets as stored, sealing included, or None."""
        return self._inner.size(key)

    def delete(self, keys: Iterable[str]) -> "Deferred[None]":
        """Delete objects; absent ones are no error."""
        return self._inner.delete(keys)

    def keys(self, *, prefix: str = "", after: str = "", limit: int = 1000) -> "Deferred[list[tuple[str, int, float]]]":
        """List (key, octets as stored, modification time in epoch seconds) ascending by key."""
        return self._inner.keys(prefix=prefix, after=after, limit=limit)

    def _clear(self, data: bytes) -> bytes:
        if not self._clear_allowed:
            raise Corrupt("an object is stored in clear, which is not allowed")
        return data

    async def _work(self, octets: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if octets <= INLINE_MAX:
            return function(*args, **kwargs)
        return await aio.in_thread(self._reactor, self._reactor.getThreadPool(), function, *args, **kwargs)
