"""The only place for what GETQUOTA, GETQUOTAROOT and SETQUOTA say, and how quotas are written (RFC 9208)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

from sora.core.quota import Limits, Usage
from sora.imap import responses
from sora.imap.tokens import MODSEQ_MAX, BadSyntax, Cursor

STORAGE: Final = b"STORAGE"
MESSAGE: Final = b"MESSAGE"
MAILBOX: Final = b"MAILBOX"
RESOURCES: Final = (STORAGE, MESSAGE, MAILBOX)
"""RFC 9208 5."""
STORAGE_UNIT: Final = 1024
"""Octets that STORAGE counts as one (RFC 9208 5.1)."""
_LIMITS_MAX: Final = 16
"""Limits in one SETQUOTA: each resource once, with room for those that are refused."""


@attrs.frozen
class GetQuota:
    """GETQUOTA (RFC 9208 4.1.1)."""

    root: str


@attrs.frozen
class GetQuotaRoot:
    """GETQUOTAROOT (RFC 9208 4.1.2)."""

    mailbox: str


@attrs.frozen
class SetQuota:
    """SETQUOTA (RFC 9208 4.1.3); `limits` are in the units of their resources."""

    root: str
    limits: Mapping[bytes, int]


QuotaCommand = GetQuota | GetQuotaRoot | SetQuota


def _get_quota(cursor: Cursor) -> GetQuota:
    return GetQuota(cursor.text("a quota root"))


def _get_quota_root(cursor: Cursor) -> GetQuotaRoot:
    return GetQuotaRoot(cursor.mailbox())


def _set_quota(cursor: Cursor) -> SetQuota:
    root = cursor.text("a quota root")
    cursor.space()
    limits: dict[bytes, int] = {}
    for _ in cursor.members("resource limits", items_max=_LIMITS_MAX):
        resource = cursor.keyword("a resource")
        cursor.space()
        if resource in limits:
            raise BadSyntax("a resource is named twice")
        limits[resource] = cursor.number(MODSEQ_MAX)
    return SetQuota(root, limits)


READERS: Final[dict[bytes, Callable[[Cursor], QuotaCommand]]] = {
    b"GETQUOTA": _get_quota,
    b"GETQUOTAROOT": _get_quota_root,
    b"SETQUOTA": _set_quota,
}


def limits_of(command: SetQuota) -> Limits | None:
    """Return the limits that SETQUOTA names, in octets and numbers; None if it names a resource that sora has not."""
    if any(resource not in RESOURCES for resource in command.limits):
        return None
    storage = command.limits.get(STORAGE)
    return Limits(
        storage=None if storage is None else min(storage * STORAGE_UNIT, MODSEQ_MAX),
        messages=command.limits.get(MESSAGE),
        mailboxes=command.limits.get(MAILBOX),
    )


def quota(root: str, usage: Usage) -> bytes:
    """Write QUOTA (RFC 9208 4.2.1): resources without a limit are not named."""
    limits = usage.limits
    triplets = []
    if limits.storage is not None:
        triplets.append(b"STORAGE %d %d" % (-(-usage.storage // STORAGE_UNIT), limits.storage // STORAGE_UNIT))
    if limits.messages is not None:
        triplets.append(b"MESSAGE %d %d" % (usage.messages, limits.messages))
    if limits.mailboxes is not None:
        triplets.append(b"MAILBOX %d %d" % (usage.mailboxes, limits.mailboxes))
    return b"* QUOTA %b (%b)\r\n" % (responses.string(root.encode()), b" ".join(triplets))


def quota_root(mailbox: bytes, roots: Iterable[str]) -> bytes:
    """Write QUOTAROOT (RFC 9208 4.2.2); the mailbox's name is written already."""
    return b"* QUOTAROOT %b\r\n" % b" ".join([mailbox, *(responses.string(root.encode()) for root in roots)])
