"""Telling a client what it has asked to be told of: NOTIFY (RFC 5465). Nothing is polled; the change feed wakes it.

What other mailboxes are like is read for all of an account at once, and only differences from what the client knows are
told; so it does not matter how many changes one reading finds, nor whether the feed was lost in between.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from sora.core import limits
from sora.core.errors import SoraError
from sora.core.events import FeedLost, MailboxChanged, names_of
from sora.core.ids import MailboxId, ModSeq
from sora.front.imap import context
from sora.front.imap.notify_groups import Groups
from sora.front.imap.notify_metadata import Annotated
from sora.front.imap.notify_names import Names, changed, opened_or_closed, readable
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.front.imap.status import status_line
from sora.imap import commands, responses
from sora.imap.commands import StatusItem
from sora.imap.fetch_items import FetchItem
from sora.imap.metadata_parse import SetMetadata
from sora.imap.session_commands import Event, EventGroup, Notify, Watched
from sora.imap.view import Expunges
from sora.store.model import Listing, MailboxRow

_OF_MESSAGES: Final = frozenset((Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE))
_BADEVENT: Final = b"BADEVENT (%b)" % b" ".join(event.value.encode("ascii") for event in Event)
_FIRST: Final = {
    Event.MESSAGE_NEW: (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY),
    Event.MESSAGE_EXPUNGE: (StatusItem.MESSAGES,),
    Event.FLAG_CHANGE: (StatusItem.UIDVALIDITY, StatusItem.HIGHESTMODSEQ),
}
"""What the STATUS says that comes with NOTIFY SET STATUS (RFC 5465 3.1)."""
_OWN: Final = (commands.Expunge, commands.Move, commands.Replace)
"""Commands whose own effects on the selected mailbox are told, whatever was asked for."""


@handles(Notify)
async def notify(session: ImapProtocol, command: Notify) -> Done:
    """Replace what the client is told of; NOTIFY SET is a NOOP as well."""
    if command.unknown:
        raise Refusal("this event is not supported", _BADEVENT)
    watch = Watch(session, Groups(command.groups, session.services.sharing.foreign))
    if command.groups:
        await watch.begin(status=command.status)
        if session.selected is not None:
            await session.selected.mailbox.refresh()
    before, session.notify = session.notify, watch
    if before is not None:
        before.stop()
    watch.mark_told()
    if command.groups or before is None:
        # What has accumulated, flags too, as NOOP would tell it; NOTIFY NONE asks for nothing (RFC 5465 3.1).
        await session.announce_paced(Expunges.ALLOWED)
    watch.start()
    return Done("NOTIFY completed")


@attrs.define(eq=False)
class Watch:
    """What one client is told of, and what it knows."""

    session: ImapProtocol
    groups: Groups
    _known: dict[MailboxId, MailboxRow] = attrs.field(factory=dict, init=False)
    _watched: dict[MailboxId, frozenset[Event]] = attrs.field(factory=dict, init=False)
    """Of each mailbox that may be read what is told of it, if that is anything."""
    _subscribed: frozenset[str] = attrs.field(factory=frozenset, init=False)
    _feeds: dict[MailboxId, Callable[[], None]] = attrs.field(factory=dict, init=False)
    _dirty: bool = attrs.field(default=False, init=False)
    """Whether something may have happened outside of the selected mailbox."""
    _annotated: Annotated = attrs.field(init=False)
    _reannotated: bool = attrs.field(default=False, init=False)
    """Whether annotations may have changed."""
    _own: set[str] = attrs.field(factory=set, init=False)
    """Names that the client itself has made, unmade or subscribed to: it knows."""
    _stored: set[int] = attrs.field(factory=set, init=False)
    """UIDs of new messages in the selected mailbox that the client has put there itself, or been sent already."""
    _started: bool = attrs.field(default=False, init=False)
    _last: tuple[object, int] = attrs.field(default=(None, 0), init=False)
    """The selected mailbox, and the last UID in it of which the client has what it asks of new messages."""

    def __attrs_post_init__(self) -> None:
        self._annotated = Annotated(self.session)

    @property
    def selected(self) -> EventGroup | None:
        """What is told of the selected mailbox; None: nothing."""
        return self.groups.selected

    @property
    def _elsewhere(self) -> bool:
        return bool(self.groups.anywhere)

    # ------------------------------------------------------------ beginning and end

    async def begin(self, *, status: bool) -> None:
        """Read what there is, and send STATUS of what is watched if the client wants it."""
        if not self._elsewhere:
            return
        everything = await self._listing()
        self._remember(everything)
        await self._annotated.begin(self._rows_annotated(everything), server=self._server_annotated)
        names = Names(self.session, everything)
        for row in everything.mailboxes:
            if not readable(row) and self._events_either(row.name, None):
                self.session.send(names.line(row.name))
        if status:
            for row in everything.mailboxes:
                events = self._watched.get(row.id, frozenset()) & _OF_MESSAGES
                if events and not self._is_selected(row):
                    items = tuple(dict.fromkeys(item for event in _FIRST for item in _FIRST[event] if event in events))
                    self.session.send(status_line(self.session, row.name, row, items))
                    await self.session.drained()

    def start(self) -> None:
        """Hear of changes; those since `begin` are looked for."""
        self._started = True
        if self._elsewhere:
            self._follow()
            self._dirty = self._reannotated = True
            self.session.wake()

    def stop(self) -> None:
        """Hear no more."""
        for forget in self._feeds.values():
            forget()
        self._feeds.clear()

    async def _listing(self) -> Listing:
        everything = await self.session.services.mailboxes.listing(self.session.signed_in.account)
        if len(everything.mailboxes) > limits.IMAP_NOTIFY_MAILBOXES_MAX:
            raise Refusal("there are too many mailboxes", b"NOTIFICATIONOVERFLOW")
        return everything

    def _remember(self, everything: Listing) -> None:
        self._known = {row.id: row for row in everything.mailboxes}
        self._subscribed = frozenset(everything.subscriptions)
        events_of = self.groups.events_of
        events = ((row, events_of(row.name, subscribed=row.subscribed)) for row in everything.mailboxes)
        self._watched = {row.id: told for row, told in events if told and readable(row)}

    def _follow(self) -> None:
        """Subscribe to the mailboxes that are watched, and to the names of all."""
        feed = self.session.services.live.feed
        wanted = set(self._watched)
        wanted.add(names_of(self.session.signed_in.account))
        for gone in self._feeds.keys() - wanted:
            self._feeds.pop(gone)()
        for mailbox in wanted - self._feeds.keys():
            self._feeds[mailbox] = feed.subscribe(mailbox, self._heard)

    def _heard(self, event: MailboxChanged | FeedLost) -> None:
        if isinstance(event, MailboxChanged) and event.modseq:
            if not event.concerns(self.session.signed_in.account):
                return
            known = self._known.get(event.mailbox)
            if known is not None and known.highest_modseq > event.modseq:
                return
            # Annotations change without a new modseq.
            self._reannotated |= known is not None and known.highest_modseq == event.modseq
        else:
            self._reannotated = True
        self._dirty = True
        self.session.wake()

    # ------------------------------------------------------------ which mailboxes

    def _is_selected(self, row: MailboxRow) -> bool:
        selected = self.session.selected
        return selected is not None and selected.mailbox.row.id == row.id

    def did(self, command: object) -> None:
        """Note what the client itself has done, which it need not be told of (RFC 5465 5)."""
        match command:
            case _ if not self._elsewhere:
                return
            case commands.Create() | commands.Delete() | commands.Subscribe() | commands.Unsubscribe():
                self._own.add(command.mailbox)
            case commands.Rename():
                self._own.update((command.old, command.new))
            case SetMetadata():
                self._annotated.did(command.mailbox, [entry for entry, _ in command.values])

    def stored(self, uid_validity: int, uids: Iterable[int]) -> None:
        """Note what the client itself has put into a mailbox, of which it is not sent what it asks of new messages."""
        selected = self.session.selected
        if selected is not None and selected.mailbox.row.uid_validity == uid_validity and self.selected is not None:
            self._stored.update(uids)

    # ------------------------------------------------------------ the selected mailbox

    def tells(self, command: object) -> bool:
        """Tell whether the selected mailbox is spoken of after a command."""
        if isinstance(command, Notify):
            return bool(command.groups)
        return self.selected is not None or isinstance(command, _OWN)

    @property
    def flags(self) -> bool:
        """Whether changed flags are told in the selected mailbox."""
        return not self._started or self.selected is None or Event.FLAG_CHANGE in self.selected.events

    @property
    def by_uid(self) -> bool:
        """Whether flags are told with their UIDs (RFC 5465 5.1)."""
        return self.selected is not None

    def combined(self, uids: Sequence[int], items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
        """Return what a search that goes on sends of new messages, with what is asked of all (RFC 5465 5.2)."""
        group = self.selected
        if group is None or not items or self._stored.issuperset(uids):
            return items
        self._stored.update(uids)
        return tuple(dict.fromkeys((*items, *group.items)))

    async def show_new(self) -> None:
        """Send what was asked of messages that the client has just been told of (RFC 5465 5.2)."""
        selected, group = self.session.selected, self.selected
        if selected is None or group is None:
            return
        mailbox, last = self._last
        if mailbox is not selected:
            opened = selected.mailbox.opened.uids
            last = opened[-1] if opened else 0
        stored, self._stored = self._stored, set()
        new = selected.view.uids[bisect_right(selected.view.uids, last) :]
        self.mark_told()
        await context.show(self.session, [uid for uid in new if uid not in stored], group.items)

    def mark_told(self) -> None:
        """Take it that the client knows the selected mailbox as it has been told of it now."""
        selected = self.session.selected
        self._last = (selected, 0 if selected is None else selected.view.last_uid)

    # ------------------------------------------------------------ telling

    async def tell(self, *, idle: bool) -> None:
        """Tell what has happened; in IDLE also what SELECTED-DELAYED holds back."""
        session, group = self.session, self.selected
        if group is not None:
            at_once = idle or group.which is Watched.SELECTED
            await session.announce_paced(Expunges.ALLOWED if at_once else Expunges.FORBIDDEN, answering=False)
        elif session.selected is not None and session.selected.mailbox.deleted:
            session.announce(Expunges.ALLOWED)
        while self._dirty and self._elsewhere and not session.leaving:
            self._dirty = False
            try:
                await self._look()
            except SoraError as error:
                session.log.warn("what happened elsewhere could not be read: {error}", error=error)
            except Refusal as overflow:
                session.send(responses.untagged_ok(overflow.text, code=overflow.code))
                self.stop()
                self.groups = Groups((), self.session.services.sharing.foreign)

    async def _look(self) -> None:
        """Read all mailboxes, and tell what differs from what the client knows."""
        before, subscribed = self._known, self._subscribed
        everything = await self._listing()
        await self.session.drained()
        self._remember(everything)
        self._follow()
        await self.session.drained()
        own, self._own = self._own, set()
        now = self._known
        names = Names(self.session, everything)
        listed: set[str] = set()
        for name, old in changed(before, now):
            if name not in own and Event.MAILBOX_NAME in self._events_either(name, old):
                self.session.send(names.line(name, old=old))
                listed.add(name)
        for name in opened_or_closed(before, now):
            if name not in listed and self._events_either(name, None):
                self.session.send(names.line(name))
        for name in sorted(subscribed ^ self._subscribed):
            events = self.groups.events_of(name, subscribed=True)
            if name not in own and Event.SUBSCRIPTION_CHANGE in events:
                self.session.send(names.line(name))
        for row in everything.mailboxes:
            if row.id in self._watched and not self._is_selected(row):
                items = self._news(row, before.get(row.id), own=row.name in own)
                if items:
                    self.session.send(status_line(self.session, row.name, row, items))
                    await self.session.drained()
        await self.session.drained()
        if self._reannotated:
            self._reannotated = False
            lines = await self._annotated.news(self._rows_annotated(everything), server=self._server_annotated)
            for line in lines:
                self.session.send(line)

    def _news(self, row: MailboxRow, known: MailboxRow | None, *, own: bool) -> tuple[StatusItem, ...]:
        """Return what STATUS tells of a mailbox; nothing if it is as the client knows it."""
        if known is None or not readable(known):
            if own and row.uid_next == 1:
                return ()
            # As if it had been empty until now, and another one if the name was there before.
            known = attrs.evolve(row, uid_validity=0, uid_next=1, messages=0, unseen=0, highest_modseq=ModSeq(0))
        if row.highest_modseq == known.highest_modseq:
            return ()
        return _news(known, row, self._watched[row.id], condstore=self.session.condstore)

    def _rows_annotated(self, everything: Listing) -> list[MailboxRow]:
        watched = Event.MAILBOX_METADATA_CHANGE
        return [row for row in everything.mailboxes if watched in self._watched.get(row.id, ())]

    @property
    def _server_annotated(self) -> bool:
        return Event.SERVER_METADATA_CHANGE in self.groups.anywhere

    def _events_either(self, name: str, old: str | None) -> frozenset[Event]:
        events = self.groups.events_of(name, subscribed=name in self._subscribed)
        return events if old is None else events | self.groups.events_of(old, subscribed=old in self._subscribed)


def _news(known: MailboxRow, row: MailboxRow, events: Iterable[Event], *, condstore: bool) -> tuple[StatusItem, ...]:
    """Return what STATUS says of a mailbox that changed; nothing if the client did not ask for that."""
    events = frozenset(events)
    if known.uid_validity != row.uid_validity and Event.FLAG_CHANGE in events:
        return (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY)
    items: list[StatusItem] = []
    moved = (known.uid_next, known.messages) != (row.uid_next, row.messages)
    if moved and Event.MESSAGE_NEW in events:
        items += [StatusItem.UIDNEXT, StatusItem.MESSAGES]
        if condstore:
            items += [StatusItem.HIGHESTMODSEQ]
    if Event.FLAG_CHANGE in events:
        if known.unseen != row.unseen:
            items += [StatusItem.UNSEEN]
        if condstore and not moved:
            items += [StatusItem.HIGHESTMODSEQ]
        if items and not moved:
            items += [StatusItem.UIDVALIDITY]
    return tuple(items)
