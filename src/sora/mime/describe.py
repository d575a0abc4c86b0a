"""The only place that makes a `Described`: everything that parsing yields of a body, in one go."""

from functools import lru_cache
from typing import Final

from sora.core.limits import ENVELOPE_FIELD_MAX, HEADER_SCAN_MAX, HEADER_STORED_MAX, MIME_PARTS_MAX
from sora.core.text import fold, spaced
from sora.mime import decode, headers, structure, text
from sora.mime.addresses import Address
from sora.mime.base_subject import base_subject
from sora.mime.dates import date_time
from sora.mime.description import Described
from sora.mime.headers import Field
from sora.mime.parse import parse
from sora.mime.references import message_ids, thread_id


def describe(raw: bytes) -> Described:
    """Describe any octets at all; never raises."""
    parsed = parse(raw)
    found = parsed.headers[0]
    root = parsed.parts[0]
    lists: dict[bytes, list[Address]] = {}
    envelope = structure.envelope_of(found, lists)
    values, header_text = header_texts(found)
    first = dict(reversed(found)).get
    subject = decode.words(first(b"subject", b"")[:ENVELOPE_FIELD_MAX]).replace("\0", "")
    sent_at = date_time(first(b"date", b""))
    own = message_ids(first(b"message-id"))
    answers = message_ids(first(b"in-reply-to"))
    references = message_ids(first(b"references")) or answers[:1]
    body_text, preview, complete = text.texts(raw, parsed)
    of_parts, whole = text.mime_headers(raw, parsed)
    size = root.body_start - root.header_start
    return Described(
        envelope=envelope,
        structure=structure.body_structure(parsed, raw, True),
        body=structure.body_structure(parsed, raw, False),
        header=raw[: root.body_start] if size <= HEADER_STORED_MAX else None,
        sent_at=sent_at,
        sent_day=sent_at.date() if sent_at else None,
        subject=subject,
        base_subject=base_subject(subject),
        sort_from=_sort(lists.get(b"from")),
        sort_to=_sort(lists.get(b"to")),
        sort_cc=_sort(lists.get(b"cc")),
        display_from=_display(lists.get(b"from")),
        display_to=_display(lists.get(b"to")),
        message_id=own[0] if own else None,
        in_reply_to=answers[0] if answers else None,
        references=references,
        thread=thread_id(references, own[0] if own else None, raw),
        fields=values,
        header_text=f"{header_text}\n{spaced(fold(of_parts))}" if of_parts else header_text,
        body_text=fold(body_text),
        text_complete=complete
        and whole
        and size <= HEADER_SCAN_MAX
        and headers.is_complete(b"", len(found))
        and len(parsed.parts) < MIME_PARTS_MAX,
        preview=preview,
    )


_NAME_MAX: Final = 64
"""Octets of a field's name whose folding is remembered: nearly all mail has the same few dozen."""


def _name(key: bytes) -> str:
    return _short_name(key) if len(key) <= _NAME_MAX else fold(key.decode("latin-1"))


@lru_cache(1_000)
def _short_name(key: bytes) -> str:
    return fold(key.decode("latin-1"))


def header_texts(found: list[Field]) -> tuple[dict[str, str], str]:
    """Return the folded texts of header fields by name, and all of them as one text."""
    names = [_name(key) for key, _ in found]
    # What an unfolded value never holds is what joins them; most headers are ASCII and folded in one go.
    together = b"\n".join([value for _, value in found])
    if together.isascii() and b"=?" not in together and b"\0" not in together:
        shown = spaced(together.decode("ascii").lower()).split("\n")
    else:
        shown = [spaced(fold(decode.words(value))) for _, value in found]
    gathered: dict[str, list[str]] = {}
    lines: list[str] = []
    for name, value in zip(names, shown, strict=False):
        lines.append(f"{name}: {value}")
        gathered.setdefault(name, []).append(value)
    return {name: "\n".join(texts) for name, texts in gathered.items()}, "\n".join(lines)


def _first(found: list[Address] | None) -> Address | None:
    return found[0] if found else None


def _sort(found: list[Address] | None) -> str:
    address = _first(found)
    return fold(decode.text(address[2] or b"")) if address else ""


def _display(found: list[Address] | None) -> str:
    address = _first(found)
    if address is None:
        return ""
    name, _, mailbox, host = address
    if name:
        return fold(decode.words(name))
    local = decode.text(mailbox or b"")
    return fold(f"{local}@{decode.text(host)}" if host else local)
