"""What can go wrong, in no protocol's words.

Every error that a user of sora can cause or meet is a `SoraError`; whatever else is raised is a bug.
`temporary` says whether the same request may succeed later. Each protocol folder holds one table from
these classes to its own codes. Messages are shown to peers: no secrets, no SQL, no stack.
"""

from typing import ClassVar


class SoraError(Exception):
    """The root of all expected errors."""

    temporary: ClassVar[bool] = False


class Temporary(SoraError):
    """Something outside the request failed; trying again later may succeed."""

    temporary = True


class DatabaseUnavailable(Temporary):
    """PostgreSQL cannot be reached, or ended the statement for its own reasons."""


class CommitUnknown(Temporary):
    """The answer to COMMIT was lost: the change may or may not be there."""


class BodyUnavailable(Temporary):
    """A message's bytes cannot be read now (object store away, deadline reached)."""


class StorageFull(Temporary):
    """No room is left where bytes must be written."""


class Busy(Temporary):
    """A bounded queue is full, or a lock was not granted in time."""


class ObjectStoreUnavailable(Temporary):
    """The object store cannot be reached, or answers with errors."""


class Corrupt(SoraError):
    """Stored bytes do not have the hash or size they were stored with."""


class AuthenticationFailed(SoraError):
    """The credentials do not fit; deliberately says nothing more."""


class PrivacyRequired(SoraError):
    """A secret was offered on a connection without TLS."""


class NoSuchAccount(SoraError):
    """No account has this address."""


class AccountExists(SoraError):
    """The address is taken."""


class AddressInvalid(SoraError):
    """The text is not an address sora accepts."""


class NoSuchMailbox(SoraError):
    """No mailbox of this name that the user may see."""


class MailboxExists(SoraError):
    """The name is taken."""


class MailboxNameInvalid(SoraError):
    """The name cannot be a mailbox name."""


class MailboxHasChildren(SoraError):
    """The operation is refused while mailboxes exist below this one."""


class NotPermitted(SoraError):
    """The user may not do this."""


class Impossible(SoraError):
    """What was asked can never be, whoever asks."""


class NoSuchMessage(SoraError):
    """The message is gone from its mailbox."""


class SpecialUseTaken(SoraError):
    """Another mailbox of the account has this special use."""


class ReadOnly(SoraError):
    """The mailbox was opened read-only."""


class UidsExhausted(SoraError):
    """No UID is left in the mailbox (2**32 - 1 was assigned)."""


class MessageTooLarge(SoraError):
    """The message is larger than the limit."""


class OverQuota(SoraError):
    """The account has no room for the message."""


class OverQuotaForGood(OverQuota):
    """The same of mail whose sender is to be told at once instead of trying again."""


class LimitReached(SoraError):
    """A named ceiling of `core.limits` was reached; the message says which."""


class TooManyAnnotations(LimitReached):
    """No more annotations, or octets of them, are kept of one mailbox or of the server."""


class CharsetUnknown(SoraError):
    """The charset named in a search is not one sora knows."""


class ConfigurationInvalid(SoraError):
    """The configuration cannot be used; `complaints` lists every reason."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints
