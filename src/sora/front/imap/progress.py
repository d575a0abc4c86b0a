"""Telling a client that waits how far its command has come (INPROGRESS, RFC 9585), and how long it may wait."""

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

    __slots__ = ("_ends_at", "_session", "done", "expires_at", "goal", "running", "watched_at")

    def __init__(self, session: "ImapProtocol") -> None:
        self._session = session
        self.expires_at = math.inf
        self.watched_at: int | None = None
        self.running = False
        self._ends_at = math.inf
        """When the command is given up."""
        self.done = self.goal = 0
        """Messages that are done with, of how many; no goal: that is not known."""

    def begin(self, *, bounded: bool) -> None:
        """A command begins; `bounded`: it has `command_timeout`, as its client's pace is not what takes it long."""
        self.running = True
        self.done = self.goal = 0
        now = self._session.wheel.now()
        self.expires_at = now + EVERY
        self._ends_at = now + self._session.services.command_timeout if bounded else math.inf
        if self.watched_at is None:
            self._session.wheel.watch(self)

    def unbounded(self) -> None:
        """The command has done its work; what is left is to tell of it, as fast as its client reads."""
        self._ends_at = math.inf

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
        """Give up what takes too long; else tell, unless the client is being sent something in pieces."""
        session = self._session
        if session.lost or session.closing:
            return
        if session.slow:
            # The time that its client takes to read is not the command's.
            self._ends_at += EVERY
        elif session.wheel.now() >= self._ends_at:
            session.give_up()
            return
        if not session.in_pieces:
            code = responses.in_progress(session.tag, self.done, self.goal)
            session.send(responses.untagged_ok("still at it", code=code))
            session.flush()
        self.expires_at = session.wheel.now() + EVERY
