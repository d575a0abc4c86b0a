"""Counters of a mailbox without selecting it: STATUS, also as LIST returns it.

RFC 3501 6.3.10, RFC 5819, RFC 7162 3.1.7, RFC 7889, RFC 8438, RFC 8474 4.3, RFC 9208 4.1.4.
"""

from collections.abc import Collection

from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, object_id, responses
from sora.imap.commands import StatusItem
from sora.store.model import MailboxRow


@handles(commands.Status)
async def status(session: ImapProtocol, command: commands.Status) -> Done:
    """Give a mailbox's counters without selecting it."""
    row = await session.services.mailboxes.find(session.signed_in.account, command.mailbox)
    heed(session, command.items)
    session.send(status_line(session, command.mailbox, row, command.items))
    return Done("STATUS completed")


def heed(session: ImapProtocol, items: Collection[StatusItem]) -> None:
    """Turn CONDSTORE on if a client asks for HIGHESTMODSEQ (RFC 7162 3.1)."""
    if StatusItem.HIGHESTMODSEQ in items:
        session.follow_modseqs()


def status_line(session: ImapProtocol, name: str, row: MailboxRow, items: tuple[StatusItem, ...]) -> bytes:
    """Write STATUS of a mailbox."""
    if session.rev2:
        # RFC 9051 E: there is no \\Recent any more.
        items = tuple(item for item in items if item is not StatusItem.RECENT)
    return responses.status(name, [_word(session, row, item) for item in items], utf8=session.utf8)


def _word(session: ImapProtocol, row: MailboxRow, item: StatusItem) -> bytes:
    if item is StatusItem.MAILBOXID:
        return object_id.mailbox_id(row.id)
    numbers = {
        StatusItem.MESSAGES: row.messages,
        StatusItem.RECENT: row.recent,
        StatusItem.UIDNEXT: row.uid_next,
        StatusItem.UIDVALIDITY: row.uid_validity,
        StatusItem.UNSEEN: row.unseen,
        StatusItem.HIGHESTMODSEQ: row.highest_modseq,
        StatusItem.SIZE: row.size,
        StatusItem.DELETED: row.deleted,
        StatusItem.DELETED_STORAGE: row.deleted_size,
        StatusItem.APPENDLIMIT: session.services.append_max,
    }
    return b"%b %d" % (item.value, numbers[item])
