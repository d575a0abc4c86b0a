"""The only place that says which events a client wants to hear of which mailbox (RFC 5465 6).

Groups of one kind are made one, so that asking costs a few look-ups, however many groups and names a client sends.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sora.imap.mailbox_name import SEPARATOR
from sora.imap.session_commands import Event, EventGroup, Watched

Events = frozenset[Event]
_SELECTED: Final = frozenset((Watched.SELECTED, Watched.SELECTED_DELAYED))
_NONE: Final[Events] = frozenset()


class Groups:
    """What one NOTIFY SET asks for."""

    def __init__(self, groups: Iterable[EventGroup], foreign: Callable[[str], bool]) -> None:
        """`foreign` tells whether a name is in another namespace than one's own."""
        kept = list(groups)
        self._foreign = foreign
        self.selected = next((one for one in kept if one.which in _SELECTED and one.events), None)
        """What is told of the selected mailbox; None: nothing."""
        self.anywhere = _NONE.union(*(one.events for one in kept if one.which not in _SELECTED))
        """What is told of any other mailbox, or of the server."""
        self._personal = _together(kept, Watched.PERSONAL) | _together(kept, Watched.INBOXES)
        self._subscribed = _together(kept, Watched.SUBSCRIBED)
        self._named = _by_name(kept, Watched.MAILBOXES)
        self._trees = _by_name(kept, Watched.SUBTREE)

    def events_of(self, name: str, *, subscribed: bool) -> Events:
        """Return what is told of a mailbox by its name, unless it is selected."""
        found = self._named.get(name, _NONE)
        if self._personal and not self._foreign(name):
            found |= self._personal
        if subscribed:
            found |= self._subscribed
        if self._trees:
            end = len(name)
            while end > 0:
                found |= self._trees.get(name[:end], _NONE)
                end = name.rfind(SEPARATOR, 0, end)
        return found


def _together(groups: Iterable[EventGroup], which: Watched) -> Events:
    return _NONE.union(*(one.events for one in groups if one.which is which))


def _by_name(groups: Iterable[EventGroup], which: Watched) -> Mapping[str, Events]:
    found: dict[str, Events] = {}
    for group in groups:
        if group.which is which:
            for name in group.names:
                found[name] = found.get(name, _NONE) | group.events
    return found
