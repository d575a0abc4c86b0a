"""What a returning client is told: VANISHED (EARLIER), and FETCH of what changed (RFC 7162 3.2.5, 3.2.6)."""

from collections.abc import Sequence
from typing import Final

from sora.front.imap.session import ImapProtocol
from sora.imap import responses, resync
from sora.imap.targets import Targets

_LINES_AT_ONCE: Final = 2_000
"""Messages answered between two looks at the peer's pace."""


async def tell_vanished(
    session: ImapProtocol, known: resync.Ranges, departed: Sequence[int] | None, *, above: int = 0
) -> None:
    """Tell which of the known UIDs are gone and not counted by the client any more; nothing up to `above`."""
    here = session.here
    there = here.mailbox.version.uids
    gone = resync.vanished(
        known,
        uids=here.view.uids,
        fresh=() if there is here.view.uids else there,
        uid_next=here.mailbox.row.uid_next,
        departed=departed,
        above=above,
    )
    for start in range(0, len(gone), resync.RANGES_AT_ONCE):
        session.send(responses.vanished(gone[start : start + resync.RANGES_AT_ONCE], earlier=True))
        await session.drained()


async def tell_changes(session: ImapProtocol, changed: Targets) -> None:
    """Tell UID, flags and modseq of messages."""
    view = session.here.view
    shape = [responses.SHAPE_UID, responses.SHAPE_FLAGS, responses.SHAPE_MODSEQ]
    for start in range(0, len(changed), _LINES_AT_ONCE):
        page = list(changed[start : start + _LINES_AT_ONCE])
        columns: list[Sequence[int] | Sequence[bytes]] = [
            [uid for _, uid in page],
            session.flag_texts(page),
            view.modseqs(page),
        ]
        session.send(session.fetch_lines(page, shape, columns))
        await session.drained()


def left_code(session: ImapProtocol) -> bytes:
    """Return the code of a command by which messages left the mailbox (RFC 7162 3.2.7); empty without QRESYNC."""
    return responses.highest_modseq(session.here.mailbox.version.modseq) if session.qresync else b""
