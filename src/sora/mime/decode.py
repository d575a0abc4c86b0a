"""The only place that undoes transfer encodings, charsets and encoded words (RFC 2045, 2047), without ever raising."""

import binascii
import codecs
import re
from functools import lru_cache
from typing import Final

_REFUSED: Final = frozenset(
    ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "utf-7")
)
"""No charsets of mail, slow, or able to raise where others replace; UTF-7 hides text from whoever filters it."""
_ALIASES: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "x-unknown": "utf-8",
    "unknown-8bit": "utf-8",
    "default": "utf-8",
}
_WORD: Final = re.compile(rb"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,64})?\?([bBqQ])\?([^?]*+)\?=")
_LINE: Final = re.compile(rb"[^\r\n]++")
_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
KNOWN: Final = frozenset(
    (b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable", b"x-uuencode", b"uuencode", b"x-uue")
)
"""Transfer encodings that `transfer` undoes."""


def transfer(data: bytes, encoding: bytes) -> bytes:
    """Return the body's octets; unknown encodings leave them as they are."""
    encoding = encoding.lower()
    if encoding == b"base64":
        return base64(data)
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(data) if b"=" in data else data
    if encoding in (b"x-uuencode", b"uuencode", b"x-uue"):
        return _uu(data)
    return data


def base64(data: bytes) -> bytes:
    """Decode what there is: foreign characters are skipped, a cut last group gives what it holds."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        kept = data.translate(None, _NOT_BASE64)
        rest = len(kept) % 4
        if rest == 1:
            kept = kept[:-1]
        return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def _uu(data: bytes) -> bytes:
    decoded = bytearray()
    inside = False
    for match in _LINE.finditer(data):
        line = match[0]
        if len(decoded) > len(data):
            break
        if not inside:
            inside = line.startswith(b"begin ")
            continue
        if line == b"end":
            break
        try:
            decoded += binascii.a2b_uu(line)
        except binascii.Error:
            length = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                decoded += binascii.a2b_uu(line[:length])
            except binascii.Error:
                continue
    return bytes(decoded)


@lru_cache(maxsize=256)
def codec(name: str) -> str | None:
    """Return Python's name for a charset of mail, or None."""
    name = name.strip("\"' \t").lower()[:64]
    name = _ALIASES.get(name, name)
    try:
        b"a".decode(name, "replace")  # refuses what does not make text, as lookup does not
        found = codecs.lookup(name)
        if found.name in _REFUSED:
            return None
    except (LookupError, ValueError, UnicodeError):
        return None
    return found.name


def text(data: bytes, charset: bytes | None = None) -> str:
    """Return octets as text: by the charset if known, else UTF-8, else Latin-1."""
    if charset and (charset.isascii() and (name := codec(charset[:64].decode("ascii")))) and name != "utf-8":
        try:
            return data.decode(name, "replace")
        except (UnicodeError, ValueError):
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace") if charset and codec_is_utf8(charset) else data.decode("latin-1")


def codec_is_utf8(charset: bytes) -> bool:
    """Say whether the charset is declared to be UTF-8, whose broken octets are then replaced."""
    return charset.strip(b"\"' ").lower() in (b"utf-8", b"utf8")


def words(value: bytes) -> str:
    """Return a field's text with its encoded words decoded (RFC 2047 6); split characters are joined again."""
    if b"=?" not in value:
        return text(value)
    out: list[str] = []
    held = bytearray()
    charset: bytes | None = None
    at = 0
    for match in _WORD.finditer(value):
        between = value[at : match.start()]
        adjacent = charset is not None and not between.strip()
        if charset is not None and not (adjacent and charset == match[1].lower()):
            out.append(text(bytes(held), charset))
            held = bytearray()
        if not adjacent:
            out.append(text(between))
        charset = match[1].lower()
        if match[2] in b"bB":
            held += base64(match[3])
        else:
            held += binascii.a2b_qp(match[3], header=True)
        at = match.end()
    if charset is not None:
        out.append(text(bytes(held), charset))
    out.append(text(value[at:]))
    return "".join(out)
