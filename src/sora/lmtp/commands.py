"""Reads LMTP command lines into command values, or says with which reply they are refused.

RFC 5321 4.1 (grammar), RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 3030 (BINARYMIME), RFC 6531 (SMTPUTF8).
"""

import re
from enum import Enum
from functools import lru_cache
from typing import Final

import attrs

from sora.core.address import ADDRESS_MAX
from sora.lmtp.codes import reply

_PATH = re.compile(r'[ ]?<((?:[^"<>\\\s\x00-\x1f\x7f]|"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*")*)>(?: (.*))?\Z')
_ROUTE = re.compile(r"@[^,:@]+(?:,@[^,:@]+)*:")
_MAILBOX = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"@()<>,;:\\\[\]]+)@(?:\[[!-Z^-~]+\]|[^"@()<>,;:\\\[\]]+)\Z')
_LHLO_NAME = re.compile(r"[A-Za-z0-9._:/+=@\[\]-]{1,255}\Z")
_QUOTED_ATOM = re.compile(r'"([^\s"\\@()<>,;:\[\]]+)"@')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\s=\x00-\x1f\x7f]+))?\Z")
_DIGITS: Final = 20
_REMEMBERED: Final = 1_024
"""Lines whose reading is remembered: the same senders and recipients come again and again."""


class BodyType(Enum):
    """The BODY parameter of MAIL."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


@attrs.frozen
class Lhlo:
    """LHLO and the peer's name."""

    name: str


@attrs.frozen
class Mail:
    """MAIL FROM; an empty `sender` is the null sender."""

    sender: str
    size: int = 0
    body: BodyType = BodyType.SEVEN_BIT
    utf8: bool = False


@attrs.frozen
class Rcpt:
    """RCPT TO, any source route removed."""

    address: str


class Plain(Enum):
    """Commands of which only the verb matters."""

    DATA = "DATA"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    HELP = "HELP"
    QUIT = "QUIT"
    STARTTLS = "STARTTLS"


Command = Lhlo | Mail | Rcpt | Plain


class RefusedError(Exception):
    """The line is no command that sora takes; `reply` says so."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = reply(code, enhanced, text)


@lru_cache(_REMEMBERED)
def parse(line: bytes) -> Command:
    """Read a line without its CRLF. Raises `RefusedError`."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(500, "5.5.2", "not UTF-8") from None
    verb, _, rest = text.partition(" ")
    verb = verb.upper()
    if verb == "MAIL":
        return _mail(rest)
    if verb == "RCPT":
        return _rcpt(rest)
    if verb == "LHLO":
        return _lhlo(rest)
    if verb in ("HELO", "EHLO"):
        raise RefusedError(500, "5.5.1", "this is LMTP, say LHLO")
    if verb in ("DATA", "RSET", "QUIT", "STARTTLS"):
        if rest.strip():
            raise RefusedError(501, "5.5.4", f"{verb} has no parameters")
        return Plain(verb)
    if verb in ("NOOP", "VRFY", "HELP"):
        return Plain(verb)
    raise RefusedError(500, "5.5.1", "unknown command")


def _lhlo(rest: str) -> Lhlo:
    name = rest.strip()
    if not _LHLO_NAME.match(name):
        raise RefusedError(501, "5.5.4", "LHLO needs the name of your host")
    return Lhlo(name)


def _path(rest: str, keyword: str) -> tuple[str, str]:
    """Return (mailbox without source route, parameters)."""
    if rest[: len(keyword)].upper() != keyword:
        raise RefusedError(501, "5.5.4", f"expected {keyword}<address>")
    match = _PATH.match(rest[len(keyword) :])
    if match is None:
        raise RefusedError(501, "5.5.4", f"expected {keyword}<address>")
    mailbox = match[1]
    if mailbox.startswith("@"):
        mailbox = _ROUTE.sub("", mailbox, count=1)
    return mailbox, match[2] or ""


def _parameters(text: str) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.match(word)
        if match is None or match[1].upper() in parameters:
            raise RefusedError(501, "5.5.4", "malformed parameters")
        parameters[match[1].upper()] = match[2]
    return parameters


def _mail(rest: str) -> Mail:
    sender, tail = _path(rest, "FROM:")
    parameters = _parameters(tail)
    size_text = parameters.pop("SIZE", "0")
    if size_text is None or not (size_text.isascii() and size_text.isdigit()) or len(size_text) > _DIGITS:
        raise RefusedError(501, "5.5.4", "SIZE needs a number")
    try:
        body = BodyType((parameters.pop("BODY", "7BIT") or "").upper())
    except ValueError:
        raise RefusedError(501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME") from None
    utf8 = "SMTPUTF8" in parameters
    if parameters.pop("SMTPUTF8", None) is not None:
        raise RefusedError(501, "5.5.4", "SMTPUTF8 has no value")
    if parameters:
        raise RefusedError(555, "5.5.4", "unknown MAIL parameter")
    if sender and (len(sender.encode()) > ADDRESS_MAX or not _MAILBOX.match(sender)):
        raise RefusedError(553, "5.1.7", "malformed sender address")
    if not utf8 and not sender.isascii():
        raise RefusedError(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")
    return Mail(sender, int(size_text), body, utf8)


def _rcpt(rest: str) -> Rcpt:
    address, tail = _path(rest, "TO:")
    if _parameters(tail):
        raise RefusedError(555, "5.5.4", "unknown RCPT parameter")
    if address.lower() == "postmaster":
        return Rcpt(address)
    if len(address.encode()) > ADDRESS_MAX or not _MAILBOX.match(address):
        raise RefusedError(553, "5.1.3", "malformed recipient address")
    return Rcpt(_QUOTED_ATOM.sub(r"\1@", address, count=1))
