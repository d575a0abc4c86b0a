"""Messages from the client: APPEND (RFC 3501 6.3.11, RFC 4315)."""

from sora.core.errors import NoSuchMailbox
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, responses


@handles(commands.Append)
async def append(session: ImapProtocol, command: commands.Append) -> Done:
    """Store one message; OK means that it is committed."""
    user = session.signed_in
    try:
        mailbox = await session.services.mailboxes.find(user.account, command.mailbox)
        inserted = await session.services.appender.append(
            mailbox.id,
            command.message,
            account=user.account,
            domain=user.address.rpartition("@")[2],
            flags=command.flags,
            keywords=command.keywords,
            internal_date=command.internal_date,
        )
    except NoSuchMailbox:
        raise Refusal("no such mailbox", b"TRYCREATE") from None
    session.services.wake_uploader()
    if session.selected is not None and session.selected.name == command.mailbox:
        await session.selected.mailbox.refresh()
    return Done("APPEND completed", responses.append_uid(inserted.uid_validity, [inserted.uid]))
