"""The only place that reads the arguments of COMPRESS, LANGUAGE and NOTIFY (RFC 4978, RFC 5255 3.2, RFC 5465 8)."""

from collections.abc import Callable
from typing import Final

from sora.core import limits
from sora.core.errors import LimitReached
from sora.imap import fetch_parse
from sora.imap.fetch_items import FetchItem
from sora.imap.session_commands import Compress, Event, EventGroup, Language, Notify, SessionCommand, Watched
from sora.imap.tokens import BadSyntax, Cursor

_SELECTED: Final = frozenset((Watched.SELECTED, Watched.SELECTED_DELAYED))
_NAMED: Final = frozenset((Watched.SUBTREE, Watched.MAILBOXES))
_EVENTS: Final = {event.value.upper().encode("ascii"): event for event in Event}
_OF_MESSAGES: Final = frozenset((Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE))


def _compress(cursor: Cursor) -> SessionCommand:
    return Compress(cursor.keyword("a mechanism").decode("ascii"))


def _language(cursor: Cursor) -> SessionCommand:
    ranges: list[str] = []
    while not cursor.at_end:
        if len(ranges) == limits.IMAP_LANGUAGES_MAX:
            raise LimitReached(f"more than {limits.IMAP_LANGUAGES_MAX} languages")
        if ranges:
            cursor.space()
        ranges.append(cursor.text("a language").lower())
    return Language(tuple(ranges))


def _notify(cursor: Cursor) -> SessionCommand:
    word = cursor.keyword("SET or NONE")
    if word == b"NONE":
        return Notify(())
    if word != b"SET":
        raise BadSyntax("NOTIFY is followed by SET or NONE")
    cursor.space()
    status = cursor.accept(b"STATUS ")
    reading = _Groups(cursor)
    reading.group()
    while not cursor.at_end:
        if len(reading.groups) == limits.IMAP_NOTIFY_GROUPS_MAX:
            raise LimitReached(f"more than {limits.IMAP_NOTIFY_GROUPS_MAX} groups of events")
        cursor.space()
        reading.group()
    if sum(group.which in _SELECTED for group in reading.groups) > 1:
        raise BadSyntax("the selected mailbox is watched in one way only")
    return Notify(tuple(reading.groups), status, reading.unknown)


class _Groups:
    """The groups read so far."""

    def __init__(self, cursor: Cursor) -> None:
        self.groups: list[EventGroup] = []
        self.unknown = False
        self._names = 0
        self._cursor = cursor

    def group(self) -> None:
        """Read one group: mailboxes, then events."""
        cursor = self._cursor
        cursor.expect(b"(")
        try:
            which = Watched(cursor.keyword("which mailboxes"))
        except ValueError:
            raise BadSyntax("unknown kind of mailboxes") from None
        cursor.space()
        names: tuple[str, ...] = ()
        if which in _NAMED:
            names = tuple(self._mailboxes())
            cursor.space()
        events, items = self._events(which)
        cursor.expect(b")")
        self.groups.append(EventGroup(which, events, names, items))

    def _mailboxes(self) -> list[str]:
        cursor = self._cursor
        several = cursor.peek() == b"("
        names = [cursor.mailbox() for _ in cursor.members("mailboxes")] if several else [cursor.mailbox()]
        self._names += len(names)
        if not names:
            raise BadSyntax("no mailbox is named")
        if self._names > limits.IMAP_LIST_ITEMS_MAX:
            raise LimitReached(f"more than {limits.IMAP_LIST_ITEMS_MAX} mailboxes")
        return names

    def _events(self, which: Watched) -> tuple[frozenset[Event], tuple[FetchItem, ...]]:
        cursor = self._cursor
        if cursor.peek() != b"(":
            if cursor.keyword("events") != b"NONE":
                raise BadSyntax("events are in parentheses, or NONE")
            return frozenset(), ()
        found: set[Event] = set()
        items: tuple[FetchItem, ...] = ()
        for _ in cursor.members("events", items_max=limits.IMAP_NOTIFY_EVENTS_MAX):
            # A member before this one may have ended at its list of items.
            name = cursor.keyword("an event")
            event = _EVENTS.get(name)
            if event is None:
                self.unknown = True
                continue
            found.add(event)
            if event is Event.MESSAGE_NEW and cursor.accept(b" ("):
                items = fetch_parse.listed(cursor)
        if not found and not self.unknown:
            raise BadSyntax("no event is named")
        _check(which, found, items)
        return frozenset(found), items


def _check(which: Watched, events: set[Event], items: tuple[FetchItem, ...]) -> None:
    """Raise `BadSyntax` for what may not be asked together (RFC 5465 5, 6.1)."""
    if which in _SELECTED and events - _OF_MESSAGES:
        raise BadSyntax("the selected mailbox has only events of messages")
    if items and which not in _SELECTED:
        raise BadSyntax("items of new messages are for the selected mailbox")
    if (Event.MESSAGE_NEW in events) != (Event.MESSAGE_EXPUNGE in events):
        raise BadSyntax("MessageNew and MessageExpunge go together")
    if Event.FLAG_CHANGE in events and Event.MESSAGE_NEW not in events:
        raise BadSyntax("FlagChange needs MessageNew and MessageExpunge")


READERS: Final[dict[bytes, Callable[[Cursor], SessionCommand]]] = {
    b"COMPRESS": _compress,
    b"LANGUAGE": _language,
    b"NOTIFY": _notify,
}
