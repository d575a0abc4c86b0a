"""Messages from the client: APPEND (RFC 3501 6.3.11, RFC 3502, RFC 4315)."""

from sora.core.errors import SoraError
from sora.front.imap.catenate import mails
from sora.front.imap.mailboxes import tell_canonical
from sora.front.imap.quota import warn
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses
from sora.store.model import Inserted, Named


@handles(commands.Append)
async def append(session: ImapProtocol, command: commands.Append) -> Done:
    """Store messages, all or none; OK means that they are committed."""
    user = session.signed_in
    inserted = await session.services.appender.append_all(
        Named(user.account, command.mailbox),
        await mails(session, command.messages),
        account=user.account,
        domain=user.address.rpartition("@")[2],
    )
    session.services.wake_uploader()
    warn(session, command.mailbox, inserted)
    if session.notify is not None:
        session.notify.stored(inserted[0].uid_validity, (one.uid for one in inserted))
    await _show(session, command.mailbox, inserted[-1])
    if command.written is not None:
        tell_canonical(session, command.mailbox, command.written)
    if inserted[0].secret:
        return Done("APPEND completed")
    return Done("APPEND completed", responses.append_uid(inserted[0].uid_validity, [one.uid for one in inserted]))


async def _show(session: ImapProtocol, mailbox: str, last: Inserted) -> None:
    """Have the selected mailbox show what came into it, if it is that one."""
    if session.selected is not None and session.selected.name == mailbox:
        try:
            await session.selected.mailbox.reach(last.modseq)
        except SoraError as error:
            # The message is stored: a NO would have the client send it again.
            session.log.warn("a message was appended but could not be read back yet: {error}", error=error)
