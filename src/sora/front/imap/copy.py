"""Messages to other mailboxes: COPY and MOVE (RFC 3501 6.4.7, RFC 6851, RFC 4315)."""

from collections.abc import Sequence

from sora.core import limits
from sora.core.uidset import PIECE, compact, compacted
from sora.front.imap.resync import left_code
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses
from sora.imap.view import Expunges
from sora.store.model import Named


@handles(commands.Copy)
async def copy(session: ImapProtocol, command: commands.Copy) -> Done:
    """Copy messages, all or none."""
    here = session.here
    uids = here.view.resolve(command.numbers, by_uid=command.by_uid).uids
    if not uids:
        return Done("COPY completed, there was nothing to copy")
    copied = await session.services.changer.copy(here.mailbox, uids, _target(session, command.mailbox))
    if session.notify is not None:
        session.notify.stored(copied.uid_validity, copied.target)
    if not copied.source or copied.secret:
        return Done("COPY completed")
    sets = [await _written(session, copied.source), await _written(session, copied.target)]
    return Done("COPY completed", responses.copy_uid(copied.uid_validity, *sets))


async def _written(session: ImapProtocol, uids: Sequence[int]) -> str:
    """Write UIDs as a set; of very many a piece at a time, so that others have their turn."""
    pieces = []
    for piece in compacted(uids):
        if piece:
            pieces.append(piece)
        if len(uids) > PIECE:
            await session.drained()
    return ",".join(pieces)


@handles(commands.Move)
async def move(session: ImapProtocol, command: commands.Move) -> Done:
    """Move messages, very many in several transactions; COPYUID comes before the EXPUNGEs (RFC 6851 3.3, 4.3).

    Each message is moved or is not (RFC 6851 3.3); the command may end with NO when some were.
    """
    here = session.here
    session.refuse_read_only()
    uids = here.view.resolve(command.numbers, by_uid=command.by_uid).uids
    if not uids:
        return Done("MOVE completed, there was nothing to move")
    target = _target(session, command.mailbox)
    left = False
    for page in session.progress.pages(len(uids)):
        moved = await session.services.changer.move(here.mailbox, uids[page], target, session.actor)
        left = left or bool(moved.source)
        if moved.source and not moved.secret:
            code = responses.copy_uid(moved.uid_validity, compact(moved.source), compact(moved.target))
            session.send(responses.untagged_ok("moved", code=code))
        if len(uids) > limits.IMAP_CHANGE_PAGE:
            await session.announce_paced(Expunges.ALLOWED)
    return Done("MOVE completed", left_code(session) if left else b"", Expunges.ALLOWED)


def _target(session: ImapProtocol, name: str) -> Named:
    return Named(session.signed_in.account, name)
