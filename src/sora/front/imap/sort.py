"""Finding messages in an order, or in threads: SORT and THREAD (RFC 5256, RFC 5267 3, RFC 5957)."""

from collections.abc import Sequence

from sora.core.ordering import SortKey
from sora.front.imap import search_filters
from sora.front.imap.search import answer, begin, forgetting, highest, shifting
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import search_commands as commands
from sora.imap import search_responses as responses


@handles(commands.Sort)
async def sort(session: ImapProtocol, command: commands.Sort) -> Done:
    """Answer with every message that matches, in order."""
    here = session.here
    with forgetting(session, command.returns):
        command = await begin(session, command)
        found = await session.services.searcher.search(here.mailbox, here.view, command.criteria)
        uids = await ordered(session, command, found)
        if command.returns is None:
            numbers = uids if command.by_uid else here.view.numbers(uids)
            session.send(
                responses.numbers(b"SORT", responses.words(numbers), modseq=highest(here.view, command.modseq, uids))
            )
        else:
            await answer(session, command, command.returns, uids)
    return Done("SORT completed", expunges=shifting(command))


async def ordered(session: ImapProtocol, command: commands.Sort, uids: Sequence[int]) -> list[int]:
    """Put found UIDs in the order that is asked for: the store's, or with RELEVANCY key by key from the last on."""
    here = session.here
    keys = command.keys
    order = session.services.orders.order
    if all(key is not SortKey.RELEVANCY for key, _ in keys):
        return await order(here.mailbox.row.id, keys, uids, told=here.view.uids)
    scores = await session.services.searcher.scores(here.mailbox, here.view, command.criteria, uids)
    found = list(uids)
    for key, backwards in reversed(keys):
        if key is SortKey.RELEVANCY:
            # The best comes first (RFC 6203 6); equals stay as they are.
            found.sort(key=scores.__getitem__, reverse=not backwards)
            continue
        forth, back = [
            await order(here.mailbox.row.id, ((key, how),), uids, told=here.view.uids)
            for how in (backwards, not backwards)
        ]
        ranks = _ranks(forth, back)
        found = [uid for uid in found if uid in ranks]
        found.sort(key=ranks.__getitem__)
    return found


def _ranks(forth: Sequence[int], back: Sequence[int]) -> dict[int, int]:
    """Return ranks, alike for equals: those stand in the order of their UIDs forth and back."""
    places = {uid: place for place, uid in enumerate(back)}
    ranks: dict[int, int] = {}
    rank = before = 0
    for uid in forth:
        if before and places[before] > places[uid]:
            rank += 1
        ranks[uid] = rank
        before = uid
    return ranks


@handles(commands.Thread)
async def threads(session: ImapProtocol, command: commands.Thread) -> Done:
    """Answer with every message that matches, in threads."""
    here = session.here
    command = await search_filters.applied(session, command)
    uids = await session.services.searcher.search(here.mailbox, here.view, command.criteria)
    labels = uids if command.by_uid else here.view.numbers(uids)
    text = await session.services.orders.threads(
        here.mailbox.row.id, command.algorithm, uids, labels, told=here.view.uids
    )
    session.send(b"* THREAD %b\r\n" % text if text else b"* THREAD\r\n")
    return Done("THREAD completed", expunges=shifting(command))
