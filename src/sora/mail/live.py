"""The only place that keeps mailboxes in memory: one state per mailbox and process, shared by its sessions.

Where users have a \\Seen of their own in mailboxes of others, each of them who has one open has a state of it too.

A state is refreshed by one query for what changed since its modseq. Whoever asks for a refresh gets
everything committed before the call: if a query is under way already, it waits for the next one, which
all who came meanwhile share.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora.aio import Once, start
from sora.core.errors import NoSuchMailbox, SoraError
from sora.core.events import FeedLost, MailboxChanged
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.core.rights import ALL, Rights
from sora.imap.version import Version
from sora.mail.sharing import Sharing
from sora.store.interfaces import Feed, Mailboxes
from sora.store.model import Changes, Columns, FlagsStored, MailboxRow, Opened

IDLE_MESSAGES_MAX: Final = 500_000
"""Messages in states that no session has open but that are kept for the next SELECT (13 octets each)."""
IDLE_MAILBOXES_MAX: Final = 1_000

_Name = tuple[AccountId, str, AccountId | None]
"""Owner, name, and as whom it is seen: None as the owner, or a reader with a \\Seen of his own."""
_Seen = tuple[MailboxId, AccountId | None]


class MailboxState:
    """One mailbox as this process knows it."""

    log = Logger()

    def __init__(self, opened: Opened, mailboxes: Mailboxes, feed: Feed, *, reader: AccountId | None = None) -> None:
        """`reader`: whose own \\Seen it shows; None for the owner's."""
        self.reader = reader
        self.row = opened.mailbox
        self.remembered = opened.reach
        self.version = _version(opened.mailbox.highest_modseq, opened.columns)
        self.keywords: Sequence[str] = opened.mailbox.keywords
        """All that have been in use here, own writes counted in: it only grows."""
        self.deleted = False
        self.sessions = 0
        self._mailboxes = mailboxes
        self._listeners: list[Callable[[], None]] = []
        self._running = False
        self._queued: Once[None] | None = None
        self._asked: Once[None] | None = None
        """Those who wait for the query under way."""
        self._announced = 0
        """The newest modseq heard of since the query under way was sent."""
        self._writes = 0
        """Own writes under way."""
        self.idle_messages = 0
        """How many messages this state was counted with when its last session left."""
        self.names: set[_Name] = set()
        """The names that led here."""
        self._feed = feed
        self._forget: Callable[[], None] | None = None

    def hear(self) -> None:
        """Be told of changes from now on."""
        if self._forget is None:
            self._forget = self._feed.subscribe(self.row.id, self._heard)

    def mute(self) -> None:
        """Hear no more of the mailbox."""
        if self._forget is not None:
            self._forget()
            self._forget = None

    def catch_up(self) -> None:
        """Refresh while nobody waits for it."""
        self.refresh().addErrback(self._not_refreshed)

    # ------------------------------------------------------------ refreshing

    def refresh(self) -> "Deferred[None]":
        """Return a Deferred that fires once all that is committed now is in `version`.

        A deleted mailbox is no failure: `deleted` is set.
        """
        if self._queued is None:
            self._queued = Once()
        waiter = self._queued.wait()
        if not self._running:
            self._running = True
            start(self._run()).addErrback(self._broke)
        return waiter

    async def _run(self) -> None:
        try:
            while self._queued is not None:
                waiting = self._asked = self._queued
                self._queued = None
                self._announced = 0
                try:
                    await self._ask()
                except Exception as error:
                    waiting.fail(Failure(error))  # type: ignore[no-untyped-call]
                    if isinstance(error, CancelledError):
                        raise
                else:
                    waiting.fire(None)
                if self._queued is None:
                    self._look()
        finally:
            self._running = False
            self._asked = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for the answer of an own write before reading back what is announced meanwhile: it may be that."""
        self._writes += 1
        try:
            yield
        finally:
            self._writes -= 1
            if not self._running:
                self._look()

    async def reach(self, modseq: int) -> None:
        """Return once `version` is at `modseq`, which is committed; a query under way may do."""
        if self._asked is not None and self.version.modseq < modseq:
            await self._asked.wait()
        if self.version.modseq < modseq:
            await self.refresh()

    async def _ask(self) -> None:
        if self.deleted:
            return
        try:
            changes = await self._mailboxes.changes(self.row.id, ModSeq(self.version.modseq), reader=self.reader)
        except NoSuchMailbox:
            self._vanish()
        else:
            self._apply(changes)

    async def look(self, *, claim_recent: bool = False, vanished_since: int | None = None) -> Changes | None:
        """Refresh for one session, claim \\Recent for it, and ask what left since; None if the mailbox is deleted.

        Not shared with those who refresh: what one session claims no other may be told.
        """
        since = None if vanished_since is None else ModSeq(vanished_since)
        try:
            changes = await self._mailboxes.changes(
                self.row.id,
                ModSeq(self.version.modseq),
                claim_recent=claim_recent,
                vanished_since=since,
                reader=self.reader,
            )
        except NoSuchMailbox:
            self._vanish()
            return None
        self._apply(changes)
        return changes

    def _apply(self, changes: Changes) -> None:
        if changes.mailbox.highest_modseq < self.version.modseq:
            return
        self._read_anew(changes.mailbox)
        self.remembered = changes.reach
        if changes.whole:
            self._replace(changes.mailbox.highest_modseq, changes.columns)
        else:
            self._advance(changes.mailbox.highest_modseq, changes.columns, changes.vanished)

    def _read_anew(self, row: MailboxRow) -> None:
        if row.keywords != self.row.keywords:
            self._learn(row.keywords)
        self.row = row

    def _learn(self, keywords: Iterable[str]) -> None:
        self.keywords = tuple(dict.fromkeys((*self.keywords, *keywords)))

    def _advance(self, modseq: int, columns: Columns, vanished: Sequence[int]) -> None:
        if columns.keywords:
            used = dict.fromkeys(chain.from_iterable(columns.keywords.values()))
            if not used.keys() <= frozenset(self.keywords):
                self._learn(used)
        version = self.version.apply(
            modseq,
            uids=columns.uids,
            flags=columns.flags,
            modseqs=columns.modseqs,
            keywords=columns.keywords,
            vanished=vanished,
        )
        self._become(version)

    def _become(self, version: Version) -> None:
        if version is not self.version:
            self.version = version
            self._tell()

    def _broke(self, failure: Failure) -> None:
        self.log.failure("refreshing a mailbox broke", failure)

    def reopened(self, opened: Opened) -> None:
        """Take in a mailbox read anew, unless what is known is newer."""
        if opened.mailbox.highest_modseq < self.version.modseq:
            return
        self._read_anew(opened.mailbox)
        self.remembered = opened.reach
        self._replace(opened.mailbox.highest_modseq, opened.columns)

    def _replace(self, modseq: int, columns: Columns) -> None:
        version = self.version.replace(
            modseq,
            uids=columns.uids,
            flags=columns.flags,
            modseqs=columns.modseqs,
            keywords=columns.keywords,
        )
        self._become(version)

    # ------------------------------------------------------------ own writes

    def stored(self, results: Sequence[FlagsStored]) -> bool:
        """Take in what a STORE answered, if nothing lies between; tells whether it could.

        Members of one batch share a modseq, so an equal one may still bring something.
        """
        if not any(result.changed for result in results):
            return all(result.modseq <= self.version.modseq for result in results)
        if any(result.modseq > self.version.modseq + 1 for result in results):
            return False
        for result in results:
            self._advance(result.modseq, result.columns, ())
        return True

    def expunged(self, modseq: int, uids: Sequence[int]) -> bool:
        """Take in what an EXPUNGE answered, if nothing lies between; tells whether it could."""
        if not uids:
            return modseq <= self.version.modseq
        if modseq > self.version.modseq + 1:
            return False
        self._advance(modseq, _NO_COLUMNS, uids)
        return True

    # ------------------------------------------------------------ news

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when there is a newer version or the mailbox is deleted."""
        self._listeners.append(callback)

        def cancel() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return cancel

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()

    def _vanish(self) -> None:
        if not self.deleted:
            self.deleted = True
            self._tell()

    def _heard(self, event: MailboxChanged | FeedLost) -> None:
        if isinstance(event, MailboxChanged) and event.modseq:
            if not event.concerns(self.reader):
                return
            self._announced = max(self._announced, event.modseq)
            # The query under way may have been late enough to see it.
            if not self._running:
                self._look()
        else:
            self.catch_up()

    def _look(self) -> None:
        """Refresh if there is more than is known, unless a write's answer may bring it."""
        if self._announced > self.version.modseq and not self._writes:
            self.catch_up()

    def _not_refreshed(self, failure: Failure) -> None:
        # The feed tells once more when it is back; until then a session's own refresh shows the error.
        failure.trap(SoraError)  # type: ignore[no-untyped-call]
        self.log.warn("a mailbox could not be refreshed: {error}", error=failure.value)


