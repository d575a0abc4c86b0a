"""The only place that turns parts into text for search and preview."""

import html
import re
from typing import Final

from sora.core.limits import MIME_HEADERS_MAX, PREVIEW_MAX, TEXT_MAX
from sora.mime import decode, headers, parameters
from sora.mime.parse import Parsed, Part

_HIDDEN: Final = re.compile(r"<(?:(!--)|(script|style)(?![a-z0-9-]))", re.I)
_ENDS: Final = {
    "!--": re.compile("-->"),
    "script": re.compile("</script[^<>]*+>?", re.I),
    "style": re.compile("</style[^<>]*+>?", re.I),
}
_INLINE: Final = re.compile(
    r"</?(?:[abiqsuABIQSU]|s(?:pan|trong|mall|u[bp])|em|font|S(?:PAN|TRONG|MALL|U[BP])|EM|FONT|code|tt|big|label|ins"
    r"|del|mark|abbr|cite|wbr)(?:\s[^<>]*+)?>"
)
_TAG: Final = re.compile(r"<[/!?a-zA-Z][^<>]*+>")
_BROKEN_ENTITY: Final = re.compile(r"&#0*\d{8,};?")


def html_to_text(markup: str) -> str:
    """Return what a reader sees: no tags, scripts, styles or comments; all but inline tags become spaces."""
    kept: list[str] = []
    at = 0
    while (match := _HIDDEN.search(markup, at)) is not None:
        kept.append(markup[at : match.start()])
        end = _ENDS[(match[1] or match[2]).lower()].search(markup, match.end())
        at = end.end() if end else len(markup)
    kept.append(markup[at:])
    seen = _TAG.sub(" ", _INLINE.sub("", " ".join(kept)))
    return html.unescape(_BROKEN_ENTITY.sub(" ", seen)) if "&" in seen else seen


def part_text(raw: bytes, part: Part, *, octets_max: int = 4 * TEXT_MAX) -> str:
    """Return the text of a text part, HTML as text; reads at most `octets_max` octets."""
    body = decode.transfer(raw[part.body_start : min(part.end, part.body_start + octets_max)], part.encoding)
    text = decode.text(body, parameters.lookup(part.params, b"charset"))
    return html_to_text(text) if part.subtype.lower() == b"html" else text


def is_text(part: Part) -> bool:
    """Say whether the part has text to search."""
    return not part.is_multipart and not part.is_message and part.type.lower() in (b"text", b"message")


def texts(raw: bytes, parsed: Parsed, *, text_max: int = TEXT_MAX) -> tuple[str, str, bool]:
    """Return all text joined by newlines, a preview, and whether no bound cut the text.

    `text_max` is in characters; at most four times as many octets of parts are decoded.
    """
    pieces: list[str] = []
    preview = ""
    rank = 0
    left = text_max
    octets_left = 4 * text_max
    for index, part in enumerate(parsed.parts):
        if left <= 0 or octets_left <= 0:
            return "\n".join(pieces), preview, False
        if index and index in parsed.headers:
            lines = [f"{name.decode('latin-1')}: {decode.words(value)}" for name, value in parsed.headers[index]]
            text = "\n".join(lines)
        elif is_text(part):
            text = ""
        else:
            continue
        if is_text(part):
            found = part_text(raw, part, octets_max=octets_left)
            octets_left -= part.octets
            worth = _preview_rank(part)
            if worth > rank and (squeezed := squeeze(found)):
                preview, rank = squeezed, worth
            text = f"{text}\n{found}" if text else found
        if "\0" in text:
            text = text.replace("\0", "")
        pieces.append(text[:left])
        left -= len(text)
    return "\n".join(pieces), preview, left >= 0 and octets_left >= 0


def mime_headers(raw: bytes, parsed: Parsed, *, octets_max: int = MIME_HEADERS_MAX) -> tuple[str, bool]:
    """Return the header fields of body parts as TEXT searches them (RFC 9051 6.4.4), and whether no bound cut them.

    Encoded words are decoded, and parameters in the form of RFC 2231 follow decoded, those of the message's own header
    too; headers of messages within the message belong to `texts`.
    """
    blocks: list[bytes] = []
    parameters_found: list[str] = []
    left = octets_max
    for index, part in enumerate(parsed.parts):
        start, end = part.header_start, part.body_start
        if index and index not in parsed.headers:
            left -= end - start
            if left < 0:
                break
            if end > start:
                blocks.append(raw[start:end])
        if raw.find(b"*", start, end) >= 0:
            for params in (part.params, part.disposition_params):
                for name, (value, charset) in parameters.encoded(params).items():
                    parameters_found.append(f"{name.decode('latin-1')}: {decode.text(value, charset)}")
    text = decode.words(headers.unfolded(b"".join(blocks)))
    if parameters_found:
        text = "\n".join([text, *parameters_found])
    return text.replace("\0", ""), left >= 0


def _preview_rank(part: Part) -> int:
    if part.disposition is not None and part.disposition.lower() == b"attachment":
        return 0
    if part.type.lower() != b"text":
        return 0
    return 2 if part.subtype.lower() == b"plain" else 1


def squeeze(text: str) -> str:
    """Return the first `PREVIEW_MAX` characters with white space squeezed."""
    # Nearly always the beginning has enough of them; its squeezed text begins that of the whole.
    found = " ".join(text[: PREVIEW_MAX * 2].replace("\0", "").split())
    if len(found) >= PREVIEW_MAX:
        return found[:PREVIEW_MAX].strip()
    return " ".join(text[: PREVIEW_MAX * 20].replace("\0", "").split())[:PREVIEW_MAX].strip()
