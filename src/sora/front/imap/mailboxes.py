"""Mailboxes by name: CREATE, DELETE, RENAME, SUBSCRIBE, LIST, LSUB, XLIST, NAMESPACE, STATUS (RFC 3501 6.3)."""

from typing import Final

from sora.core.errors import MailboxHasChildren
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, listing, responses
from sora.imap.commands import StatusItem
from sora.store.model import MailboxRow

SPECIAL_USES: Final = frozenset(("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"))
"""What CREATE can give (RFC 6154 2); the others are views of other mailboxes, which sora does not have."""


@handles(commands.Create)
async def create(session: ImapProtocol, command: commands.Create) -> Done:
    """Create a mailbox, with the levels above it; a special use belongs to one mailbox of an account."""
    account = session.signed_in.account
    use = command.special_use[0] if command.special_use else None
    if use is not None:
        if len(command.special_use) > 1 or use not in SPECIAL_USES:
            raise Refusal("this special use cannot be given", b"USEATTR")
        everything = await session.services.mailboxes.listing(account)
        if any(row.special_use == use for row in everything.mailboxes):
            raise Refusal("another mailbox has this special use", b"USEATTR")
    await session.services.mailboxes.create(account, command.mailbox, special_use=use)
    return Done("CREATE completed")


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
    return Done("DELETE completed")


@handles(commands.Rename)
async def rename(session: ImapProtocol, command: commands.Rename) -> Done:
    """Rename a mailbox and what lies below it; INBOX gives its messages away and stays."""
    await session.services.mailboxes.rename(session.signed_in.account, command.old, command.new, session.actor)
    return Done("RENAME completed")


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
    """Name the namespaces: everything is the user's own."""
    session.send(responses.namespace())
    return Done("NAMESPACE completed")


@handles(commands.ListMailboxes)
async def list_mailboxes(session: ImapProtocol, command: commands.ListMailboxes) -> Done:
    """List names that match, with attributes, and STATUS where it was asked for (RFC 5819)."""
    kind = command.kind.value
    everything = await session.services.mailboxes.listing(session.signed_in.account)
    rows = {row.name: row for row in everything.mailboxes}
    names = [listing.Name(row.name, row.special_use, row.subscribed) for row in everything.mailboxes]
    for line in listing.answer(command, names, everything.subscriptions):
        session.send(responses.list_line(kind, line.attributes, line.name, child_info=line.child_info))
        row = rows.get(line.name)
        if command.status and row is not None:
            session.send(responses.status(line.name, _items(row, command.status)))
        await session.drained()
    return Done("completed")


@handles(commands.Status)
async def status(session: ImapProtocol, command: commands.Status) -> Done:
    """Give a mailbox's counters without selecting it."""
    row = await session.services.mailboxes.find(session.signed_in.account, command.mailbox)
    if StatusItem.HIGHESTMODSEQ in command.items:
        session.condstore = True
    session.send(responses.status(command.mailbox, _items(row, command.items)))
    return Done("STATUS completed")


def _items(row: MailboxRow, items: tuple[StatusItem, ...]) -> list[tuple[bytes, int]]:
    numbers = {
        StatusItem.MESSAGES: row.messages,
        StatusItem.RECENT: row.recent,
        StatusItem.UIDNEXT: row.uid_next,
        StatusItem.UIDVALIDITY: row.uid_validity,
        StatusItem.UNSEEN: row.unseen,
        StatusItem.HIGHESTMODSEQ: row.highest_modseq,
        StatusItem.SIZE: row.size,
        StatusItem.DELETED: row.deleted,
    }
    return [(item.value, numbers[item]) for item in items]
