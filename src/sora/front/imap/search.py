"""Finding messages: SEARCH and UID SEARCH (RFC 3501 6.4.4), and what all searching commands answer alike.

Result options: RFC 4731, 5182, 5267, 6203, 7162 3.1.5, 9394. Numbers are those of the session, and stay what they are
until the command has ended, unless it is a UID command without any.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sora.core.criteria import Numbers
from sora.core.errors import SoraError
from sora.core.uidset import PIECE
from sora.front.imap import context, search_filters
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import search_commands as commands
from sora.imap import search_responses as responses
from sora.imap.fetch_items import Range
from sora.imap.search_commands import EVERYTHING, Returns, SearchReturn
from sora.imap.search_responses import Place, Results
from sora.imap.view import Expunges, SessionView

S = TypeVar("S", commands.Search, commands.Sort, commands.MultiSearch)


@handles(commands.Search)
async def search(session: ImapProtocol, command: commands.Search) -> Done:
    """Answer with every message that matches, none more and none fewer."""
    here = session.here
    with forgetting(session, command.returns):
        command = await begin(session, command)
        uids = await session.services.searcher.search(here.mailbox, here.view, command.criteria)
        if command.returns is None and not session.rev2:
            words = await _words(session, uids, by_uid=command.by_uid)
            session.send(responses.numbers(b"SEARCH", words, modseq=highest(here.view, command.modseq, uids)))
        else:
            await answer(session, command, command.returns or EVERYTHING, uids)
    return Done("SEARCH completed", expunges=shifting(command))


def shifting(command: commands.Search | commands.Sort | commands.Thread) -> Expunges:
    """Tell whether numbers may change before the answer: not if the client uses or awaits some (RFC 7162 3.2.10.2)."""
    numbered = any(isinstance(step, Numbers) for step in command.criteria.steps)
    return Expunges.ALLOWED if command.by_uid and not numbered else Expunges.FORBIDDEN


async def _words(session: ImapProtocol, uids: Sequence[int], *, by_uid: bool) -> bytes:
    """Write what was found, very much of it a piece at a time, so that others have their turn."""
    view, pieces = session.here.view, []
    for start in range(0, len(uids), PIECE):
        piece = uids[start : start + PIECE]
        pieces.append(responses.words(piece if by_uid else view.numbers(piece)))
        if len(uids) > PIECE:
            await session.drained()
    return b" ".join(pieces)


async def begin(session: ImapProtocol, command: S) -> S:
    """Do what goes before any search, and return what is to be sought."""
    if command.refusal is not None:
        raise command.refusal
    command = await search_filters.applied(session, command)
    if command.modseq:
        session.follow_modseqs()
    if command.returns is not None and SearchReturn.UPDATE in command.returns:
        context.refuse_reuse(session)
    return command


@contextmanager
def forgetting(session: ImapProtocol, returns: Returns | None) -> Iterator[None]:
    """Empty `$` if a search that was to save its result is answered NO (RFC 5182 2.1)."""
    try:
        yield
    except (SoraError, Refusal) as error:
        bad = isinstance(error, Refusal) and error.bad
        if returns is not None and returns.saves and session.selected is not None and not bad:
            session.selected.view.saved = ()
        raise


def highest(view: SessionView, wanted: bool, uids: Sequence[int]) -> int | None:
    """Return the highest modseq of messages if it is wanted and there are any."""
    return max(map(view.modseq, uids)) if wanted and uids else None


async def answer(
    session: ImapProtocol,
    command: commands.Search | commands.Sort,
    returns: Returns,
    uids: Sequence[int],
    *,
    place: Place | None = None,
) -> None:
    """Send ESEARCH about results in their order, and do what else was asked for: SAVE, UPDATE.

    With a `place` the answer is one of several, which says nothing where nothing was found (RFC 7377 2.1).
    """
    here = session.here
    saved, modseq = [*uids], None
    few = chosen(returns, uids)
    if command.modseq:
        named = uids if {SearchReturn.ALL, SearchReturn.COUNT} & returns.options else few
        modseq = highest(here.view, True, named)
    if returns.saves:
        narrow = returns.partial is not None or {SearchReturn.MIN, SearchReturn.MAX} & returns.options
        if narrow and not {SearchReturn.ALL, SearchReturn.COUNT} & returns.options:
            saved = few
        here.view.saved = sorted(saved)
    scores = None
    if SearchReturn.RELEVANCY in returns:
        shown = picked(returns.partial, uids) if returns.partial is not None else uids
        by_uid = await session.services.searcher.scores(here.mailbox, here.view, command.criteria, shown)
        scores = [by_uid[uid] for uid in shown]
    if SearchReturn.UPDATE in returns:
        context.follow(session, command, uids, place)
    if place is not None and not uids:
        return
    if returns.options - {SearchReturn.SAVE, SearchReturn.UPDATE, SearchReturn.CONTEXT} or returns.partial:
        numbers = uids if command.by_uid else here.view.numbers(uids)
        results = said(returns, numbers, modseq=modseq, scores=scores)
        session.send(responses.esearch(session.tag, results, by_uid=command.by_uid, place=place))


def said(
    returns: Returns, found: Sequence[int], *, modseq: int | None = None, scores: Sequence[int] | None = None
) -> Results:
    """Return what ESEARCH says of results in their order."""
    return Results(
        minimum=found[0] if found and SearchReturn.MIN in returns else None,
        maximum=found[-1] if found and SearchReturn.MAX in returns else None,
        count=len(found) if SearchReturn.COUNT in returns else None,
        everything=found if SearchReturn.ALL in returns else None,
        partial=(returns.partial, picked(returns.partial, found)) if returns.partial is not None else None,
        modseq=modseq,
        scores=scores,
    )


def picked(asked: Range, found: Sequence[int]) -> Sequence[int]:
    """Return the results in a range, in the order of the results (RFC 9394 3.1)."""
    if asked.from_end:
        return found[max(len(found) - asked.last, 0) : max(len(found) - asked.first + 1, 0)]
    return found[asked.first - 1 : asked.last]


def chosen(returns: Returns, uids: Sequence[int]) -> list[int]:
    """Return what MIN, MAX and PARTIAL name: what SAVE saves when neither ALL nor COUNT is there (RFC 9394 3.2)."""
    few: list[int] = []
    if returns.partial is not None:
        few += picked(returns.partial, uids)
    if uids and SearchReturn.MIN in returns:
        few.append(uids[0])
    if uids and SearchReturn.MAX in returns:
        few.append(uids[-1])
    return sorted(set(few))
