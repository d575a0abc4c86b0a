"""The identifiers, each its own type so that one cannot be passed for another."""

from typing import NewType

AccountId = NewType("AccountId", int)
MailboxId = NewType("MailboxId", int)
BodyId = NewType("BodyId", int)
Uid = NewType("Uid", int)
ModSeq = NewType("ModSeq", int)
EmailId = NewType("EmailId", int)
ThreadId = NewType("ThreadId", int)

UID_MAX = 2**32 - 1
"""The largest UID and UIDVALIDITY (RFC 3501 2.3.1.1, nz-number of 32 bits)."""
