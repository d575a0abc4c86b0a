"""Quotas: GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208)."""

from collections.abc import Sequence

from sora.core.errors import NoSuchAccount
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import quota_parse, responses
from sora.imap.quota_parse import GetQuota, GetQuotaRoot, SetQuota
from sora.mail.quota import root_of
from sora.store.model import Inserted


def warn(session: ImapProtocol, mailbox: str, inserted: Sequence[Inserted]) -> None:
    """Tell the client when what it stored reaches a threshold of its quota (RFC 9208 4.3.1, a soft quota)."""
    if session.services.sharing.foreign(mailbox):
        return
    account, watch = session.signed_in.account, session.services.watch
    reached = [at for at in (watch.arrived(account, one.filled) for one in inserted) if at is not None]
    if reached:
        session.send(responses.untagged_no(f"{max(reached)} % of the quota is used", code=b"OVERQUOTA"))


@handles(GetQuota)
async def get_quota(session: ImapProtocol, command: GetQuota) -> Done:
    """Tell what a quota root holds and may hold."""
    user = session.signed_in
    usage = await session.services.quotas.read(command.root, user.account, user.address)
    session.send(quota_parse.quota(command.root, usage))
    return Done("GETQUOTA completed")


@handles(GetQuotaRoot)
async def get_quota_root(session: ImapProtocol, command: GetQuotaRoot) -> Done:
    """Tell the quota root of a mailbox, whether or not there is such a mailbox, and what it holds."""
    user, sharing = session.signed_in, session.services.sharing
    account, address = user.account, user.address
    if sharing.foreign(command.mailbox):
        place = (await sharing.place(account, command.mailbox)).need("r")
        account, address = place.owner, place.owner_address
    root = root_of(address)
    usage = await session.services.quotas.usage(account)
    session.send(quota_parse.quota_root(responses.mailbox(command.mailbox, utf8=session.utf8), [root]))
    session.send(quota_parse.quota(root, usage))
    return Done("GETQUOTAROOT completed")


@handles(SetQuota)
async def set_quota(session: ImapProtocol, command: SetQuota) -> Done:
    """Replace the limits of an account, for administrators of its domain."""
    limits = quota_parse.limits_of(command)
    if limits is None:
        raise Refusal("only STORAGE, MESSAGE and MAILBOX can be limited", b"CANNOT")
    try:
        usage = await session.services.quotas.change(command.root, session.signed_in.address, limits)
    except NoSuchAccount:
        raise Refusal("no such quota root", b"NONEXISTENT") from None
    session.send(quota_parse.quota(command.root, usage))
    return Done("SETQUOTA completed")
