"""The change feed: one LISTEN connection per process, from which sessions wake by mailbox.

A NOTIFY of the channel `sora` says `mailbox:modseq,mailbox:modseq`, or `mailbox:modseq:reader` of what changed for one
reader alone. When the connection is lost every
listener is told `FeedLost`, and once more when LISTEN is in effect again: what changed between the two
was announced to nobody, and only who asks the store after the second has missed nothing.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg2
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora.core.errors import DatabaseUnavailable
from sora.core.events import FeedLost, MailboxChanged
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.postgres.adapter import Connection
from sora.postgres.opening import Opener
from sora.postgres.settings import DatabaseSettings

Listener = Callable[[MailboxChanged | FeedLost], None]
CHANNEL: Final = "sora"
_EVERY: Final = MailboxId(0)
"""No mailbox's id: stands for all of them."""
_BACKOFF_FIRST: Final = 0.1
_BACKOFF_MAX: Final = 2.0


class PostgresFeed:
    """`store.interfaces.Feed` over LISTEN."""

    log = Logger()

    def __init__(self, settings: DatabaseSettings, reactor: Any) -> None:
        self._reactor = reactor
        self._opener = Opener(settings, reactor)
        self._listeners: dict[MailboxId, list[Listener]] = {}
        self._connection: Connection | None = None
        self._running = False
        self._backoff = 0.0
        self._retry: Any = None

    def subscribe(self, mailbox: MailboxId, listener: Listener) -> Callable[[], None]:
        """Call `listener` on each change of the mailbox, and on loss of the feed; returns the cancellation."""
        self._listeners.setdefault(mailbox, []).append(listener)

        def cancel() -> None:
            listeners = self._listeners.get(mailbox)
            if listeners is not None and listener in listeners:
                listeners.remove(listener)
                if not listeners:
                    del self._listeners[mailbox]

        return cancel

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` on each change of any mailbox, and on loss of the feed; returns the cancellation."""
        return self.subscribe(_EVERY, listener)

    @property
    def connected(self) -> bool:
        """Whether changes are being heard."""
        return self._connection is not None

    async def start(self) -> None:
        """Connect and listen. Raises `DatabaseUnavailable`."""
        self._running = True
        await self._listen()

    async def stop(self) -> None:
        """Disconnect; listeners hear nothing of it."""
        self._running = False
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        self._opener.stop()
        if self._connection is not None:
            self._connection.on_lost = None
            self._connection.close()
            self._connection = None

    async def _listen(self) -> None:
        connection = await self._opener.start()
        connection.on_notify = self._notified
        try:
            await connection.query(f"LISTEN {CHANNEL}")
        except psycopg2.Error as error:
            connection.close()
            raise DatabaseUnavailable("LISTEN failed") from error
        if not self._running:
            connection.close()
            return
        self._backoff = 0.0
        self._connection = connection
        connection.on_lost = self._lost

    def _lost(self, connection: Connection) -> None:
        self._connection = None
        if self._running:
            self.log.warn("the change feed was lost")
            self._tell_all()
            self._reconnect()

    def _reconnect(self) -> None:
        Deferred.fromCoroutine(self._listen()).addCallbacks(self._heard_again, self._not_yet)

    def _heard_again(self, _: None) -> None:
        if self._running:
            self._tell_all()

    def _not_yet(self, failure: Failure) -> None:
        if not self._running:
            return
        self._backoff = min(_BACKOFF_MAX, self._backoff * 2 or _BACKOFF_FIRST)
        self._retry = self._reactor.callLater(self._backoff, self._reconnect)
        if not isinstance(failure.value, DatabaseUnavailable):
            self.log.failure("the change feed could not be opened", failure)

    def _tell_all(self) -> None:
        for listeners in list(self._listeners.values()):
            for listener in list(listeners):
                self._tell(listener, FeedLost())

    def _tell(self, listener: Listener, event: MailboxChanged | FeedLost) -> None:
        try:
            listener(event)
        except Exception:  # noqa: BLE001  a boundary: one listener's bug is not the others'
            self.log.failure("a listener of the change feed broke")

    def _notified(self, channel: str, payload: str) -> None:
        if channel != CHANNEL:
            return
        for one in payload.split(","):
            mailbox, modseq, *reader = one.split(":")
            listeners = (*self._listeners.get(MailboxId(int(mailbox)), ()), *self._listeners.get(_EVERY, ()))
            if listeners:
                whose = AccountId(int(reader[0])) if reader else None
                event = MailboxChanged(MailboxId(int(mailbox)), ModSeq(int(modseq)), whose)
                for listener in listeners:
                    self._tell(listener, event)
