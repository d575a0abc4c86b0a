"""Searches that go on: RETURN (UPDATE) and CANCELUPDATE (RFC 5267 4.3).

A context remembers what its client was told matches. Whatever changed, or came, since the last announcement is looked
at once more with every announcement; what left is taken out before EXPUNGE shifts the numbers.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import attrs

from sora.core.criteria import Criteria
from sora.core.errors import SoraError
from sora.core.limits import IMAP_CONTEXT_MESSAGES_MAX, IMAP_CONTEXTS_MAX
from sora.core.ordering import Order, SortKey
from sora.core.uidset import UidSet
from sora.front.imap.session import HANDLERS, Done, ImapProtocol, Refusal, handles
from sora.imap import responses
from sora.imap import search_commands as commands
from sora.imap import search_responses as answers
from sora.imap.commands import Fetch
from sora.imap.fetch_items import Attribute, FetchItem
from sora.imap.version import Version
from sora.mail.search import fixed


@attrs.define
class Context:
    """One search with UPDATE."""

    tag: bytes
    criteria: Criteria
    by_uid: bool
    order: Order
    """Empty for SEARCH, whose results are in mailbox order."""
    results: list[int]
    """UIDs, in the order the client has them."""
    items: tuple[FetchItem, ...] = ()
    """What is sent of new messages that match (RFC 5465 7)."""
    place: answers.Place | None = None
    """The mailbox, which every answer to ESEARCH names (RFC 7377 2.1)."""


@attrs.define
class Contexts:
    """The contexts of a selected mailbox, and up to where they know it."""

    version: Version
    last: int
    """The last UID they know."""
    open: list[Context] = attrs.field(factory=list)

    @property
    def size(self) -> int:
        """How many results they remember."""
        return sum(len(one.results) for one in self.open)

    def leaving(self, session: ImapProtocol, before: Sequence[int]) -> None:
        """Take out what the client is about to be told is expunged; `before` are the UIDs by number until then."""
        view = session.here.view
        for one in self.open:
            gone = set(one.results).difference(view.told(one.results))
            if gone:
                self._remove(session, one, gone, before)

    async def settle(self, session: ImapProtocol) -> None:
        """Look at what changed or came, now that the client was told of it."""
        here = session.here
        version, view = here.mailbox.version, here.view
        changed = {uid for step in version.steps_from(self.version) for uid in step.changed}
        known = view.uids
        touched = sorted({*view.told(list(changed)), *known[bisect_left(known, self.last + 1) :]})
        last = self.last
        self.version, self.last = version, view.last_uid
        if not touched:
            return
        for one in list(self.open):
            try:
                await self._look(session, one, touched, last)
            except SoraError as error:
                self.open.remove(one)
                session.send(responses.untagged_no(str(error), code=answers.no_update(one.tag)))

    async def _look(self, session: ImapProtocol, one: Context, touched: Sequence[int], last: int) -> None:
        """Tell what has come to match and what does not any more; messages above `last` are new."""
        here = session.here
        matching = await session.services.searcher.still(here.mailbox, here.view, one.criteria, touched)
        members = set(one.results)
        gone = members.intersection(touched) - matching
        come = matching - members
        if gone:
            self._remove(session, one, gone, here.view.uids)
        if not come:
            return
        new, items = [uid for uid in sorted(come) if uid > last], one.items
        if session.notify is not None:
            items = session.notify.combined(new, items)
        await show(session, new, items)
        one.results = sorted([*one.results, *come])
        if one.order:
            one.results = await session.services.orders.order(
                here.mailbox.row.id, one.order, one.results, told=here.view.uids
            )
        placed = _runs(one.results, come) if one.order else [(0, sorted(come))]
        shown = [(place, uids if one.by_uid else here.view.numbers(uids)) for place, uids in placed]
        session.send(answers.update(one.tag, b"ADDTO", shown, by_uid=one.by_uid, place=one.place))

    def _remove(self, session: ImapProtocol, one: Context, gone: set[int], numbered: Sequence[int]) -> None:
        removed = list(_runs(one.results, gone)) if one.order else [(0, sorted(gone))]
        one.results = [uid for uid in one.results if uid not in gone]
        shown = []
        taken = 0
        for place, uids in removed:
            # Each run is taken out before the next one is.
            shown.append((place - taken if place else 0, uids))
            taken += len(uids)
        if not one.by_uid:
            shown = [(place, [bisect_left(numbered, uid) + 1 for uid in uids]) for place, uids in shown]
        session.send(answers.update(one.tag, b"REMOVEFROM", shown, by_uid=one.by_uid, place=one.place))


def _runs(results: Sequence[int], named: set[int]) -> Iterator[tuple[int, list[int]]]:
    """Yield the runs of named UIDs among results, with the position (from 1) of each."""
    run: list[int] = []
    for position, uid in enumerate(results, 1):
        if uid in named:
            run.append(uid)
        elif run:
            yield position - len(run), run
            run = []
    if run:
        yield len(results) + 1 - len(run), run


def refuse_reuse(session: ImapProtocol) -> None:
    """Refuse a tag that a context goes by (RFC 5267 4.3)."""
    contexts = session.here.contexts
    if contexts is not None and any(one.tag == session.tag for one in contexts.open):
        raise Refusal("this tag names a search that goes on", bad=True)


def follow(
    session: ImapProtocol,
    command: commands.Search | commands.Sort,
    uids: Sequence[int],
    place: answers.Place | None = None,
) -> None:
    """Go on with a search that has just found `uids`, or say that there are too many."""
    here = session.here
    if here.contexts is None:
        here.contexts = Contexts(here.mailbox.version, here.view.last_uid)
    contexts = here.contexts
    order = command.keys if isinstance(command, commands.Sort) else ()
    many = len(contexts.open) >= IMAP_CONTEXTS_MAX or contexts.size + len(uids) > IMAP_CONTEXT_MESSAGES_MAX
    if many or any(key is SortKey.RELEVANCY for key, _ in order):
        session.send(responses.untagged_no("not followed: too much is", code=answers.no_update(session.tag)))
        return
    criteria = fixed(command.criteria, here.view)
    items = command.returns.items if command.returns is not None else ()
    contexts.open.append(Context(session.tag, criteria, command.by_uid, order, list(uids), items, place))


async def show(session: ImapProtocol, uids: Sequence[int], items: tuple[FetchItem, ...]) -> None:
    """Send what a client has asked of new messages; those that cannot be read now are left out."""
    if not uids or not items:
        return
    if session.rev2:
        # Nobody asks for this FETCH (RFC 9051 E 21).
        items = tuple(dict.fromkeys((Attribute.UID, *items)))
    try:
        numbers = UidSet(tuple((uid, uid) for uid in uids))
        await HANDLERS[Fetch](session, Fetch(numbers, items, by_uid=True))
    except (SoraError, Refusal) as error:
        session.log.warn("new messages could not be shown: {error}", error=str(error))


@handles(commands.CancelUpdate)
async def cancel(session: ImapProtocol, command: commands.CancelUpdate) -> Done:
    """End contexts; tags that name none are nothing to complain of."""
    contexts = session.here.contexts
    if contexts is not None:
        contexts.open = [one for one in contexts.open if one.tag not in command.tags]
    return Done("no further updates")
