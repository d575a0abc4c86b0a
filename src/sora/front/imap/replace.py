"""One message for another in one step: REPLACE and UID REPLACE (RFC 8508)."""

from sora.core.errors import CommitUnknown, NoSuchMessage
from sora.core.uidset import STAR
from sora.front.imap.catenate import mails
from sora.front.imap.quota import warn
from sora.front.imap.resync import left_code
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, responses
from sora.store.model import Named


@handles(commands.Replace)
async def replace(session: ImapProtocol, command: commands.Replace) -> Done:
    """Store the new message and remove the old one, in one transaction; OK means that both are committed."""
    session.refuse_read_only()
    here, user = session.here, session.signed_in
    if command.by_uid:
        uid = here.view.last_uid if command.number == STAR else command.number
        if not here.view.has(uid):
            raise NoSuchMessage("there is no such message")
    else:
        number = here.view.count if command.number == STAR else command.number
        if not 0 < number <= here.view.count:
            raise Refusal("there is no such message", bad=True)
        uid = here.view.uid_at(number)
    mail = (await mails(session, [command.message]))[0]
    with here.mailbox.writing():
        try:
            inserted = await session.services.appender.replace(
                here.mailbox.row.id,
                uid,
                Named(user.account, command.mailbox),
                mail,
                session.actor,
                account=user.account,
                domain=user.address.rpartition("@")[2],
            )
        except CommitUnknown:
            await session.services.changer.show(here.mailbox)
            raise
        if session.notify is not None:
            session.notify.stored(inserted.uid_validity, (inserted.uid,))
        await session.services.changer.show(here.mailbox)
    session.services.wake_uploader()
    warn(session, command.mailbox, [inserted])
    # Before the EXPUNGE, so that the client has the new message when the old one goes (RFC 8508 4.3).
    if not inserted.secret:
        code = responses.append_uid(inserted.uid_validity, [inserted.uid])
        session.send(responses.untagged_ok("the replacement is there", code=code))
    # The old one has left as by UID EXPUNGE (RFC 8508 4.5, RFC 7162 3.2.9).
    return Done("REPLACE completed", left_code(session))
