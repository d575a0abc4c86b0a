"""Searching several mailboxes at once: ESEARCH (RFC 7377). One statement for all that are not selected."""

from collections.abc import Sequence

from sora.core.ids import MailboxId
from sora.front.imap import search
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import search_commands as commands
from sora.imap import search_responses as responses
from sora.imap.mailbox_name import INBOX, SEPARATOR
from sora.imap.search_commands import SearchReturn, Source
from sora.imap.view import SessionView
from sora.mail.live import OpenMailbox
from sora.store.model import Listing, MailboxRow


@handles(commands.MultiSearch)
async def multi_search(session: ImapProtocol, command: commands.MultiSearch) -> Done:
    """Answer for each mailbox in which something matches."""
    wants_selected = any(source is Source.SELECTED for source, _ in command.sources)
    selected = session.selected
    if selected is None and (wants_selected or SearchReturn.UPDATE in command.returns):
        raise Refusal("no mailbox is selected", bad=True)
    with search.forgetting(session, command.returns):
        command = await search.begin(session, command)
        here = selected.mailbox.row.id if selected is not None else None
        rows: list[MailboxRow] = []
        if any(source is not Source.SELECTED for source, _ in command.sources):
            listing = await session.services.mailboxes.listing(session.signed_in.account)
            rows = [row for row in named(listing, command.sources) if "r" in row.rights]
        if selected is not None and (wants_selected or any(row.id == here for row in rows)):
            await _selected(session, command)
        await _others(session, command, [row for row in rows if row.id != here])
    return Done("ESEARCH completed")


async def _selected(session: ImapProtocol, command: commands.MultiSearch) -> None:
    here = session.here
    single = commands.Search(command.criteria, by_uid=True, modseq=command.modseq, returns=command.returns)
    uids = await session.services.searcher.search(here.mailbox, here.view, command.criteria)
    place = responses.Place(here.name, here.mailbox.row.uid_validity, session.utf8)
    await search.answer(session, single, command.returns, uids, place=place)


async def _others(session: ImapProtocol, command: commands.MultiSearch, rows: Sequence[MailboxRow]) -> None:
    if not rows:
        return
    reader = session.services.sharing.reader(session.signed_in.account)
    mailboxes = [MailboxId(row.id) for row in rows]
    found = await session.services.searcher.search_many(mailboxes, command.criteria, reader=reader)
    for row in rows:
        result = found.get(row.id)
        if result is None:
            continue
        if result.undecided or command.modseq or SearchReturn.RELEVANCY in command.returns:
            await _closely(session, command, row)
        else:
            _tell(session, command, row, list(result.uids))
        await session.drained()


async def _closely(session: ImapProtocol, command: commands.MultiSearch, row: MailboxRow) -> None:
    """Search a mailbox as if it were selected: bytes decide, or more is asked than what was found."""
    mailbox: OpenMailbox = await session.services.live.open(session.signed_in.account, row.name, claim_recent=False)
    try:
        view = SessionView(mailbox.version, recent_from=mailbox.recent_from)
        searcher = session.services.searcher
        uids = await searcher.search(mailbox, view, command.criteria)
        modseq = search.highest(view, command.modseq, uids)
        scores = None
        if SearchReturn.RELEVANCY in command.returns:
            by_uid = await searcher.scores(mailbox, view, command.criteria, uids)
            scores = [by_uid[uid] for uid in uids]
        _tell(session, command, row, uids, modseq=modseq, scores=scores)
    finally:
        mailbox.close()


def _tell(
    session: ImapProtocol,
    command: commands.MultiSearch,
    row: MailboxRow,
    uids: list[int],
    *,
    modseq: int | None = None,
    scores: list[int] | None = None,
) -> None:
    if not uids:
        return
    if scores is not None and command.returns.partial is not None:
        scores = list(search.picked(command.returns.partial, scores))
    results = search.said(command.returns, uids, modseq=modseq, scores=scores)
    place = responses.Place(row.name, row.uid_validity, session.utf8)
    session.send(responses.esearch(session.tag, results, by_uid=True, place=place))


def named(listing: Listing, sources: Sequence[tuple[Source, tuple[str, ...]]]) -> list[MailboxRow]:
    """Return the mailboxes that sources name, each once, in the order of their names."""
    names: dict[Source, set[str]] = {source: set() for source in Source}
    for source, more in sources:
        names[source].update(more)
    asked = {source for source, _ in sources}
    whole, trees, levels = names[Source.MAILBOXES], names[Source.SUBTREE], names[Source.SUBTREE_ONE]
    if Source.INBOXES in asked:
        whole.add(INBOX)
    if Source.SUBSCRIBED in asked:
        whole.update(listing.subscriptions)

    def wanted(name: str) -> bool:
        parent = name.rpartition(SEPARATOR)[0]
        if Source.PERSONAL in asked or any(name in these for these in (whole, trees, levels)) or parent in levels:
            return True
        while parent and parent not in trees:
            parent = parent.rpartition(SEPARATOR)[0]
        return bool(parent)

    return [row for row in listing.mailboxes if wanted(row.name)]
