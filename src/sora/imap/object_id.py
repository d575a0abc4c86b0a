"""The only place for how object identifiers look on the wire (RFC 8474 7): a letter for the kind, and a number."""

import re
from typing import Final

from sora.core.ids import EmailId, MailboxId, ThreadId

_NUMBER_MAX: Final = 2**63 - 1
_EMAIL = re.compile(rb"M([1-9][0-9]{0,18})\Z")
_THREAD = re.compile(rb"T([1-9][0-9]{0,18})\Z")

MAILBOX: Final = b"MAILBOXID (F%d)"
"""MAILBOXID as a response code and as an item of STATUS."""
EMAIL: Final = b"EMAILID (M%d)"
THREAD: Final = b"THREADID (T%d)"


def mailbox_id(mailbox: MailboxId) -> bytes:
    """Write MAILBOXID: it stays when the mailbox is renamed, and is never given again."""
    return MAILBOX % mailbox


def email_of(text: bytes) -> EmailId | None:
    """Read an EMAILID; None if no message can have it."""
    number = _read(_EMAIL, text)
    return None if number is None else EmailId(number)


def thread_of(text: bytes) -> ThreadId | None:
    """Read a THREADID; None if no message can have it."""
    number = _read(_THREAD, text)
    return None if number is None else ThreadId(number)


def _read(shape: re.Pattern[bytes], text: bytes) -> int | None:
    match = shape.match(text)
    number = int(match[1]) if match is not None else 0
    return number if 0 < number <= _NUMBER_MAX else None
