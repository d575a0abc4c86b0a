"""The sections about what accounts hold and share: quotas, shared mailboxes, annotations."""

import attrs

from sora.core.config.kinds import BOOLEAN, DURATION, SIZE, TEXT, choice, integer, many, within
from sora.core.config.setting import setting

_COUNT_MAX = 2**53


@attrs.frozen(kw_only=True)
class Quota:
    """What accounts may hold that have no quota of their own (`sora-admin quota`); left out: no limit."""

    storage: int | None = setting(SIZE, None, "Octets of all messages of an account.", example="10gb")
    messages: int | None = setting(integer(0, _COUNT_MAX), None, "Messages of an account.", example=500_000)
    mailboxes: int | None = setting(integer(1, _COUNT_MAX), None, "Mailboxes of an account.", example=1_000)
    refusal: str = setting(
        choice("temporary", "permanent"),
        "temporary",
        "How mail for a full account is refused: `temporary` (452 4.2.2), so that its sender keeps it and tries again, "
        "or `permanent` (552 5.2.2).",
    )
    warn_at: tuple[int, ...] = setting(
        many(integer(1, 100)), (80, 95), "Percent of a quota at which a warning is logged and counted."
    )
    domain_interval: float = setting(
        within(DURATION, 1.0), 60.0, "How often domains that have a quota are counted: so much later they are full."
    )
    admins: tuple[str, ...] = setting(
        many(TEXT),
        (),
        "Accounts that may set the quotas of their domain's accounts over IMAP (SETQUOTA).",
        example=["postmaster@example.org"],
    )


@attrs.frozen(kw_only=True)
class Metadata:
    """What the server says of itself in annotations (RFC 5464 6.2.1)."""

    comment: str = setting(TEXT, "", "The entry /shared/comment, for people.", example="Mail of example.org")
    admin: str = setting(
        TEXT, "", "The entry /shared/admin: how to reach whoever runs it.", example="mailto:postmaster@example.org"
    )


@attrs.frozen(kw_only=True)
class SharedMailboxes:
    """Mailboxes that several accounts use (RFC 4314)."""

    enabled: bool = setting(BOOLEAN, False, "Offer them.")
    namespace_prefix: str = setting(TEXT, "Shared/", "How names of mailboxes begin that belong to a domain.")
    users_prefix: str = setting(TEXT, "Other Users/", "How names of other users' mailboxes begin.")
    allow_user_create: bool = setting(BOOLEAN, False, "Let users create mailboxes that belong to their domain.")
    default_rights: str = setting(TEXT, "lrswipkxtea", "Rights of whoever creates one (RFC 4314 2.1).")
    allow_anyone_identifier: bool = setting(BOOLEAN, False, "Let rights be given to everyone in the domain.")
    seen_per_user: bool = setting(
        BOOLEAN,
        False,
        "Give everyone a \\Seen of his own in mailboxes of others and of the domain, instead of one for all.",
    )
