"""The only place that reads a TLS ClientHello: what kind of client this is, as a JA4 fingerprint.

RFC 8446 4.1.2. Only JA4, the method for TLS clients (BSD licence, FoxIO), is implemented: what a client offers is
counted and hashed without the values that are random by design (RFC 8701, GREASE).
"""

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import attrs

HELLO_MAX: Final = 16_384
"""Octets of a ClientHello that are looked at; real ones have 200 to 2,000."""
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_SIGNATURES: Final = 13
_ALPN: Final = 16
_VERSIONS: Final = 43
_NAMES: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_NONE: Final = "0" * 12


@attrs.frozen
class ClientHello:
    """What a client offers, in its order, without GREASE."""

    version: int
    """The highest one offered."""
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    signatures: tuple[int, ...]
    alpn: bytes
    """The first protocol offered; empty if none is."""

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint: `t13d1516h2_8daaf6152771_e5627efa2ab1`."""
        domain = "d" if _SERVER_NAME in self.extensions else "i"
        counts = f"{min(len(self.ciphers), 99):02d}{min(len(self.extensions), 99):02d}"
        kind = f"t{_NAMES.get(self.version, '00')}{domain}{counts}{_ends(self.alpn)}"
        hashed = [number for number in self.extensions if number not in (_SERVER_NAME, _ALPN)]
        extensions = _listed(sorted(hashed))
        if self.signatures:
            extensions += "_" + _listed(self.signatures)
        return f"{kind}_{_hash(_listed(sorted(self.ciphers)))}_{_hash(extensions) if hashed else _NONE}"


def read(data: bytes) -> ClientHello | None:
    """Read the ClientHello at the beginning of a connection's octets; None if it is not all there.

    Raises `ValueError` if it is something else.
    """
    try:
        message = _message(data)
        return None if message is None else _hello(_Octets(message))
    except (IndexError, struct.error):
        raise ValueError("no ClientHello") from None


def _message(data: bytes) -> bytes | None:
    """Return the handshake message that begins the stream, out of its records; None if more must come."""
    if len(data) > HELLO_MAX:
        data = data[:HELLO_MAX]
    message, position = b"", 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        if position < len(data) and data[position] != _HANDSHAKE:
            raise ValueError("no ClientHello")
        if message and message[0] != _CLIENT_HELLO:
            raise ValueError("no ClientHello")
        if position + 5 > len(data):
            _expect_more(data)
            return None
        size = int.from_bytes(data[position + 3 : position + 5], "big")
        if not size:
            raise ValueError("an empty record")
        if position + 5 + size > len(data):
            _expect_more(data)
            return None
        message += data[position + 5 : position + 5 + size]
        position += 5 + size
    if message[0] != _CLIENT_HELLO:
        raise ValueError("no ClientHello")
    return message[4 : 4 + int.from_bytes(message[1:4], "big")]


def _expect_more(data: bytes) -> None:
    if len(data) >= HELLO_MAX:
        raise ValueError("the ClientHello is too long")


class _Octets:
    """A position in a message; reads raise `IndexError` or `struct.error` beyond its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """How many octets are left."""
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        """Read so many octets."""
        if count > self.left:
            raise IndexError(count)
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, size: int) -> int:
        """Read a number of so many octets."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Read octets that come after their count, which has so many octets itself."""
        return self.take(self.number(size))


def _hello(octets: _Octets) -> ClientHello:
    version = octets.number(2)
    octets.take(32)
    octets.vector(1)
    ciphers = _numbers(octets.vector(2))
    octets.vector(1)
    found: list[int] = []
    signatures: tuple[int, ...] = ()
    alpn = b""
    extensions = _Octets(octets.vector(2) if octets.left else b"")
    while extensions.left:
        number = extensions.number(2)
        content = _Octets(extensions.vector(2))
        if _is_grease(number):
            continue
        found.append(number)
        if number == _VERSIONS:
            version = max(_numbers(content.vector(1)), default=version)
        elif number == _SIGNATURES:
            signatures = _numbers(content.vector(2))
        elif number == _ALPN:
            alpn = _Octets(content.vector(2)).vector(1)
    return ClientHello(version, ciphers, tuple(found), signatures, alpn)


def _numbers(data: bytes) -> tuple[int, ...]:
    numbers = struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])
    return tuple(number for number in numbers if not _is_grease(number))


def _is_grease(number: int) -> bool:
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _ends(alpn: bytes) -> str:
    """Return the first and the last letter of a protocol's name, of its octets in hex if they are no letters."""
    if not alpn:
        return "00"
    ends = alpn[:1] + alpn[-1:]
    if ends.isalnum():
        return ends.decode("ascii")
    shown = alpn.hex()
    return shown[0] + shown[-1]


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NONE
