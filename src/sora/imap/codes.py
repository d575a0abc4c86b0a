"""The only table from errors to IMAP's NO and BAD with their response codes (RFC 5530, RFC 3501 7.1).

The nearest class in an error's ancestry decides, so every error has an answer; what is no `SoraError` is a
bug and answered NO [SERVERBUG].
"""

from typing import Final

from sora.core import errors, limits
from sora.imap import framer, responses
from sora.imap.criteria import KNOWN_CHARSETS
from sora.imap.tokens import BadSyntax

_TABLE: Final[dict[type[BaseException], tuple[bytes, bytes]]] = {
    BadSyntax: (b"BAD", b""),
    errors.DatabaseUnavailable: (b"NO", b"UNAVAILABLE"),
    errors.CommitUnknown: (b"NO", b"UNAVAILABLE"),
    errors.BodyUnavailable: (b"NO", b"UNAVAILABLE"),
    errors.StorageFull: (b"NO", b"UNAVAILABLE"),
    errors.Busy: (b"NO", b"INUSE"),
    errors.ObjectStoreUnavailable: (b"NO", b"UNAVAILABLE"),
    errors.Temporary: (b"NO", b"UNAVAILABLE"),
    errors.Corrupt: (b"NO", b"CORRUPTION"),
    errors.AuthenticationFailed: (b"NO", b"AUTHENTICATIONFAILED"),
    errors.PrivacyRequired: (b"NO", b"PRIVACYREQUIRED"),
    errors.NoSuchAccount: (b"NO", b"NONEXISTENT"),
    errors.AccountExists: (b"NO", b"ALREADYEXISTS"),
    errors.AddressInvalid: (b"NO", b"CANNOT"),
    errors.NoSuchMailbox: (b"NO", b"NONEXISTENT"),
    errors.MailboxExists: (b"NO", b"ALREADYEXISTS"),
    errors.MailboxNameInvalid: (b"NO", b"CANNOT"),
    errors.MailboxHasChildren: (b"NO", b"CANNOT"),
    errors.Impossible: (b"NO", b"CANNOT"),
    errors.NoSuchMessage: (b"NO", b"NONEXISTENT"),
    errors.SpecialUseTaken: (b"NO", b"USEATTR"),
    errors.NotPermitted: (b"NO", b"NOPERM"),
    errors.ReadOnly: (b"NO", b"CANNOT"),
    errors.UidsExhausted: (b"NO", b"ALERT"),
    errors.MessageTooLarge: (b"NO", b"TOOBIG"),
    errors.OverQuota: (b"NO", b"OVERQUOTA"),
    errors.OverQuotaForGood: (b"NO", b"OVERQUOTA"),
    errors.LimitReached: (b"NO", b"LIMIT"),
    errors.TooManyAnnotations: (b"NO", b"METADATA TOOMANY"),
    errors.CharsetUnknown: (b"NO", responses.bad_charset(KNOWN_CHARSETS)),
    errors.ConfigurationInvalid: (b"NO", b"SERVERBUG"),
    errors.SoraError: (b"NO", b"CANNOT"),
}
_BUG: Final = (b"NO", b"SERVERBUG")


def condition_and_code(error: BaseException) -> tuple[bytes, bytes]:
    """Return NO or BAD, and the response code (which may be empty)."""
    for ancestor in type(error).__mro__:
        if ancestor in _TABLE:
            return _TABLE[ancestor]
    return _BUG


CREATABLE: Final = frozenset((b"APPEND", b"COPY", b"UID COPY", b"MOVE", b"UID MOVE", b"REPLACE", b"UID REPLACE"))
"""Commands that tell a client to create a missing mailbox and try again (RFC 3501 6.3.11, 6.4.7, RFC 6851 3)."""


def refused(event: framer.Refused) -> bytes:
    """Write the tagged answer to a command that exceeded a limit of the framer."""
    match event.reason:
        case framer.Refusal.MESSAGE:
            return responses.no(event.tag, event.reason.value, code=b"TOOBIG")
        case framer.Refusal.UNASKED:
            code = b"TOOBIG" if event.name in CREATABLE else b""
            return responses.bad(event.tag, event.reason.value, code=code)
        case framer.Refusal.LITERAL if event.name == b"SETMETADATA":
            # RFC 5464 4.3: a value that is too long has a code of its own.
            code = b"METADATA MAXSIZE %d" % limits.METADATA_VALUE_MAX
            return responses.no(event.tag, event.reason.value, code=code)
        case _:
            return responses.no(event.tag, event.reason.value, code=b"LIMIT")


def answer(tag: bytes, error: BaseException, *, creatable: bool = False) -> bytes:
    """Write the tagged answer to an error; `creatable`: a missing mailbox is TRYCREATE (APPEND, COPY, MOVE)."""
    condition, code = condition_and_code(error)
    if creatable and isinstance(error, errors.NoSuchMailbox):
        code = b"TRYCREATE"
    text = str(error) if isinstance(error, errors.SoraError) else "internal error"
    return responses.status_response(tag, condition, text or "failed", code=code)
