"""Flags: STORE and UID STORE (RFC 3501 6.4.6, RFC 7162 3.1.3)."""

from collections.abc import Sequence

from sora.core import limits
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses
from sora.imap.targets import Targets
from sora.imap.view import Expunges, OwnStore
from sora.store.model import FlagChange, FlagsStored


@handles(commands.Store)
async def store(session: ImapProtocol, command: commands.Store) -> Done:
    """Change flags, very many in several statements; the answers are what the database says the flags are now."""
    session.refuse_read_only()
    if command.unchanged_since is not None:
        session.follow_modseqs()
    expunges = Expunges.ALLOWED if command.by_uid else Expunges.FORBIDDEN
    targets = session.here.view.resolve(command.numbers, by_uid=command.by_uid)
    refused: list[int] = []
    for page in session.progress.pages(len(targets)):
        refused += await _store(session, command, targets[page])
        if len(targets) > limits.IMAP_CHANGE_PAGE:
            await session.announce_paced(Expunges.FORBIDDEN)
    if refused:
        return Done("some were changed meanwhile", responses.modified(refused), expunges)
    return Done("STORE completed", expunges=expunges)


async def _store(session: ImapProtocol, command: commands.Store, targets: Targets) -> list[int]:
    """Change flags in one statement; returns the messages that were not changed, as the client named them."""
    here = session.here
    uids = tuple(targets.uids)
    change = FlagChange(uids, command.change, command.flags, command.keywords, command.unchanged_since)
    stored = (await session.services.changer.store(here.mailbox, [change]))[0]
    session.tell_keywords()
    await session.drained()
    now = stored.columns
    own = OwnStore(now.uids, now.modseqs, command.change, command.flags, command.keywords)
    answered = here.view.stored(own, version=here.mailbox.version, silent=command.silent)
    # What a silent STORE answers is nothing that was asked for: it has the UID (RFC 9051 E 21).
    with_uid = command.by_uid or session.condstore or (command.silent and session.rev2)
    if answered:
        shape = [responses.SHAPE_FLAGS]
        columns: list[Sequence[int] | Sequence[bytes]] = [session.flag_texts(answered)]
        if with_uid:
            shape.insert(0, responses.SHAPE_UID)
            columns.insert(0, [uid for _, uid in answered])
        if session.condstore:
            shape.append(responses.SHAPE_MODSEQ)
            columns.append(here.view.modseqs(answered))
        session.send(session.fetch_lines(answered, shape, columns))
        await session.drained()
    if command.silent and session.condstore:
        _send_modseqs(session, stored, {uid for _, uid in answered})
    refused = set(stored.refused)
    return [uid if command.by_uid else number for number, uid in targets if uid in refused] if refused else []


def _send_modseqs(session: ImapProtocol, stored: FlagsStored, answered: set[int]) -> None:
    """Tell a client that follows modseqs what they are after its silent STORE (RFC 7162 3.1.3)."""
    now = stored.columns
    told = [pair for pair in zip(now.uids, now.modseqs, strict=True) if pair[0] not in answered]
    uids = [uid for uid, _ in told]
    pairs = list(zip(session.here.view.numbers(uids), uids, strict=True))
    columns = [uids, [modseq for _, modseq in told]]
    session.send(session.fetch_lines(pairs, [responses.SHAPE_UID, responses.SHAPE_MODSEQ], columns))
