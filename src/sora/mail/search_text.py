"""All of a message's text for search, without the bounds of what is stored.

Used where stored text was cut, so its cost is that of the message; otherwise it is the same text.
"""

from datetime import date

import attrs

from sora.core.text import fold, spaced
from sora.mime import headers, text
from sora.mime.dates import date_time
from sora.mime.describe import header_texts
from sora.mime.parse import parse


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
    size = len(raw)
    parsed = parse(raw)
    found = headers.fields(raw[: parsed.parts[0].body_start], octets_max=size, fields_max=size)
    fields, header_text = header_texts(found)
    # Decoding yields at most a few characters for each octet.
    body_text, _, _ = text.texts(raw, parsed, text_max=4 * size + 1)
    of_parts, _ = text.mime_headers(raw, parsed, octets_max=size)
    if of_parts:
        header_text = f"{header_text}\n{spaced(fold(of_parts))}"
    sent = date_time(headers.first(found, b"date") or b"")
    return WholeText(fields, header_text, fold(body_text), sent.date() if sent is not None else None)