class OpenMailbox:
    """A mailbox that a session has open; `close` it once."""

    def __init__(
        self, live: "Live", state: MailboxState, recent_from: int, departed: Sequence[int] | None = None
    ) -> None:
        self._live = live
        self._state = state
        self._closed = False
        self.recent_from = recent_from
        """UIDs from here on are \\Recent in this session (RFC 3501 2.3.2)."""
        self.opened = state.version
        """The version that it was opened with, of which `departed` tells."""
        self.departed = departed
        """UIDs that had left after `vanished_since` when it was opened, ascending; None if that is not known."""
        self.rights: Rights = ALL
        """What whoever opened it might do then."""

    @property
    def row(self) -> MailboxRow:
        """The mailbox as last read; own writes are not counted in before the next refresh."""
        return self._state.row

    @property
    def reader(self) -> AccountId | None:
        """Whose own \\Seen it shows; None: everyone's, which is the owner's."""
        return self._state.reader

    @property
    def version(self) -> Version:
        """The newest version known."""
        return self._state.version

    @property
    def keywords(self) -> Sequence[str]:
        """The keywords in use; there are only ever more of them while it is open."""
        return self._state.keywords

    @property
    def deleted(self) -> bool:
        """Whether the mailbox is gone."""
        return self._state.deleted

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when there is a newer version or the mailbox is deleted; returns the end of it."""
        return self._state.listen(callback)

    async def refresh(self) -> None:
        """Return once everything committed before the call is in `version`."""
        await self._state.refresh()

    def told_since(self, modseq: int) -> int:
        """Return the modseq from which on to tell what changed to one who knows the mailbox at `modseq`.

        That is 0, for everything, where a crash took back some of what it may know (RFC 7162 3.2.6).
        """
        return modseq if self._state.remembered.tells_changes(modseq) else 0

    async def departed_since(self, modseq: int) -> Sequence[int] | None:
        """Return the UIDs that left after `modseq`, ascending; None if that is not remembered so far back."""
        if self._state.version.modseq <= modseq:
            return ()
        changes = await self._state.look(vanished_since=modseq)
        return None if changes is None else _departed(changes, modseq)

    def writing(self) -> AbstractContextManager[None]:
        """Return what is held from before an own write until its answer is absorbed."""
        return self._state.writing()

    async def reach(self, modseq: int) -> None:
        """Return once `version` is at `modseq`, which is committed."""
        await self._state.reach(modseq)

    async def absorb_stored(self, results: Sequence[FlagsStored]) -> None:
        """Bring an own STORE into `version`: from its answer if nothing lies between, else by a refresh."""
        if not self._state.stored(results):
            await self._state.refresh()

    async def absorb_expunged(self, modseq: ModSeq, uids: Sequence[int]) -> None:
        """Bring an own EXPUNGE into `version`, as `absorb_stored`."""
        if not self._state.expunged(modseq, uids):
            await self._state.refresh()

    def close(self) -> None:
        """Leave the mailbox."""
        if not self._closed:
            self._closed = True
            self._live.left(self._state)


class _Overheard:
    """What the feed says while a mailbox is read whose id is known only from the answer."""

    def __init__(self, feed: Feed, reader: AccountId | None) -> None:
        self._reader = reader
        self._newest: dict[MailboxId, int] = {}
        self._lost = False
        self.forget = feed.follow(self._hear)

    def _hear(self, event: MailboxChanged | FeedLost) -> None:
        if not isinstance(event, MailboxChanged):
            self._lost = True
        elif event.concerns(self._reader):
            self._newest[event.mailbox] = event.modseq

    def newer(self, mailbox: MailboxId, modseq: int) -> bool:
        """Tell whether the mailbox may have changed, or gone, after `modseq`."""
        heard = self._newest.get(mailbox)
        return self._lost or (heard is not None and (heard > modseq or not heard))


class Live:
    """All mailboxes that sessions of this process have open, and some that they had open lately."""

    def __init__(
        self,
        mailboxes: Mailboxes,
        feed: Feed,
        *,
        sharing: Sharing | None = None,
        idle_messages_max: int = IDLE_MESSAGES_MAX,
        idle_mailboxes_max: int = IDLE_MAILBOXES_MAX,
    ) -> None:
        self._mailboxes = mailboxes
        self._feed = feed
        self._sharing = sharing
        self._states: dict[_Seen, MailboxState] = {}
        self._names: dict[_Name, MailboxId] = {}
        """Where a name led last; only a hint, checked against the row that comes back."""
        self._idle: dict[_Seen, MailboxState] = {}
        self._idle_messages = 0
        """States without sessions, the longest idle first."""
        self._idle_messages_max = idle_messages_max
        self._idle_mailboxes_max = idle_mailboxes_max

    @property
    def feed(self) -> Feed:
        """What tells of changes."""
        return self._feed

    async def open(
        self, account: AccountId, name: str, *, claim_recent: bool, vanished_since: int | None = None
    ) -> OpenMailbox:
        """Open a mailbox as it is now, asking also what left after a modseq. Raises `NoSuchMailbox`.

        A mailbox that is known here costs one query for its changes; it is read whole only if it is not known.
        """
        if self._sharing is None or not self._sharing.foreign(name):
            return await self._open(account, name, None, claim_recent=claim_recent, vanished_since=vanished_since)
        place = (await self._sharing.place(account, name)).need("r")
        reader = self._sharing.reader(account)
        opened = await self._open(
            place.owner, place.name, reader, claim_recent=claim_recent, vanished_since=vanished_since
        )
        opened.rights = place.rights
        return opened

    async def _open(
        self, account: AccountId, name: str, reader: AccountId | None, *, claim_recent: bool, vanished_since: int | None
    ) -> OpenMailbox:
        since = None if vanished_since is None else ModSeq(vanished_since)
        state = self._states.get((self._names.get((account, name, reader), MailboxId(0)), reader))
        if state is None:
            return await self._read((account, name, reader), claim_recent=claim_recent, vanished_since=since)
        self._enter(state)
        try:
            recent_from: int | None
            departed = None
            if claim_recent or since is not None:
                changes = await state.look(claim_recent=claim_recent, vanished_since=since)
                recent_from = None if changes is None else changes.recent_from
                if changes is not None and since is not None and changes.mailbox.highest_modseq == state.version.modseq:
                    departed = _departed(changes, since)
            else:
                await state.refresh()
                recent_from = _recent_from(state.row, state.version)
            if state.deleted or state.row.name != name or recent_from is None:
                return await self._read((account, name, reader), claim_recent=claim_recent, vanished_since=since)
            self._enter(state)
            return OpenMailbox(self, state, recent_from, departed)
        finally:
            self.left(state)

    def left(self, state: MailboxState) -> None:
        """A session has left a mailbox: keep it for the next SELECT, as long as there is room."""
        state.sessions -= 1
        if state.sessions:
            return
        state.mute()
        if state.deleted:
            self._drop(state)
            return
        state.idle_messages = len(state.version.uids)
        self._idle[state.row.id, state.reader] = state
        self._idle_messages += state.idle_messages
        while self._idle and (
            self._idle_messages > self._idle_messages_max or len(self._idle) > self._idle_mailboxes_max
        ):
            self._drop(next(iter(self._idle.values())))

    async def stop(self) -> None:
        """Hear no more of any mailbox, and forget those nobody has open."""
        for state in list(self._idle.values()):
            self._drop(state)
        for state in self._states.values():
            state.mute()

    async def _read(self, named: _Name, *, claim_recent: bool, vanished_since: ModSeq | None) -> OpenMailbox:
        account, name, reader = named
        overheard = _Overheard(self._feed, reader)
        try:
            opened = await self._mailboxes.open(
                account, name, claim_recent=claim_recent, vanished_since=vanished_since, reader=reader
            )
        finally:
            overheard.forget()
        mailbox = opened.mailbox.id
        state = self._states.get((mailbox, reader))
        if state is None:
            state = MailboxState(opened, self._mailboxes, self._feed, reader=reader)
            self._states[mailbox, reader] = state
        else:
            state.reopened(opened)
        state.names.add(named)
        self._names[named] = mailbox
        self._enter(state)
        if overheard.newer(mailbox, state.version.modseq):
            state.catch_up()
        departed = None
        if vanished_since is not None and opened.mailbox.highest_modseq == state.version.modseq:
            departed = _departed(opened, vanished_since)
        return OpenMailbox(self, state, opened.recent_from, departed)

    def _enter(self, state: MailboxState) -> None:
        self._wake(state)
        state.sessions += 1
        state.hear()

    def _wake(self, state: MailboxState) -> None:
        seen = state.row.id, state.reader
        if self._idle.get(seen) is state:
            del self._idle[seen]
            self._idle_messages -= state.idle_messages

    def _drop(self, state: MailboxState) -> None:
        mailbox = state.row.id
        self._wake(state)
        if self._states.get((mailbox, state.reader)) is state:
            del self._states[mailbox, state.reader]
        for name in state.names:
            if self._names.get(name) == mailbox:
                del self._names[name]


_NO_COLUMNS: Final = Columns(array("I"), array("B"), array("Q"), {})


def _departed(answer: Opened | Changes, since: int) -> Sequence[int] | None:
    """Return what left after a modseq; None if the store does not remember it, or never was at that modseq."""
    known = since <= answer.mailbox.highest_modseq and answer.reach.tells_departures(since)
    return answer.earlier if known else None


def _version(modseq: int, columns: Columns) -> Version:
    return Version(modseq, uids=columns.uids, flags=columns.flags, modseqs=columns.modseqs, keywords=columns.keywords)


def _recent_from(row: MailboxRow, version: Version) -> int | None:
    """Work out from the count which UIDs are \\Recent; None if row and version are not of one moment."""
    if row.highest_modseq != version.modseq or row.recent > len(version.uids):
        return None
    return version.uids[-row.recent] if row.recent else row.uid_next
