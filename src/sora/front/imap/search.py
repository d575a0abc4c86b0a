"""Finding messages: SEARCH and UID SEARCH (RFC 3501 6.4.4, RFC 4731, RFC 7162 3.1.5)."""

from collections.abc import Sequence

from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses
from sora.imap.commands import SearchReturn
from sora.imap.view import Expunges


@handles(commands.Search)
async def search(session: ImapProtocol, command: commands.Search) -> Done:
    """Answer with every message that matches, none more and none fewer."""
    here = session.here
    if command.modseq:
        session.condstore = True
    uids = await session.services.searcher.search(here.mailbox, here.view, command.criteria)
    numbers = uids if command.by_uid else here.view.numbers(uids)
    highest = None
    if command.modseq and uids:
        highest = max(here.view.modseq(uid) for uid in uids)
    if command.returns is None:
        session.send(responses.search(numbers, modseq=highest))
    else:
        session.send(_extended(session.tag, command, numbers, highest))
    return Done("SEARCH completed", expunges=Expunges.ALLOWED if command.by_uid else Expunges.FORBIDDEN)


def _extended(tag: bytes, command: commands.Search, numbers: Sequence[int], modseq: int | None) -> bytes:
    returns = command.returns or frozenset({SearchReturn.ALL})
    return responses.esearch(
        tag,
        by_uid=command.by_uid,
        minimum=numbers[0] if numbers and SearchReturn.MIN in returns else None,
        maximum=numbers[-1] if numbers and SearchReturn.MAX in returns else None,
        count=len(numbers) if SearchReturn.COUNT in returns else None,
        everything=numbers if SearchReturn.ALL in returns else None,
        modseq=modseq,
    )
