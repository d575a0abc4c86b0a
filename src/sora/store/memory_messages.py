"""The only place for messages in memory: insertion, flags, copies, moves and expunges."""

import math
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC

import attrs

from sora.core.criteria import Criteria
from sora.core.errors import NoSuchMessage, SoraError, UidsExhausted
from sora.core.flags import DELETED, SEEN
from sora.core.ids import AccountId, BodyId, EmailId, MailboxId, ModSeq, Uid
from sora.core.ordering import Order
from sora.store.columns import Fields, Name, Numbers
from sora.store.memory_flags import change_flags, seen_by_mover
from sora.store.memory_ordering import column, ordered, thread_rows
from sora.store.memory_quota import admit
from sora.store.memory_search import search, search_alone
from sora.store.memory_state import Arrival, State, StoredBody, StoredMailbox, StoredMessage, fired
from sora.store.memory_whole import whole
from sora.store.model import (
    Actor,
    Copied,
    FetchRow,
    FlagChange,
    FlagsStored,
    Found,
    Inserted,
    Listed,
    Named,
    NewBody,
    NewMessage,
    Sight,
    Want,
)
from sora.store.threads import ThreadRows


def transfer(
    state: State,
    source: StoredMailbox,
    uids: Iterable[int],
    target: StoredMailbox,
    *,
    actor: Actor | None,
    sight: Sight | None = None,
) -> Copied:
    """Copy messages, or with an `actor` move them.

    Raises `UidsExhausted`, `OverQuota`, `LimitReached`, changing nothing.
    """
    chosen = source.present(uids)
    if not chosen:
        return Copied(target.uid_validity, (), (), target.id)
    if not target.room_for(len(chosen)):
        raise UidsExhausted("no UIDs are left in the target mailbox")
    if actor is None or source.account != target.account:
        admit(state, target.account, sum(message.size for message in chosen), len(chosen))
    keywords = _spell_all(target, [message.keywords for message in chosen])
    modseq = target.advance()
    now = state.now()
    assigned = []
    for message, words in zip(chosen, keywords, strict=True):
        copy = attrs.evolve(message, uid=target.uid_next, modseq=modseq, keywords=words, save_date=now)
        if sight is not None:
            copy = seen_by_mover(source, message, target, copy, sight)
        target.learn(words)
        target.messages[target.uid_next] = copy
        assigned.append(target.uid_next)
        target.uid_next += 1
    announced = [(target.id, modseq)]
    left: ModSeq | None = None
    if actor is not None:
        gone = modseq if source is target else source.advance()
        left = ModSeq(gone)
        state.bury(source, chosen, modseq=gone, actor=actor)
        if source is not target:
            announced.append((source.id, gone))
    state.announce(*announced)
    return Copied(target.uid_validity, tuple(message.uid for message in chosen), tuple(assigned), target.id, left)


