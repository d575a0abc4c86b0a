"""Access control lists: SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS, LIST's MYRIGHTS (RFC 4314, RFC 8440)."""

from typing import Final

from sora.core import address as addresses
from sora.core.errors import AddressInvalid, NoSuchAccount
from sora.core.rights import ALL, Edit, Rights
from sora.front.imap.mailboxes import Write, returns
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import acl_parse, commands, responses
from sora.imap.acl_parse import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from sora.mail.sharing import Administered
from sora.store.grants import ANYONE, COMMONS, GROUP
from sora.store.model import Listing, MailboxRow

_UNKNOWN: Final = "there is no such account or group in the domain"


@handles(SetAcl)
async def set_acl(session: ImapProtocol, command: SetAcl) -> Done:
    """Change what an identifier may do in a mailbox."""
    await _change(session, command.mailbox, command.identifier, command.edit, command.rights, command.negative)
    return Done("SETACL completed")


@handles(DeleteAcl)
async def delete_acl(session: ImapProtocol, command: DeleteAcl) -> Done:
    """Take an identifier off a mailbox's list."""
    await _change(session, command.mailbox, command.identifier, Edit.REPLACE, frozenset(), command.negative)
    return Done("DELETEACL completed")


async def _change(session: ImapProtocol, name: str, written: str, edit: Edit, rights: Rights, negative: bool) -> None:
    place = await _administered(session, name)
    identifier = canonical(written, place.domain)
    if identifier is None:
        raise Refusal(_UNKNOWN, b"CANNOT")
    if identifier == place.owner_address:
        raise Refusal("the owner has all rights", b"CANNOT")
    try:
        await session.services.sharing.grant(place.mailbox, identifier, edit, rights, negative=negative)
    except NoSuchAccount:
        raise Refusal(_UNKNOWN, b"CANNOT") from None


@handles(GetAcl)
async def get_acl(session: ImapProtocol, command: GetAcl) -> Done:
    """Show a mailbox's list, its owner first."""
    place = await _administered(session, command.mailbox)
    entries: list[tuple[str, Rights]] = []
    if not place.owner_address.startswith(COMMONS):
        entries.append((place.owner_address, ALL))
    for entry in await session.services.sharing.entries(place.mailbox):
        entries.append(("-" * entry.grant.negative + entry.identifier, entry.grant.rights))
    session.send(acl_parse.acl(_name(session, command.mailbox), entries))
    return Done("GETACL completed")


@handles(ListRights)
async def list_rights(session: ImapProtocol, command: ListRights) -> Done:
    """Tell what rights an identifier can be given: the owner has all, everyone else may have any."""
    place = await _administered(session, command.mailbox)
    identifier = canonical(command.identifier.removeprefix("-"), place.domain)
    if identifier is None:
        raise Refusal(_UNKNOWN, b"CANNOT")
    owner = identifier == place.owner_address
    session.send(acl_parse.list_rights(_name(session, command.mailbox), command.identifier, owner=owner))
    return Done("LISTRIGHTS completed")


@handles(MyRights)
async def my_rights(session: ImapProtocol, command: MyRights) -> Done:
    """Tell what one may do in a mailbox."""
    rights = await session.services.sharing.rights(session.signed_in.account, command.mailbox)
    if rights == ALL and not session.services.sharing.foreign(command.mailbox):
        await session.services.mailboxes.find(session.signed_in.account, command.mailbox)
    session.send(acl_parse.my_rights(_name(session, command.mailbox), rights))
    return Done("MYRIGHTS completed")


@returns(commands.Return.MYRIGHTS)
async def list_my_rights(session: ImapProtocol, command: commands.ListMailboxes, everything: Listing) -> Write:
    """Answer LIST's MYRIGHTS (RFC 8440) from what LIST has read."""

    def write(row: MailboxRow) -> bytes:
        return acl_parse.my_rights(_name(session, row.name), row.rights)

    return write


async def _administered(session: ImapProtocol, name: str) -> Administered:
    user = session.signed_in
    return await session.services.sharing.administered(
        user.account, user.address, name, session.services.mailboxes.find
    )


def canonical(identifier: str, domain: str) -> str | None:
    """Return an identifier as lists keep it: `anyone`, `$group@domain` or an address; None for what is none of them.

    What has no domain is of the mailbox's.
    """
    if identifier.lower() == ANYONE:
        return ANYONE
    group = identifier.startswith(GROUP)
    named = identifier.removeprefix(GROUP) if group else identifier
    try:
        parsed = addresses.parse(named if "@" in named else f"{named}@{domain}")
    except AddressInvalid:
        return None
    if parsed.domain != domain or parsed.detail is not None:
        return None
    return f"{GROUP if group else ''}{parsed}"


def _name(session: ImapProtocol, name: str) -> bytes:
    return responses.mailbox(name, utf8=session.utf8)
