"""The one table from errors to LMTP reply codes (RFC 5321 4.2, RFC 3463), and how a reply is written.

What is not certainly the recipient's or the message's own fault is temporary: the sender keeps the mail.
"""

from typing import Final

from sora.core import errors
from sora.lmtp.framer import Fault

REPLY_TEXT_MAX: Final = 400
"""Characters of a reply's text (RFC 5321 4.5.3.1.5 allows 512 octets a line)."""

INTERNAL: Final = (451, "4.3.0")

CODES: Final[dict[type[errors.SoraError], tuple[int, str]]] = {
    errors.NoSuchAccount: (550, "5.1.1"),
    errors.AddressInvalid: (553, "5.1.3"),
    errors.MessageTooLarge: (552, "5.3.4"),
    errors.NotPermitted: (550, "5.7.1"),
    errors.OverQuota: (452, "4.2.2"),
    errors.OverQuotaForGood: (552, "5.2.2"),
    errors.StorageFull: (452, "4.3.1"),
    errors.LimitReached: (452, "4.2.0"),
    errors.UidsExhausted: (451, "4.2.0"),
    errors.NoSuchMailbox: (451, "4.2.0"),
    errors.Busy: (451, "4.3.2"),
    errors.DatabaseUnavailable: (451, "4.3.0"),
    errors.CommitUnknown: (451, "4.3.0"),
    errors.ObjectStoreUnavailable: (451, "4.3.0"),
    errors.Temporary: (451, "4.3.0"),
}

FAULTS: Final[dict[Fault, tuple[int, str, str]]] = {
    Fault.TOO_LARGE: (552, "5.3.4", "message too large"),
    Fault.BARE_LINE_END: (554, "5.6.0", "a line in the message does not end with CRLF"),
    Fault.NO_ROOM: (452, "4.3.1", "too many messages at once, try again later"),
}


def code_for(error: BaseException) -> tuple[int, str]:
    """Return (reply code, enhanced code) for an error; bugs and errors without an entry are temporary."""
    for kind in type(error).__mro__:
        code = CODES.get(kind)
        if code is not None:
            return code
    return INTERNAL


def reply(code: int, enhanced: str, text: str) -> bytes:
    """Write a one-line reply; whatever could end the line or is not ASCII becomes a question mark."""
    text = text[:REPLY_TEXT_MAX]
    clean = text if text.isascii() and text.isprintable() else "".join(c if " " <= c <= "~" else "?" for c in text)
    return f"{code} {enhanced} {clean}\r\n".encode("ascii") if enhanced else f"{code} {clean}\r\n".encode("ascii")


def reply_for(error: BaseException) -> bytes:
    """Write the reply for an error; only a `SoraError` has a text that may be shown."""
    code, enhanced = code_for(error)
    text = str(error) if isinstance(error, errors.SoraError) else ""
    return reply(code, enhanced, text or "internal error, try again later")


def reply_for_fault(fault: Fault) -> bytes:
    """Write the reply for content that was not kept."""
    return reply(*FAULTS[fault])
