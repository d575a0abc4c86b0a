"""Messages for the contract suites: small mails, described by hand, so that a store is tested without a MIME parser."""

import email.utils
import itertools
from datetime import UTC, datetime
from typing import Any

from blake3 import blake3

from sora.core.ids import MailboxId, ThreadId
from sora.core.text import fold
from sora.mime.description import Described
from sora.store.model import NewBody, NewMessage

SENT = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
_nonce = itertools.count(1)


def message(
    subject: str = "Lunch",
    *,
    sender: str = "Ann Other <ann@example.com>",
    to: str = "alice@example.org",
    text: str = "Shall we?\r\n",
    sent: datetime | None = SENT,
    message_id: str | None = None,
    **more: str,
) -> bytes:
    """Write a mail; `more` are further header fields, underscores standing for hyphens."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}"]
    if sent is not None:
        lines.append(f"Date: {email.utils.format_datetime(sent)}")
    if message_id is not None:
        lines.append(f"Message-ID: {message_id}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


def described(raw: bytes, **changed: Any) -> Described:
    """Describe a mail that `message` wrote; `changed` overrides single values."""
    header, _, text = raw.partition(b"\r\n\r\n")
    fields: dict[str, str] = {}
    for line in header.decode().split("\r\n"):
        name, _, value = line.partition(": ")
        fields[name.lower()] = fold(value)
    sent = email.utils.parsedate_to_datetime(fields["date"]) if "date" in fields else None
    values: dict[str, Any] = {
        "envelope": b'("envelope of ' + blake3(raw).hexdigest()[:8].encode() + b'")',
        "structure": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" %d 1 NIL NIL NIL NIL)' % len(text),
        "body": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" %d 1)' % len(text),
        "header": header + b"\r\n\r\n",
        "sent_at": sent,
        "sent_day": sent.date() if sent is not None else None,
        "subject": fields.get("subject", ""),
        "base_subject": fields.get("subject", ""),
        "sort_from": fields.get("from", ""),
        "sort_to": fields.get("to", ""),
        "sort_cc": fields.get("cc", ""),
        "display_from": fields.get("from", ""),
        "display_to": fields.get("to", ""),
        "message_id": fields.get("message-id"),
        "in_reply_to": None,
        "references": (),
        "thread": ThreadId(int.from_bytes(blake3(raw).digest()[:7], "big")),
        "fields": fields,
        "header_text": fold(header.decode()),
        "body_text": fold(text.decode()),
        "text_complete": True,
        "preview": text.decode().strip()[:200],
    }
    return Described(**(values | changed))


def new_body(raw: bytes, *, scope: str = "domain/example.org", staged: bool = True, **changed: Any) -> NewBody:
    """Make a body on its way in, under an object key never used before."""
    digest = blake3(raw)
    return NewBody(
        scope=scope,
        hash=digest.digest(),
        size=len(raw),
        object_key=f"{scope}/{digest.hexdigest()}/{next(_nonce):08x}",
        data=raw if staged else None,
        described=described(raw, **changed),
    )


def new_message(mailbox: MailboxId, raw: bytes | None = None, **around: Any) -> NewMessage:
    """Make a message to insert; without `raw`, a mail unlike any other. `around` are fields of `NewMessage`."""
    body = around.pop("body", None)
    if body is None:
        body = new_body(raw if raw is not None else message(f"Number {next(_nonce)}"))
    if "suppress" in around and around["suppress"] is not None:
        around.setdefault("trace", around["suppress"][0].encode() + b"\r\n")
    return NewMessage(mailbox=mailbox, body=body, **around)
