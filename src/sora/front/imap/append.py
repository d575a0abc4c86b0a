"""Messages from the client: APPEND (RFC 3501 6.3.11, RFC 4315)."""

from sora.core.errors import SoraError
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses
from sora.store.model import Named


@handles(commands.Append)
async def append(session: ImapProtocol, command: commands.Append) -> Done:
    """Store one message; OK means that it is committed."""
    user = session.signed_in
    inserted = await session.services.appender.append(
        Named(user.account, command.mailbox),
        command.message,
        account=user.account,
        domain=user.address.rpartition("@")[2],
        flags=command.flags,
        keywords=command.keywords,
        internal_date=command.internal_date,
    )
    session.services.wake_uploader()
    if session.selected is not None and session.selected.name == command.mailbox:
        try:
            await session.selected.mailbox.reach(inserted.modseq)
        except SoraError as error:
            # The message is stored: a NO would have the client send it again.
            session.log.warn("a message was appended but could not be read back yet: {error}", error=error)
    return Done("APPEND completed", responses.append_uid(inserted.uid_validity, [inserted.uid]))
