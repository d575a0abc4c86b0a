"""The only place that turns mailbox names into text and back: modified UTF-7 (RFC 3501 5.1.3).

Decoding is strict, so that no two spellings on the wire are one name, but takes raw UTF-8 where a client
sends it. Canonical: Unicode NFC, `INBOX` in capitals as the first level.
"""

import re
import unicodedata
from binascii import Error, a2b_base64, b2a_base64
from typing import Final

from sora.core.errors import MailboxNameInvalid

SEPARATOR: Final = "/"
INBOX: Final = "INBOX"

_SHIFTED = re.compile(r"&([^-]*)(-?)")
_BASE64 = re.compile(r"[A-Za-z0-9+,]+\Z")
_PLAIN = re.compile(r"[\x20-\x25\x27-\x7e]*\Z")
_RUN = re.compile(r"&|[^\x20-\x7e]+")


def encode(name: str) -> bytes:
    """Write a name as modified UTF-7: printable ASCII octets only."""
    if _PLAIN.match(name):
        return name.encode("ascii")
    return _RUN.sub(_shift, name).encode("ascii")


def decode(name: bytes, *, utf8: bool = False) -> str:
    """Read a name or a LIST pattern, NFC; raises `MailboxNameInvalid`.

    `utf8`: the client has enabled UTF-8, and `&` is a letter like any other (RFC 6855 3, RFC 9051 5.1).
    """
    text = as_written(name, utf8=utf8)
    if text.isascii():
        if not text.isprintable():
            raise MailboxNameInvalid("the mailbox name contains control characters")
        return text
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise MailboxNameInvalid("the mailbox name contains control characters")
    return unicodedata.normalize("NFC", text)


def as_written(name: bytes, *, utf8: bool = False) -> str:
    """Read a name as `decode` does, without bringing it into NFC."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise MailboxNameInvalid("the mailbox name is not valid UTF-8 or modified UTF-7") from None
    return _unshift(text) if "&" in text and not utf8 else text


def canonical(name: str) -> str:
    """Return the name with its first level in capitals if that is INBOX (RFC 3501 5.1)."""
    if name[:5].upper() == INBOX and (len(name) == 5 or name[5] == SEPARATOR):
        return INBOX + name[5:]
    return name


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    data = match[0].encode("utf-16-be", "replace")
    return "&" + b2a_base64(data, newline=False).rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def _unshift(text: str) -> str:
    parts: list[str] = []
    position = 0
    after_shift = -1
    for match in _SHIFTED.finditer(text):
        if not match[2]:
            raise MailboxNameInvalid("a shift of modified UTF-7 is not ended")
        parts.append(text[position : match.start()])
        if match[1]:
            if after_shift == match.start():
                raise MailboxNameInvalid("two shifts of modified UTF-7 follow each other")
            parts.append(_shifted_text(match[1]))
            after_shift = match.end()
        else:
            parts.append("&")
        position = match.end()
    parts.append(text[position:])
    return "".join(parts)


def _shifted_text(base64: str) -> str:
    if not _BASE64.match(base64) or len(base64) % 4 == 1:
        raise MailboxNameInvalid("modified UTF-7 has malformed base64")
    padded = base64.replace(",", "/") + "=" * (-len(base64) % 4)
    try:
        data = a2b_base64(padded)
        text = data.decode("utf-16-be")
    except (Error, UnicodeDecodeError):
        raise MailboxNameInvalid("modified UTF-7 is not UTF-16") from None
    if b2a_base64(data, newline=False).decode("ascii") != padded:
        raise MailboxNameInvalid("modified UTF-7 has bits left over")
    if any("\x20" <= character <= "\x7e" for character in text):
        raise MailboxNameInvalid("modified UTF-7 hides printable ASCII")
    return text