def _spell_all(mailbox: StoredMailbox, many: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    trial = attrs.evolve(mailbox, keywords=dict(mailbox.keywords))
    spelled = []
    for keywords in many:
        spelled.append(trial.spell(keywords))
        trial.learn(spelled[-1])
    return spelled


class MemoryMessages:
    """`interfaces.Messages` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def insert(self, messages: Sequence[NewMessage]) -> list[Inserted | Exception]:
        """Insert messages; what cannot be stored has its error in its place."""
        modseqs: dict[MailboxId, int] = {}
        results: list[Inserted | Exception] = []
        for message in messages:
            try:
                results.append(self._insert(message, modseqs))
            except SoraError as error:
                results.append(error)
        self._state.announce(*modseqs.items())
        return results

    @fired
    def insert_whole(self, messages: Sequence[NewMessage]) -> list[Inserted]:
        """Insert messages, all or none."""
        modseqs: dict[MailboxId, int] = {}
        targets = [self._target(message.mailbox) for message in messages]
        with whole(self._state, *targets):
            results = [self._insert(message, modseqs) for message in messages]
        self._state.announce(*modseqs.items())
        return results

    @fired
    def replace(self, source: MailboxId, uid: int, message: NewMessage, actor: Actor) -> Inserted:
        """Insert a message and turn another one into a tombstone, both or neither."""
        state = self._state
        modseqs: dict[MailboxId, int] = {}
        left, target = state.mailbox(source), self._target(message.mailbox)
        with whole(state, left, target):
            if uid not in left.messages:
                raise NoSuchMessage("the message is gone")
            gone = left.advance()
            state.bury(left, [left.messages[uid]], modseq=gone, actor=actor)
            result = self._insert(message, modseqs)
        state.announce((left.id, gone), *modseqs.items())
        return result

    def _insert(self, new: NewMessage, modseqs: dict[MailboxId, int]) -> Inserted:
        state = self._state
        mailbox = self._target(new.mailbox)
        duplicate = self._duplicate(mailbox, new)
        if duplicate is not None:
            return duplicate
        if not mailbox.room_for(1):
            raise UidsExhausted("no UIDs are left in the mailbox")
        keywords = mailbox.spell(new.keywords)
        filled = admit(state, mailbox.account, len(new.trace) + new.body.size, 1)
        body = self._body(new.body)
        modseq = modseqs.get(mailbox.id) or modseqs.setdefault(mailbox.id, mailbox.advance())
        mailbox.learn(keywords)
        message = StoredMessage(
            uid=mailbox.uid_next,
            modseq=modseq,
            flags=new.flags,
            keywords=keywords,
            internal_date=(new.internal_date or state.now()).astimezone(UTC),
            save_date=state.now(),
            body=body,
            trace=new.trace,
            email=EmailId(state.number("email")),
        )
        mailbox.messages[message.uid] = message
        mailbox.uid_next += 1
        if new.seen_by is not None:
            mailbox.private.setdefault(new.seen_by, {})[message.uid] = SEEN, modseq
        if new.suppress is not None:
            arrival = Arrival(state.seconds(), mailbox.id, message.uid)
            state.arrivals[mailbox.account, body.id, new.suppress[0]] = arrival
        return Inserted(mailbox.uid_validity, Uid(message.uid), ModSeq(modseq), body=body.ref, filled=filled)

    def _duplicate(self, mailbox: StoredMailbox, new: NewMessage) -> Inserted | None:
        body = self._state.bodies_by_hash.get((new.body.scope, new.body.hash))
        if new.suppress is None or body is None:
            return None
        line, window = new.suppress
        earlier = self._state.arrivals.get((mailbox.account, body.id, line))
        if earlier is None or self._state.seconds() - earlier.at > window:
            return None
        place = self._state.mailboxes.get(earlier.mailbox)
        message = place.messages.get(earlier.uid) if place is not None else None
        if place is None or message is None:
            return Inserted(mailbox.uid_validity, Uid(0), ModSeq(0), duplicate=True, body=body.ref)
        return Inserted(place.uid_validity, Uid(message.uid), ModSeq(message.modseq), duplicate=True, body=body.ref)

    def _body(self, new: NewBody) -> StoredBody:
        state = self._state
        body = state.bodies_by_hash.get((new.scope, new.hash))
        if body is not None:
            body.condemned_at = None
            if new.data is None and new.object_key != body.object_key:
                state.discarded[new.object_key] = None
            return body
        now = state.seconds()
        body = StoredBody(
            id=BodyId(state.number("body")),
            scope=new.scope,
            hash=new.hash,
            size=new.size,
            object_key=new.object_key,
            described=new.described,
            staged=new.data,
            staged_at=now,
            due_at=now,
        )
        state.bodies[body.id] = body
        state.bodies_by_hash[body.scope, body.hash] = body
        return body

    @fired
    def fetch(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> list[FetchRow]:
        """Read columns of messages, ascending by UID."""
        stored = self._state.mailboxes.get(mailbox)
        return [_fetched(message, want) for message in stored.present(uids)] if stored is not None else []

    @fired
    def listing(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> Listed:
        """Read columns of messages within `Want.LISTED`, ascending by UID."""
        stored = self._state.mailboxes.get(mailbox)
        return _listed(stored.present(uids) if stored is not None else [], want)

    @fired
    def store(
        self, mailbox: MailboxId, changes: Sequence[FlagChange], *, reader: AccountId | None = None
    ) -> list[FlagsStored]:
        """Change flags; several changes are applied in their order, atomically."""
        return change_flags(self._state, self._state.mailbox(mailbox), changes, reader)

    @fired
    def copy(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, *, sight: Sight | None = None
    ) -> Copied:
        """Copy messages, all or none."""
        found = self._state.mailbox(source)
        return transfer(self._state, found, uids, self._target(target), actor=None, sight=sight)

    @fired
    def move(
        self,
        source: MailboxId,
        uids: Sequence[int],
        target: MailboxId | Named,
        actor: Actor,
        *,
        sight: Sight | None = None,
    ) -> Copied:
        """Move messages atomically."""
        found = self._state.mailbox(source)
        return transfer(self._state, found, uids, self._target(target), actor=actor, sight=sight)

    def _target(self, target: MailboxId | Named) -> StoredMailbox:
        if isinstance(target, Named):
            return self._state.named(target.account, target.name)
        return self._state.mailbox(target)

    @fired
    def expunge(self, mailbox: MailboxId, uids: Sequence[int] | None, actor: Actor) -> "tuple[ModSeq, array[int]]":
        """Turn messages that are \\Deleted into tombstones."""
        stored = self._state.mailbox(mailbox)
        named = stored.messages if uids is None else uids
        gone = [message for message in stored.present(named) if message.flags & DELETED]
        if gone:
            self._state.bury(stored, gone, modseq=stored.advance(), actor=actor)
            self._state.announce((stored.id, stored.highest_modseq))
        return ModSeq(stored.highest_modseq), array("I", [message.uid for message in gone])

    @fired
    def search(
        self,
        mailbox: MailboxId,
        criteria: Criteria,
        *,
        recent_from: Uid,
        uid_max: int,
        reader: AccountId | None = None,
        among: Sequence[int] | None = None,
    ) -> Found:
        """Evaluate criteria over messages with UID up to `uid_max`."""
        stored = self._state.mailbox(mailbox)
        chosen = stored.messages.values() if among is None else stored.present(among)
        messages = [stored.seen_as(message, reader) for message in chosen if message.uid <= uid_max]
        return search(criteria, messages, recent_from=recent_from, uid_max=uid_max)

    @fired
    def search_many(
        self, mailboxes: Sequence[MailboxId], criteria: Criteria, *, reader: AccountId | None = None
    ) -> dict[MailboxId, Found]:
        """Evaluate criteria over all messages of each mailbox."""
        there = {one: self._state.mailboxes[one] for one in mailboxes if one in self._state.mailboxes}
        found = {one: search_alone(criteria, stored, reader) for one, stored in there.items()}
        return {one: result for one, result in found.items() if result.uids or result.undecided}

    @fired
    def column(self, mailbox: MailboxId, name: Name, *, after: int, uid_max: int, limit: int) -> Fields | Numbers:
        """Read what never changes of the first `limit` messages above `after`: a header field, or a number."""
        chosen = [message for message in self._some(mailbox, None, uid_max) if message.uid > after]
        return column(chosen[:limit], name)

    @fired
    def order(self, mailbox: MailboxId, order: Order, uids: Sequence[int] | None, *, uid_max: int) -> "array[int]":
        """Return UIDs up to `uid_max`, of those named or all, in an order without RELEVANCY."""
        return array("I", [message.uid for message in ordered(self._some(mailbox, uids, uid_max), order)])

    @fired
    def threading(
        self, mailbox: MailboxId, uids: Sequence[int] | None, *, after: int, uid_max: int, limit: int
    ) -> ThreadRows:
        """Read what threads are made of: of the first `limit` messages above `after`, all or those named."""
        chosen = [message for message in self._some(mailbox, uids, uid_max) if message.uid > after]
        return thread_rows(chosen[:limit])

    def _some(self, mailbox: MailboxId, uids: Sequence[int] | None, uid_max: int) -> list[StoredMessage]:
        stored = self._state.mailboxes.get(mailbox)
        named = None if uids is None else set(uids)
        return [
            message
            for message in (stored.messages.values() if stored is not None else ())
            if message.uid <= uid_max and (named is None or message.uid in named)
        ]


def _listed(messages: Sequence[StoredMessage], want: Want) -> Listed:
    found = Listed(array("I", [message.uid for message in messages]))
    if want & Want.INTERNAL_DATE:
        found.internal_dates = [math.floor(message.internal_date.timestamp()) for message in messages]
    if want & Want.SIZE:
        found.sizes = [message.size for message in messages]
    if want & Want.ENVELOPE:
        found.envelopes = [message.body.described.envelope for message in messages]
    if want & Want.STRUCTURE:
        found.structures = [message.body.described.structure for message in messages]
    if want & Want.BODY:
        found.bodies = [message.body.described.body for message in messages]
    if want & Want.SAVE_DATE:
        found.save_dates = [math.floor(message.save_date.timestamp()) for message in messages]
    if want & Want.EMAIL:
        found.emails = [message.email for message in messages]
    if want & Want.THREAD:
        found.threads = [message.body.described.thread for message in messages]
    if want & Want.PREVIEW:
        found.previews = [message.body.described.preview.encode("utf-8", "replace") for message in messages]
    return found


def _fetched(message: StoredMessage, want: Want) -> FetchRow:
    row = FetchRow(Uid(message.uid))
    described = message.body.described
    if want & Want.INTERNAL_DATE:
        row.internal_date = message.internal_date
    if want & Want.SAVE_DATE:
        row.save_date = message.save_date
    if want & Want.EMAIL:
        row.email = message.email
    if want & Want.THREAD:
        row.thread = described.thread
    if want & Want.SIZE:
        row.size = message.size
    if want & Want.ENVELOPE:
        row.envelope = described.envelope
    if want & Want.STRUCTURE:
        row.structure = described.structure
    if want & Want.BODY:
        row.body = described.body
    if want & Want.HEADER:
        row.trace, row.header = message.trace, described.header
    if want & Want.BYTES:
        row.trace, row.ref = message.trace, message.body.ref
    if want & Want.PREVIEW:
        row.preview = described.preview
    return row
