"""The only place that reads what APPEND and REPLACE say of new messages.

RFC 3501 6.3.11, RFC 3502 (several messages), RFC 3516 (`~{n}`), RFC 4469 (CATENATE), RFC 6855 4 (UTF8), RFC 8508.
"""

from collections.abc import Callable

from sora.core.errors import LimitReached
from sora.core.limits import IMAP_LITERAL_COUNT_MAX
from sora.core.uidset import STAR
from sora.imap.commands import Append, MessageUrl, NewText, Replace
from sora.imap.tokens import BadSyntax, Cursor


def parse_append(cursor: Cursor) -> Append:
    """Read APPEND; raises `BadSyntax`, `LimitReached`, `MailboxNameInvalid`."""
    mailbox, written = cursor.named()
    messages: list[NewText] = []
    while not (messages and cursor.at_end):
        if len(messages) == IMAP_LITERAL_COUNT_MAX:
            raise LimitReached(f"more than {IMAP_LITERAL_COUNT_MAX} messages")
        cursor.space()
        messages.append(_message(cursor))
    return Append(mailbox, tuple(messages), written)


def parse_replace(*, by_uid: bool) -> Callable[[Cursor], Replace]:
    """Return the reader of REPLACE or UID REPLACE; it raises as `parse_append`."""

    def read(cursor: Cursor) -> Replace:
        # A seq-number, also of UID REPLACE: `*` is the last message (RFC 8508 5).
        number = STAR if cursor.accept(b"*") else cursor.number(minimum=1)
        cursor.space()
        mailbox = cursor.mailbox()
        cursor.space()
        return Replace(number, mailbox, message=_message(cursor), by_uid=by_uid)

    return read


def _message(cursor: Cursor) -> NewText:
    bits = 0
    keywords: tuple[str, ...] = ()
    internal_date = None
    if cursor.peek() == b"(":
        bits, keywords = cursor.flag_list()
        cursor.space()
    if cursor.peek() == b'"':
        internal_date = cursor.date_time()
        cursor.space()
    parts, utf8 = _data(cursor)
    return NewText(parts, flags=bits, keywords=keywords, internal_date=internal_date, utf8=utf8)


def _data(cursor: Cursor) -> tuple[tuple[bytes | MessageUrl, ...], bool]:
    """Read append-data (RFC 4466 2.5): the parts of a message, and whether UTF8 was said."""
    if cursor.accept(b"CATENATE "):
        parts: list[bytes | MessageUrl] = []
        utf8 = False
        for _ in cursor.members("parts"):
            if cursor.accept(b"URL "):
                parts.append(MessageUrl(cursor.astring("a URL")))
                continue
            if _utf8(cursor, parts):
                utf8 = True
                continue
            cursor.expect(b"TEXT ")
            parts.append(cursor.literal8()[0])
        if not parts:
            raise BadSyntax("CATENATE has no parts")
        return tuple(parts), utf8
    found: list[bytes | MessageUrl] = []
    if _utf8(cursor, found):
        return tuple(found), True
    return (cursor.literal8()[0],), False


def _utf8(cursor: Cursor, parts: list[bytes | MessageUrl]) -> bool:
    """Read a utf8-literal (RFC 6855 4), if there is one."""
    if not cursor.accept(b"UTF8 ("):
        return False
    data, binary = cursor.literal8()
    if not binary:
        raise BadSyntax("UTF8 needs a literal8")
    cursor.expect(b")")
    parts.append(data)
    return True
