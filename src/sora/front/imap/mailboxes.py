"""Mailboxes by name: CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, XLIST, NAMESPACE (RFC 3501 6.3, RFC 5258)."""

from collections.abc import Awaitable, Callable
from typing import Final

from sora.core.errors import MailboxHasChildren
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.front.imap.status import heed, status_line
from sora.imap import acl_parse, commands, listing, object_id, responses
from sora.imap.commands import ListKind, Return, Selection
from sora.mail.mailboxes import SPECIAL_USES
from sora.store.model import Listing, MailboxRow

Write = Callable[[MailboxRow], bytes]
"""Writes what a return option adds after a mailbox's LIST line; nothing for some."""
Prepare = Callable[[ImapProtocol, commands.ListMailboxes, Listing], Awaitable[Write]]
RETURNED: Final[dict[Return, Prepare]] = {}
"""Return options that add lines of their own, made by `returns` in the files of their families."""
_ATTRIBUTES: Final = frozenset((Return.SUBSCRIBED, Return.CHILDREN, Return.SPECIAL_USE))
_NEEDED: Final[dict[Return | Selection | ListKind, str]] = {
    Return.SPECIAL_USE: "SPECIAL-USE",
    Return.MYRIGHTS: "LIST-MYRIGHTS",
    Return.METADATA: "LIST-METADATA",
    Selection.SPECIAL_USE: "SPECIAL-USE",
    ListKind.XLIST: "XLIST",
}
"""The capability that something belongs to which is no part of IMAP4rev1 or IMAP4rev2."""


def returns(option: Return) -> Callable[[Prepare], Prepare]:
    """Register what answers a return option of LIST: asked once a command, with all that LIST has read."""

    def register(prepare: Prepare) -> Prepare:
        RETURNED[option] = prepare
        return prepare

    return register


@handles(commands.Create)
async def create(session: ImapProtocol, command: commands.Create) -> Done:
    """Create a mailbox, with the levels above it; a special use belongs to one mailbox of an account."""
    account = session.signed_in.account
    if command.special_use and not session.offers("CREATE-SPECIAL-USE"):
        raise Refusal("this is not offered", bad=True)
    use = command.special_use[0] if command.special_use else None
    if use is not None and (len(command.special_use) > 1 or use not in SPECIAL_USES):
        raise Refusal("this special use cannot be given", b"USEATTR")
    row = await session.services.mailboxes.create(account, command.mailbox, special_use=use)
    if command.written is not None:
        tell_canonical(session, row.name, command.written)
    return Done("CREATE completed", object_id.mailbox_id(row.id))


@handles(commands.Delete)
async def delete(session: ImapProtocol, command: commands.Delete) -> Done:
    """Delete a mailbox; one that has children is refused."""
    account = session.signed_in.account
    try:
        gone = await session.services.mailboxes.delete(account, command.mailbox, session.actor)
    except MailboxHasChildren:
        raise Refusal("the mailbox has mailboxes below it", b"HASCHILDREN") from None
    # Not by its name: the selected mailbox may have another one by now.
    if session.selected is not None and session.selected.mailbox.row.id == gone:
        session.unselect()
    if command.written is not None:
        tell_canonical(session, command.mailbox, command.written, "\\NonExistent")
    return Done("DELETE completed")


@handles(commands.Rename)
async def rename(session: ImapProtocol, command: commands.Rename) -> Done:
    """Rename a mailbox and what lies below it; INBOX gives its messages away and stays."""
    await session.services.mailboxes.rename(session.signed_in.account, command.old, command.new, session.actor)
    if command.written is not None:
        tell_canonical(session, command.new, command.written)
    return Done("RENAME completed")


def tell_canonical(session: ImapProtocol, name: str, written: str, *attributes: str) -> None:
    """Tell a client of IMAP4rev2 that a mailbox is not called as it wrote (RFC 9051 6.3.9.7)."""
    if session.rev2:
        session.send(responses.list_line(b"LIST", attributes, name, old_name=written, utf8=session.utf8))


@handles(commands.Subscribe)
async def subscribe(session: ImapProtocol, command: commands.Subscribe) -> Done:
    """Add a name to the subscriptions."""
    await session.services.mailboxes.subscribe(session.signed_in.account, command.mailbox)
    return Done("SUBSCRIBE completed")


@handles(commands.Unsubscribe)
async def unsubscribe(session: ImapProtocol, command: commands.Unsubscribe) -> Done:
    """Take a name from the subscriptions."""
    await session.services.mailboxes.unsubscribe(session.signed_in.account, command.mailbox)
    return Done("UNSUBSCRIBE completed")


@handles(commands.Namespace)
async def namespace(session: ImapProtocol, command: commands.Namespace) -> Done:
    """Name the namespaces: the user's own, and those of others and of the domain where mailboxes are shared."""
    settings = session.services.sharing.settings
    others = [] if settings is None else [settings.users_prefix]
    shared = [] if settings is None else [settings.shared_prefix]
    session.send(acl_parse.namespace(others, shared, utf8=session.utf8))
    return Done("NAMESPACE completed")


@handles(commands.ListMailboxes)
async def list_mailboxes(session: ImapProtocol, command: commands.ListMailboxes) -> Done:
    """List names that match, with attributes and what else was asked of each (RFC 5258, RFC 5819)."""
    asked = _NEEDED.keys() & {*command.returns, *command.selection, command.kind}
    if not all(session.offers(_NEEDED[one]) for one in asked):
        raise Refusal("this is not offered", bad=True)
    heed(session, command.status)
    kind = command.kind.value
    everything = await session.services.mailboxes.listing(session.signed_in.account)
    writers = [await RETURNED[option](session, command, everything) for option in Return if option in _added(command)]
    rows = {row.name: row for row in everything.mailboxes}
    names = [
        listing.Name(row.name, row.special_use, row.subscribed, selectable="r" in row.rights)
        for row in everything.mailboxes
    ]
    for line in listing.answer(command, names, everything.subscriptions):
        session.send(
            responses.list_line(kind, line.attributes, line.name, child_info=line.child_info, utf8=session.utf8)
        )
        row = rows.get(line.name)
        if row is not None and line.matched:
            if command.status and "r" in row.rights:
                session.send(status_line(session, line.name, row, command.status))
            for write in writers:
                session.send(write(row))
        await session.drained()
    return Done("completed")


def _added(command: commands.ListMailboxes) -> frozenset[Return]:
    return command.returns - _ATTRIBUTES
