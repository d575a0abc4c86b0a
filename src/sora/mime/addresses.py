"""The only place that reads address lists (RFC 5322 3.4 and 4.4), as ENVELOPE shows them (RFC 3501 7.4.2)."""

import re
from typing import Final

from sora.core.limits import ADDRESSES_MAX, ENVELOPE_FIELD_MAX

Address = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
"""Name, route, mailbox, host. A group is (None, None, name, None) … (None, None, None, None)."""

_TOKEN: Final = re.compile(
    rb'(?P<space>\s++)|"(?P<quoted>(?:[^"\\]++|\\.)*+)(?:"|\\?\Z)|(?P<comment>\()'
    rb'|(?P<special>[,;:<>@.])|(?P<atom>\[[^\]]*+\]?|[^\s"(),;:<>@.\[]++)|(?P<other>.)',
    re.S,
)
_WORD: Final = rb'[^\s"(),;:<>@.\[]++(?:\.[^\s"(),;:<>@.\[]++)*+'
_USUAL: Final = re.compile(
    rb'\s*+(?:"([^"\\]*+)"\s*+|((?:[^\s"(),;:<>@\[]++ )*?[^\s"(),;:<>@\[]++)\s*+)?<(%b)@(%b)>\s*+(,|\Z)'
    % (_WORD, _WORD)
)
"""One address as nearly all are written: a name or none, and angle brackets."""
_COMMENT: Final = re.compile(rb"[()]|\\.?", re.S)
_ESCAPED: Final = re.compile(rb"\\(.)", re.S)
_END: Final = (None, None, None, None)

_Word = tuple[bytes, bytes, bool]
"""Special character or nothing, text, whether white space came before."""


def addresses(value: bytes) -> list[Address]:
    """Return the addresses of a field's unfolded value, up to the limits; never raises."""
    value = value[:ENVELOPE_FIELD_MAX]
    return _usual(value) or _any(value)


def _usual(value: bytes) -> list[Address]:
    """Return the addresses if all are written as nearly all are; otherwise none."""
    found: list[Address] = []
    at = 0
    while len(found) < ADDRESSES_MAX and (match := _USUAL.match(value, at)) is not None:
        quoted, name, local, host, comma = match.groups()
        found.append((quoted.strip() or None if quoted is not None else name, None, local, host))
        if not comma:
            return found
        at = match.end()
    return []


def _any(value: bytes) -> list[Address]:
    found: list[Address] = []
    words: list[_Word] = []
    comment: bytes | None = None
    angle = group = spaced = False
    at = 0
    while at < len(value) and len(found) < ADDRESSES_MAX:
        match = _TOKEN.match(value, at)
        if match is None:
            break
        kind, at = match.lastgroup, match.end()
        if kind == "space":
            spaced = True
            continue
        if kind == "comment":
            start, at = at, _comment_end(value, at)
            comment = _unescape(value[start : at - 1 if value[at - 1 : at] == b")" else at])
            spaced = True
            continue
        text = match[0]
        if kind == "special" and ((text == b"," and not angle) or text == b";"):
            _finish(found, words, comment)
            if text == b";" and group:
                found.append(_END)
                group = False
            words, comment, angle, spaced = [], None, False, False
            continue
        if kind == "special" and text == b":" and not angle and not group:
            found.append((None, None, _phrase(words) or b"", None))
            words, comment, group, spaced = [], None, True, False
            continue
        if kind == "special":
            angle = text == b"<" or (angle and text != b">")
            words.append((text, text, spaced))
        else:
            words.append((b"", _unescape(match["quoted"]) if kind == "quoted" else text, spaced))
        spaced = False
    _finish(found, words, comment)
    if group:
        found.append(_END)
    return found


def _comment_end(value: bytes, at: int) -> int:
    depth = 1
    for match in _COMMENT.finditer(value, at):
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
            if not depth:
                return match.end()
    return len(value)


def _unescape(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def _phrase(words: list[_Word]) -> bytes | None:
    return b"".join(b" " + text if spaced else text for _, text, spaced in words).strip() or None


def _finish(found: list[Address], words: list[_Word], comment: bytes | None) -> None:
    if not words:
        return
    specials = [special for special, _, _ in words]
    route = None
    if b"<" in specials:
        begin = specials.index(b"<")
        name = _phrase(words[:begin])
        stop = specials.index(b">", begin) if b">" in specials[begin:] else len(words)
        words, specials = words[begin + 1 : stop], specials[begin + 1 : stop]
        if specials[:1] == [b"@"] and b":" in specials:
            colon = specials.index(b":")
            route = b"".join(text for _, text, _ in words[:colon])
            words, specials = words[colon + 1 :], specials[colon + 1 :]
    else:
        name = comment.strip() or None if comment else None
    if b"@" not in specials:
        found.append((name, route, _phrase(words) or b"", b""))
        return
    middle = len(specials) - 1 - specials[::-1].index(b"@")
    count = _joined(specials[:middle][::-1])
    local = b"".join(text for _, text, _ in words[middle - count : middle])
    host = b"".join(text for _, text, _ in words[middle + 1 : middle + 1 + _joined(specials[middle + 1 :])])
    if name is None and not any(specials[: middle - count]):
        # "First Last first@last.example", which is no address but is sent as one.
        name = _phrase(words[: middle - count])
    found.append((name, route, local, host))


def _joined(specials: list[bytes]) -> int:
    """Return how many words from the first on are one: two beside each other, without a dot between, are not."""
    count = 0
    joins = True
    for special in specials:
        if special not in (b"", b".", b"@") or (not special and not joins):
            break
        joins = special != b""
        count += 1
    return count
