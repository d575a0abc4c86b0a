"""The only place that extracts base subjects (RFC 5256 2.1)."""

import re
from typing import Final

from sora.core.text import fold

_SPACE: Final = re.compile(r"\s+")
_BLOB: Final = r"\[[^\[\]]*+\]\s*"
_LEADER: Final = re.compile(rf"(?:{_BLOB})*+(?:re|fwd?)\s*(?:{_BLOB})?:\s*", re.I)
_PREFIX: Final = re.compile(_BLOB)
_FORWARD: Final = re.compile(rf"(?:{_BLOB})*?\[fwd:", re.I)
_REPLY: Final = re.compile(rf"(?:\s|{_BLOB})*+(?:re|fwd?)\s*(?:{_BLOB})?:", re.I)
_LENGTH_MAX: Final = 4_096


def base_subject(subject: str) -> str:
    """Return a decoded subject without reply and forward marks and list names, folded."""
    text = _SPACE.sub(" ", subject[:_LENGTH_MAX]).strip()
    start, end = 0, len(text)
    while True:
        while text[max(start, end - 5) : end].lower() == "(fwd)":
            end = len(text[start : end - 5].rstrip()) + start
        start = _leaders(text, start, end)
        if text[start : start + 5].lower() == "[fwd:" and end > start + 5 and text[end - 1] == "]":
            start, end = start + 5, end - 1
            while start < end and text[start] == " ":
                start += 1
            while end > start and text[end - 1] == " ":
                end -= 1
            continue
        return fold(text[start:end])


def is_reply(subject: str) -> bool:
    """Tell whether a decoded subject is that of a reply or forward (RFC 5256 3, REFERENCES)."""
    text = _SPACE.sub(" ", subject[:_LENGTH_MAX]).strip()
    if _REPLY.match(text) is not None or text[-5:].lower() == "(fwd)":
        return True
    return text[-1:] == "]" and _FORWARD.match(text) is not None


def _leaders(text: str, start: int, end: int) -> int:
    while True:
        if (match := _LEADER.match(text, start, end)) is not None:
            start = match.end()
            continue
        match = _PREFIX.match(text, start, end)
        if match is None or match.end() >= end or text[start : start + 5].lower() == "[fwd:":
            return start
        start = match.end()
