"""Telling a client that waits how far its command has come: INPROGRESS (RFC 9585)."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sora.core import limits
from sora.imap import commands, responses
from sora.imap import search_commands as searching

if TYPE_CHECKING:
    from sora.front.imap.session import ImapProtocol

EVERY: Final = 1.0
"""Seconds of one command until it is told of, and between two tellings; the wheel looks once a second."""
LONG: Final = frozenset(
    (
        *(searching.Search, searching.Sort, searching.Thread, searching.MultiSearch),
        *(commands.Copy, commands.Move, commands.Store, commands.Expunge, commands.Fetch),
        *(commands.Append, commands.Replace, commands.Delete, commands.Rename),
    )
)
"""Commands that may take long."""


class Progress:
    """How far the present command of a session has come; the wheel's member while it runs."""

    __slots__ = ("_session", "done", "expires_at", "goal", "running", "watched_at")

    def __init__(self, session: "ImapProtocol") -> None:
        self._session = session
        self.expires_at = math.inf
        self.watched_at: int | None = None
        self.running = False
        self.done = self.goal = 0
        """Messages that are done with, of how many; no goal: that is not known."""

    def begin(self) -> None:
        """A command begins."""
        self.running = True
        self.done = self.goal = 0
        self.expires_at = self._session.wheel.now() + EVERY
        if self.watched_at is None:
            self._session.wheel.watch(self)

    def end(self) -> None:
        """The command has ended; the wheel forgets it when it next looks."""
        self.running = False
        self.expires_at = math.inf

    def pages(self, count: int) -> Iterator[slice]:
        """Yield the pages of a change of so many messages, one statement each; each begins where progress stands."""
        for start in range(0, count, limits.IMAP_CHANGE_PAGE):
            self.done, self.goal = start, count
            yield slice(start, start + limits.IMAP_CHANGE_PAGE)

    def due(self) -> None:
        """Tell, unless the client is being sent something in pieces, which tells enough."""
        session = self._session
        if session.lost or session.closing:
            return
        if not session.in_pieces:
            code = responses.in_progress(session.tag, self.done, self.goal)
            session.send(responses.untagged_ok("still at it", code=code))
            session.flush()
        self.expires_at = session.wheel.now() + EVERY
