"""The only place where a search is decided: from the view, by the store, and from bytes where text was cut.

Every message that matches is found and no other. What only a message's bytes can tell is read from them;
if they cannot be read now the search fails, because an answer that may lack messages would be wrong.
"""

from collections.abc import Callable
from datetime import UTC
from typing import Final

from twisted.internet.defer import Deferred

from sora.core.criteria import And, Criteria, Not, Numbers, Step, Uids
from sora.core.errors import BodyUnavailable
from sora.core.ids import Uid
from sora.core.uidset import UidSet
from sora.imap.view import SessionView
from sora.mail import search_view
from sora.mail.live import OpenMailbox
from sora.mail.read import Message, MessageReader
from sora.mail.search_text import WholeText, whole
from sora.store.evaluate import Facts, evaluate
from sora.store.interfaces import BodyReader, Messages
from sora.store.model import Want

_NOTHING: Final = (And(0), Not())
"""The steps that no message matches."""


class Searcher:
    """Searches an open mailbox as one session sees it.

    `background` runs a function in a thread (`partial(aio.in_thread, reactor, pool)`): reading all the text
    of a large message takes long.
    """

    def __init__(
        self,
        messages: Messages,
        bodies: BodyReader,
        *,
        background: "Callable[[Callable[[bytes], WholeText], bytes], Deferred[WholeText]] | None" = None,
    ) -> None:
        self._messages = messages
        self._reader = MessageReader(messages, bodies)
        self._background = background

    async def search(self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria) -> list[int]:
        """Return the UIDs that match, ascending; only of messages the client was told of.

        Raises `BodyUnavailable` if bytes that would decide cannot be read now.
        """
        resolved = resolve(criteria, view)
        if search_view.answerable(resolved):
            return search_view.search(resolved, view.columns(mailbox.version))
        if not view.count:
            return []
        found = await self._messages.search(
            mailbox.row.id, resolved, recent_from=Uid(view.recent_from), uid_max=view.last_uid
        )
        uids = list(found.uids)
        if found.undecided:
            uids = sorted({*uids, *await self._decide(mailbox, view, resolved, list(found.undecided))})
        return view.told(uids)

    async def _decide(
        self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria, undecided: list[int]
    ) -> list[int]:
        chosen = []
        undecided = view.told(undecided)
        async for page in self._reader.pages(mailbox.row.id, undecided, Want.INTERNAL_DATE | Want.SIZE | Want.BYTES):
            for message in page:
                result = evaluate(criteria, await self._facts(view, message))
                if result is None:
                    raise BodyUnavailable("a message is too large to be searched completely")
                if result:
                    chosen.append(int(message.row.uid))
        return chosen

    async def _facts(self, view: SessionView, message: Message) -> Facts:
        row, data = message.row, message.data
        if isinstance(data, Exception):
            raise data
        if data is None:
            raise BodyUnavailable("a message's bytes cannot be read now")
        if self._background is None:
            text = whole(data)
        else:
            text = await self._background(whole, data)
        return Facts(
            uid=row.uid,
            flags=view.flags(row.uid),
            keywords=frozenset(word.lower() for word in view.keywords(row.uid)),
            recent=view.is_recent(row.uid),
            modseq=view.modseq(row.uid),
            size=row.size,
            internal_day=row.internal_date.astimezone(UTC).date() if row.internal_date is not None else None,
            text=text,
            trace=row.trace or b"",
        )


def resolve(criteria: Criteria, view: SessionView) -> Criteria:
    """Replace sequence numbers by UIDs and `*` by the last message the client was told of (RFC 3501 6.4.8)."""
    steps: list[Step] = []
    for step in criteria.steps:
        if isinstance(step, Numbers):
            steps.extend(_uids(_numbered(step.numbers, view)))
        elif isinstance(step, Uids):
            steps.extend(_uids(step.uids.resolve(view.last_uid)))
        else:
            steps.append(step)
    return Criteria(tuple(steps))


def _numbered(numbers: UidSet, view: SessionView) -> list[tuple[int, int]]:
    uids, count = view.uids, view.count
    pairs = [(low, min(high, count)) for low, high in numbers.resolve(count) if low <= count]
    return [(uids[low - 1], uids[high - 1]) for low, high in pairs]


def _uids(pairs: list[tuple[int, int]]) -> tuple[Step, ...]:
    return (Uids(UidSet(tuple(pairs))),) if pairs else _NOTHING
