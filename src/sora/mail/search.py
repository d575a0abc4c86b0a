"""The only place where a search is decided: from the view, by the store, and from bytes where text was cut.

Every message that matches is found and no other. What only a message's bytes can tell is read from them;
if they cannot be read now the search fails, because an answer that may lack messages would be wrong.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import attrs
from twisted.internet.defer import Deferred

from sora.core.criteria import (
    And,
    Criteria,
    Field,
    Header,
    Not,
    Numbers,
    Step,
    Text,
    Uids,
    both,
    exact,
    loosened,
    timed,
)
from sora.core.errors import BodyUnavailable
from sora.core.ids import AccountId, MailboxId, Uid
from sora.core.uidset import UidSet
from sora.imap.view import Known, SessionView
from sora.mail import search_view
from sora.mail.live import OpenMailbox
from sora.mail.read import Message, MessageReader
from sora.mail.search_columns import KeptColumns, named
from sora.mail.search_text import WholeText, whole
from sora.mail.search_texts import Possible, SoughtTexts
from sora.store.evaluate import Facts, evaluate
from sora.store.interfaces import BodyReader, Messages
from sora.store.model import Found, Want

_NOTHING: Final = (And(0), Not())
"""The steps that no message matches."""
_FEW: Final = 64
"""Messages that are looked at sooner than an index is asked."""
_NAMED_MAX: Final = 100_000
"""UIDs that a statement names: to write and to read more of them would take long in one turn."""
_EXACT: Final = 100
_IN_SUBJECT: Final = 60
_SCATTERED: Final = 20


@attrs.frozen
class _Judged:
    """What is known of a search without the store, ascending."""

    uids: list[int]
    undecided: list[int]
    complete: bool
    """Whether the store knows no more than this; then what is undecided is so because its text was cut."""


class Searcher:
    """Searches an open mailbox as one session sees it.

    `background` runs a function in a thread (`partial(aio.in_thread, reactor, pool)`): reading all the text
    of a large message takes long.
    """

    def __init__(
        self,
        messages: Messages,
        bodies: BodyReader,
        texts: SoughtTexts,
        *,
        background: "Callable[[Callable[[bytes], WholeText], bytes], Deferred[WholeText]] | None" = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._messages = messages
        self._reader = MessageReader(messages, bodies)
        self._background = background
        self._now = now
        self._columns = KeptColumns(messages)
        self._texts = texts

    async def search(self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria) -> list[int]:
        """Return the UIDs that match, ascending; only of messages the client was told of.

        Raises `BodyUnavailable` if bytes that would decide cannot be read now.
        """
        resolved = loosened(timed(resolve(criteria, view), self._now()))
        if search_view.answerable(resolved):
            return search_view.search(resolved, view.columns(mailbox.version))
        if not view.count:
            return []
        judged = await self._narrowed(mailbox, view, resolved)
        uids, undecided = judged.uids, judged.undecided
        if undecided and not judged.complete:
            found = await self._messages.search(
                mailbox.row.id,
                resolved,
                recent_from=Uid(view.recent_from),
                uid_max=view.last_uid,
                reader=mailbox.reader,
                # To name most of them costs more than to pass over all.
                among=undecided if len(undecided) < min(view.count // 2, _NAMED_MAX) else None,
            )
            uids, undecided = _together(uids, view.told(found.uids)), list(found.undecided)
        if undecided:
            uids = _together(uids, await self._decide(mailbox, view, resolved, undecided))
        return uids

    async def _narrowed(self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria) -> "_Judged":
        """Say what the view, kept columns and the index of texts know."""
        here, steps = mailbox.row.id, search_view.others(criteria)
        await self._columns.prepare(here, [step for step in steps if named(step) is not None], view.uids)
        judged = self._judged(here, criteria, view.columns(mailbox.version), {})
        if not judged.complete and len(judged.undecided) > _FEW:
            by_text = await self._texts.possible(here, steps, view.count)
            if by_text:
                judged = self._judged(here, criteria, view.columns(mailbox.version), by_text)
        return judged

    def _judged(self, here: MailboxId, criteria: Criteria, known: Known, by_text: dict[Step, Possible]) -> "_Judged":
        by_column = self._columns.decide(here, known.uids)
        complete = True

        def decide(step: Step) -> tuple[int, int]:
            nonlocal complete
            if (decided := by_column(step)) is not None:
                return decided
            complete = False
            if step in by_text:
                return by_text[step].masks(known.uids)
            return 0, int.from_bytes(b"\1" * len(known.uids), "little")

        uids, undecided = search_view.judge(criteria, known, decide)
        return _Judged(uids, undecided, complete)

    async def scores(
        self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria, uids: Sequence[int]
    ) -> dict[int, int]:
        """Return how well each of the UIDs that a fuzzy search found matches, from 1 to 100 (RFC 6203 4).

        What has the texts as they were written is worth most, and then what has the words in its subject.
        """
        scores = dict.fromkeys(uids, _SCATTERED)
        if uids:
            for program, score in ((_in_subject(criteria), _IN_SUBJECT), (exact(criteria), _EXACT)):
                found = await self.search(mailbox, view, program)
                scores.update((uid, score) for uid in found if uid in scores)
        return scores

    async def still(self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria, uids: Sequence[int]) -> set[int]:
        """Return those of the UIDs that match."""
        among = Criteria((Uids(UidSet(tuple((uid, uid) for uid in uids))),))
        return set(await self.search(mailbox, view, both(among, criteria)))

    async def search_many(
        self, mailboxes: Sequence[MailboxId], criteria: Criteria, *, reader: AccountId | None = None
    ) -> dict[MailboxId, Found]:
        """Search mailboxes that are not selected, in one statement; those without a match are absent.

        A `reader` has a \\Seen of his own where he is not the owner. What is undecided is for `search`, with the
        mailbox open.
        """
        return await self._messages.search_many(mailboxes, loosened(timed(criteria, self._now())), reader=reader)

    async def _decide(
        self, mailbox: OpenMailbox, view: SessionView, criteria: Criteria, undecided: list[int]
    ) -> list[int]:
        chosen = []
        undecided = view.told(undecided)
        async for page in self._reader.pages(
            mailbox.row.id,
            undecided,
            Want.INTERNAL_DATE | Want.SAVE_DATE | Want.SIZE | Want.EMAIL | Want.THREAD | Want.BYTES,
        ):
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
            arrived=row.internal_date,
            saved=row.save_date,
            email=row.email,
            thread=row.thread,
            text=text,
            trace=row.trace or b"",
        )


def _together(some: list[int], more: list[int]) -> list[int]:
    return sorted({*some, *more}) if some and more else some or more


def resolve(criteria: Criteria, view: SessionView) -> Criteria:
    """Replace sequence numbers by UIDs, and `*` and `$` by what they mean to the client (RFC 3501 6.4.8, RFC 5182)."""
    steps: list[Step] = []
    for step in criteria.steps:
        if isinstance(step, Uids) and step.uids.saved:
            steps.extend(_uids([(uid, uid) for uid in view.told(view.saved)]))
        elif isinstance(step, Numbers):
            steps.extend(_uids(_numbered(step.numbers, view)))
        elif isinstance(step, Uids):
            steps.extend(_uids(step.uids.resolve(view.last_uid)))
        else:
            steps.append(step)
    return Criteria(tuple(steps))


def fixed(criteria: Criteria, view: SessionView) -> Criteria:
    """Replace what refers to messages by number or by `$` with what it means now (RFC 5267 4.3)."""
    steps: list[Step] = []
    for step in criteria.steps:
        numbered = isinstance(step, Numbers) or (isinstance(step, Uids) and step.uids.saved)
        steps.extend(resolve(Criteria((step,)), view).steps if numbered else (step,))
    return Criteria(tuple(steps))


def _in_subject(criteria: Criteria) -> Criteria:
    """Seek all fuzzy texts in the subject."""
    return Criteria(
        tuple(
            Text(Field.SUBJECT, step.needle, fuzzy=True) if isinstance(step, Text | Header) and step.fuzzy else step
            for step in criteria.steps
        )
    )


def _numbered(numbers: UidSet, view: SessionView) -> list[tuple[int, int]]:
    uids, count = view.uids, view.count
    pairs = [(low, min(high, count)) for low, high in numbers.resolve(count) if low <= count]
    return [(uids[low - 1], uids[high - 1]) for low, high in pairs]


def _uids(pairs: list[tuple[int, int]]) -> tuple[Step, ...]:
    return (Uids(UidSet(tuple(pairs))),) if pairs else _NOTHING
