"""Entering and leaving a mailbox: SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 6.3.1, 6.4.2, RFC 3691)."""

from sora.core import limits
from sora.core.flags import DELETED
from sora.core.uidset import UidSet
from sora.front.imap import admission
from sora.front.imap.resync import left_code, tell_changes, tell_vanished
from sora.front.imap.session import Done, ImapProtocol, Refusal, Selected, handles
from sora.imap import commands, listing, object_id, responses
from sora.imap.resync import Resync
from sora.imap.view import Expunges, SessionView


@handles(commands.Select)
async def select(session: ImapProtocol, command: commands.Select) -> Done:
    """Open a mailbox; whichever was selected before is left, also if this fails."""
    resync = command.resync
    if resync is not None and "QRESYNC" not in session.enabled:
        raise Refusal("QRESYNC has to be enabled first", bad=True)
    if session.selected is not None:
        session.unselect()
        session.send(responses.untagged_ok("the previous mailbox is closed", code=b"CLOSED"))
    if command.condstore:
        session.follow_modseqs()
    mailbox = await session.services.live.open(
        session.signed_in.account,
        command.mailbox,
        claim_recent=not (command.read_only or session.rev2),
        vanished_since=None if resync is None else resync.modseq,
    )
    rights = session.rights = mailbox.rights
    read_only = command.read_only or not admission.writable(rights)
    row = mailbox.row
    view = SessionView(mailbox.opened, recent_from=mailbox.recent_from)
    hush = mailbox.listen(session.wake)
    session.selected = Selected(command.mailbox, mailbox, view, read_only, hush, examined=command.read_only)
    admission.tell_flags(session)
    session.send(responses.exists(view.count))
    if session.rev2:
        view.forget_recent()
        await _list_itself(session, command.mailbox, command.written)
    else:
        _tell_recent_and_unseen(session, view)
    session.send(responses.untagged_ok("identifier", code=object_id.mailbox_id(row.id)))
    session.send(responses.untagged_ok("UIDs valid", code=b"UIDVALIDITY %d" % row.uid_validity))
    session.send(responses.untagged_ok("predicted next UID", code=b"UIDNEXT %d" % row.uid_next))
    session.send(responses.untagged_ok("highest", code=responses.highest_modseq(row.highest_modseq)))
    if resync is not None:
        await _resynchronize(session, resync)
    word = "EXAMINE" if command.read_only else "SELECT"
    read_write = not read_only and admission.read_write(rights, own_seen=mailbox.reader is not None)
    return Done(f"{word} completed", b"READ-WRITE" if read_write else b"READ-ONLY")


def _tell_recent_and_unseen(session: ImapProtocol, view: SessionView) -> None:
    session.send(responses.recent(view.recent))
    unseen = None if session.uid_only else view.first_unseen()
    if unseen is not None:
        session.send(responses.untagged_ok("first unseen", code=b"UNSEEN %d" % unseen))


async def _resynchronize(session: ImapProtocol, resync: Resync) -> None:
    """Tell what left and what changed since the client was here (RFC 7162 3.2.5); nothing if its UIDs are not ours."""
    here = session.here
    row, view = here.mailbox.row, here.view
    if resync.uid_validity != row.uid_validity:
        return
    known = UidSet(((1, row.uid_next - 1),)) if resync.known is None else resync.known
    above = 0 if resync.match is None else resync.match.known_up_to(view.uids)
    await tell_vanished(session, known.resolve(0), here.mailbox.departed, above=above)
    # A modseq that was never given: the database was put back, and what the client knows never happened.
    since = here.mailbox.told_since(resync.modseq) if resync.modseq <= row.highest_modseq else 0
    await tell_changes(session, view.changed_since(view.resolve(known, by_uid=True), since))


async def _list_itself(session: ImapProtocol, name: str, written: str | None) -> None:
    """Send LIST of the mailbox with its attributes, as IMAP4rev2 wants it (RFC 9051 6.3.2)."""
    everything = await session.services.mailboxes.listing(session.signed_in.account)
    names = [listing.Name(row.name, row.special_use, row.subscribed) for row in everything.mailboxes]
    returns = frozenset((commands.Return.SUBSCRIBED, commands.Return.CHILDREN))
    asked = commands.ListMailboxes(commands.ListKind.LIST, "", patterns=(name,), returns=returns, extended=True)
    for line in listing.answer(asked, names, everything.subscriptions):
        session.send(responses.list_line(b"LIST", line.attributes, line.name, old_name=written, utf8=session.utf8))


@handles(commands.Close)
async def close(session: ImapProtocol, command: commands.Close) -> Done:
    """Remove what is marked \\Deleted, silently, and leave; a read-only mailbox is just left."""
    here = session.here
    if not here.read_only and "e" in session.rights:
        await session.services.changer.expunge(here.mailbox, None, session.actor)
    session.unselect()
    return Done("CLOSE completed")


@handles(commands.Unselect)
async def unselect(session: ImapProtocol, command: commands.Unselect) -> Done:
    """Leave; nothing is removed."""
    session.unselect()
    return Done("UNSELECT completed")


@handles(commands.Expunge)
async def expunge(session: ImapProtocol, command: commands.Expunge) -> Done:
    """Remove what is marked \\Deleted: all of it, or what UID EXPUNGE names (RFC 4315 2.1); very many in pieces."""
    here = session.here
    session.refuse_read_only()
    uids = None if command.uids is None else here.view.resolve(command.uids, by_uid=True).uids
    named = here.mailbox.version.flagged(DELETED) if uids is None else uids
    gone = 0
    if len(named) > limits.IMAP_CHANGE_PAGE:
        for page in session.progress.pages(len(named)):
            gone += len(await session.services.changer.expunge(here.mailbox, named[page], session.actor))
            await session.announce_paced(Expunges.ALLOWED)
    if uids is None or 0 < len(uids) <= limits.IMAP_CHANGE_PAGE:
        gone += len(await session.services.changer.expunge(here.mailbox, uids, session.actor))
    return Done("EXPUNGE completed", left_code(session) if gone else b"", Expunges.ALLOWED)
