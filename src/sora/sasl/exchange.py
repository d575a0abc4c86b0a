"""The SASL exchange as a state machine without I/O: lines in, challenges or credentials out (RFC 4422).

A mechanism is a class with one method, `step`; PLAIN (RFC 4616) needs one message, SCRAM will need two. Whatever is
malformed is a `SaslError`, whose text may be shown to the peer: it never repeats what the peer sent.
"""

import base64
import binascii
from typing import Final, Protocol

import attrs

from sora.core import address, limits

LINE_MAX: Final = 4_096
"""Octets of one base64 line: two names and a password of their greatest length fit."""


class SaslError(Exception):
    """The peer's message is malformed; the exchange has failed."""


class Cancelled(SaslError):
    """The peer gave the exchange up with `*` (RFC 4422 3, RFC 3501 6.2.2)."""


@attrs.frozen
class Challenge:
    """What to ask the peer next, before base64."""

    data: bytes = b""


@attrs.frozen
class PlainCredentials:
    """A name and its password, as PLAIN and LOGIN carry them."""

    authorization: str
    """As whom to act; empty: as oneself."""
    authentication: str
    """Whose password it is."""
    password: bytes = attrs.field(repr=False)

    @property
    def acts_for_another(self) -> bool:
        """Whether the peer wants to act as someone else."""
        return bool(self.authorization) and self.authorization != self.authentication


def _name(octets: bytes, what: str) -> str:
    if len(octets) > address.ADDRESS_MAX:
        raise SaslError(f"the {what} is too long")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError(f"the {what} is not UTF-8") from None


def plain(message: bytes) -> PlainCredentials:
    """Read a PLAIN message: `[authzid] NUL authcid NUL passwd` (RFC 4616 2). Raises `SaslError`.

    The password stays octets: hashes were made of what clients really send.
    """
    parts = message.split(b"\0", 3)
    if len(parts) != 3:
        raise SaslError("a PLAIN message has two NULs")
    authorization, authentication, password = parts
    if not authentication:
        raise SaslError("the name is empty")
    if not password:
        raise SaslError("the password is empty")
    if len(password) > limits.PASSWORD_MAX:
        raise SaslError("the password is too long")
    return PlainCredentials(_name(authorization, "authorization name"), _name(authentication, "name"), password)


class Mechanism(Protocol):
    """One mechanism's side of an exchange."""

    def step(self, message: bytes | None) -> Challenge | PlainCredentials:
        """Take the peer's next message, None before the first; return what to ask, or the credentials."""


class Plain:
    """PLAIN: the client speaks first, so its empty challenge is only sent without an initial response."""

    def step(self, message: bytes | None) -> Challenge | PlainCredentials:
        """Ask for the one message, or read it."""
        return Challenge() if message is None else plain(message)


MECHANISMS: Final[dict[str, type[Mechanism]]] = {"PLAIN": Plain}
"""Mechanisms by their registered name; what a server offers, in this order."""


def decode(line: bytes, *, initial: bool = False) -> bytes:
    """Decode a base64 line; only an initial response writes an empty message as `=` (RFC 4959 3).

    Raises `Cancelled` for `*` and `SaslError` for what is too long or not base64.
    """
    if len(line) > LINE_MAX:
        raise SaslError("the response is too long")
    if initial and line == b"=":
        return b""
    if line == b"*" and not initial:
        raise Cancelled("cancelled by the client")
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise SaslError("the response is not base64") from None


class Exchange:
    """One attempt to sign in; after credentials or an error it is over."""

    def __init__(self, mechanism: str) -> None:
        """Begin. Raises `SaslError` for a mechanism that is not offered; its name has any case."""
        kind = MECHANISMS.get(mechanism.upper())
        if kind is None:
            raise SaslError("this mechanism is not offered")
        self._mechanism = kind()
        self._over = False

    def start(self, initial: bytes | None = None) -> Challenge | PlainCredentials:
        """Begin, with the line of the initial response if there was one. Raises `SaslError`."""
        return self._step(None if initial is None else decode(initial, initial=True))

    def respond(self, line: bytes) -> Challenge | PlainCredentials:
        """Take the peer's answer to a challenge. Raises `Cancelled`, `SaslError`."""
        try:
            message = decode(line)
        except SaslError:
            self._over = True
            raise
        return self._step(message)

    def _step(self, message: bytes | None) -> Challenge | PlainCredentials:
        if self._over:
            raise SaslError("the exchange is over")
        self._over = True
        answer = self._mechanism.step(message)
        self._over = isinstance(answer, PlainCredentials)
        return answer
