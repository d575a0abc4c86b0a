"""The only place that reads all of a message's text for search, without the bounds of what is stored.

Used where stored text was cut, so its cost is that of the message; text is decoded and folded as stored
text is.
"""

import html
import re
from datetime import date
from typing import Final

import attrs

from sora.core.text import fold
from sora.mime import dates, decode
from sora.mime.parameters import lookup
from sora.mime.parse import Part, parse

_FIELD: Final = re.compile(rb"[^\n]++(?:\n[ \t][^\n]*+)*+")
_HIDES: Final = re.compile(r"(?i)<(script|style)\b[^<>]*+>|<!--")
_SHOWS: Final = {
    "script": re.compile(r"(?i)</script\s*+>"),
    "style": re.compile(r"(?i)</style\s*+>"),
    "": re.compile("-->"),
}
_TAG: Final = re.compile(r"<[^<>]*+>")


@attrs.frozen
class WholeText:
    """A message's text for search, complete."""

    fields: dict[str, str]
    header_text: str
    body_text: str
    sent_day: date | None
    text_complete: bool = True


def whole(raw: bytes) -> WholeText:
    """Decode everything that a search may look in."""
    parsed = parse(raw)
    block = raw[: parsed.parts[0].body_start]
    fields: dict[str, str] = {}
    sent_day = None
    for match in _FIELD.finditer(block):
        key, colon, value = match[0].partition(b":")
        name = key.strip().lower().decode("latin-1")
        if not colon or not name or " " in name:
            continue
        value = value.replace(b"\r\n", b"").replace(b"\n", b"").strip()
        if name == "date" and sent_day is None:
            sent = dates.date_time(value)
            sent_day = sent.date() if sent is not None else None
        text = fold(decode.words(value))
        fields[name] = f"{fields[name]}\n{text}" if name in fields else text
    header_text = "\n".join(f"{name}: {text}" for name, text in fields.items())
    body_text = "\n".join(_text(raw, part) for part in parsed.parts if _is_text(part))
    return WholeText(fields, header_text, body_text, sent_day)


def _is_text(part: Part) -> bool:
    return part.type.lower() == b"text" and not (part.is_multipart or part.is_message)


def _text(raw: bytes, part: Part) -> str:
    data = decode.transfer(raw[part.body_start : part.end], part.encoding)
    text = decode.text(data, lookup(part.params, b"charset"))
    if part.subtype.lower() == b"html":
        text = html.unescape(_TAG.sub(" ", _visible(text)))
    return fold(text)


def _visible(text: str) -> str:
    """Leave out scripts, styles and comments; what is never closed hides nothing, which keeps this linear."""
    kept: list[str] = []
    at = 0
    while (hides := _HIDES.search(text, at)) is not None:
        shows = _SHOWS[(hides[1] or "").lower()].search(text, hides.end())
        if shows is None:
            break
        kept.append(text[at : hides.start()])
        at = shows.end()
    kept.append(text[at:])
    return " ".join(kept)
