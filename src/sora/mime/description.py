"""What parsing yields of a body: the value that is stored beside it, once, however many copies exist."""

from datetime import date, datetime

import attrs

from sora.core.ids import ThreadId


@attrs.define
class Described:
    """All that parsing yields of a body; `mime.describe` makes it, once per body."""

    envelope: bytes
    """ENVELOPE's parenthesized value, wire form."""
    structure: bytes
    """BODYSTRUCTURE's value, wire form, with extension data."""
    body: bytes
    """BODY's value, wire form, without extension data."""
    header: bytes | None
    """The header block with its empty line, as received; None if over `HEADER_STORED_MAX`."""
    sent_at: datetime | None
    """The Date header."""
    sent_day: date | None
    """The Date header's calendar day in its own zone (SENTSINCE and so on)."""
    subject: str
    """Decoded."""
    base_subject: str
    """RFC 5256 2.1, folded."""
    sort_from: str
    """First From mailbox's local part, folded (RFC 5256 3, SORT FROM)."""
    sort_to: str
    sort_cc: str
    display_from: str
    """RFC 5957 display name or address, folded."""
    display_to: str
    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    """RFC 5256 threading: valid message ids of References, else of In-Reply-To."""
    thread: ThreadId
    """Derived from the first reference or the message id, so that a conversation shares it."""
    fields: dict[str, str]
    """Lower-cased header name to folded, decoded, unfolded, `spaced` text; several fields joined by a newline."""
    header_text: str
    """The whole header and those of body parts, decoded and folded, for TEXT."""
    body_text: str
    """Decoded text of all text parts (HTML as text), folded, for BODY and TEXT."""
    text_complete: bool
    """False if a bound cut `fields`, `header_text` or `body_text`: search must then read the bytes."""
    preview: str
