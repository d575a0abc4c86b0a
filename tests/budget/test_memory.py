"""What an idle connection and a message in a view hold in memory: octets counted by tracemalloc, without a clock."""

import gc
import os
import socket
import tracemalloc
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from blake3 import blake3
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial import unittest

from sora.core.ids import AccountId, MailboxId, ModSeq, Uid
from sora.disk.cache import _append, _scan
from sora.imap.view import SessionView
from sora.mail.live import Live
from sora.net.lean import Connection
from sora.store.memory import MemoryFeed
from sora.store.memory_state import State
from sora.store.model import Columns, MailboxRow, Opened
from tests.dialogs.connections import PEER, MemoryTransport
from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import MemoryWorld

Made = TypeVar("Made")

SESSIONS = 200
IDLE = 8_000
"""Octets of Python's memory that an idle session holds, as counted; without its transport."""
TOLERANCE = 1.25
BESIDE = 12 * 1024
"""What is left for Twisted's transport, the allocator and the kernel's buffers."""
ALLOWED = 30 * 1024
"""Octets of an idle cleartext connection in all."""

TRANSPORT = 1_000
"""Octets of Python's memory that a lean transport holds, its socket included; what OpenSSL holds is not seen here."""

CACHED = 50_000
CACHED_BODY = 130
"""Octets of the index of the local cache for each body."""

MESSAGES = 100_000
SHARED = 20
"""Octets a message may hold in what all sessions share; 13 are in the columns."""
IN_STEP = 2 * 1024
"""Octets that one more session may hold while it has been told everything."""


def held(make: Callable[[], Made]) -> tuple[int, Made]:
    """Return how many octets more are held when `make` has been called, and what it made."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = make()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, made
    finally:
        tracemalloc.stop()


class IdleTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.world = MemoryWorld(Dialog("idle", [Account("anna@example.org", "tide", [])], {}, (), []))
        self.successResultOf(Deferred.fromCoroutine(self.world.set_up()))
        self.factory = self.world.imap()
        self.factory.services.connections_per_user_max = 2 * SESSIONS

    def connect(self, transports: list[MemoryTransport]) -> list[Any]:
        """Connect clients, have each sign in, select INBOX and idle."""
        clock = self.world.clock
        for transport in transports:
            transport.server = self.factory.buildProtocol(PEER)
            transport.server.makeConnection(transport)
            for command in (b"a LOGIN anna@example.org tide", b"b SELECT INBOX", b"c IDLE"):
                transport.deliver(command + b"\r\n")
                clock.pump([0] * 5)
            transport.clear()
        return [transport.server for transport in transports]

    def test_an_idle_session_holds_few_octets(self) -> None:
        transports = [MemoryTransport(self.world.clock) for _ in range(2 * SESSIONS)]
        self.connect(transports[:SESSIONS])
        octets, made = held(lambda: self.connect(transports[SESSIONS:]))
        self.assertEqual([session.idling for session in made], [True] * SESSIONS)
        self.assertLess(octets / SESSIONS, IDLE * TOLERANCE)
        self.assertLess(IDLE * TOLERANCE + BESIDE, ALLOWED)
        for transport in transports:
            transport.end()


class TransportTests(unittest.SynchronousTestCase):
    def test_a_lean_transport_holds_few_octets(self) -> None:
        pairs = [socket.socketpair() for _ in range(SESSIONS)]
        for pair in pairs:
            for end in pair:
                self.addCleanup(end.close)
        # Accepting makes a socket's object and a peer's address: they are counted, too.
        descriptors = [os.dup(pair[0].fileno()) for pair in pairs]
        reactor = Clock()
        reactor.addReader = reactor.removeReader = lambda selectable: None  # type: ignore[attr-defined]

        def connected() -> list[Connection]:
            made = []
            for number, descriptor in enumerate(descriptors):
                accepted = socket.socket(fileno=descriptor)
                made.append(Connection(accepted, (f"192.0.2.{number}", 50_000 + number), Idler(), reactor))
                made[-1].begin()
            return made

        octets, made = held(connected)
        self.assertLess(octets / SESSIONS, TRANSPORT)
        for connection in made:  # type: ignore[attr-defined]
            connection.connectionLost(Failure(ConnectionDone()))


class Idler(Protocol):
    """Says nothing."""


class Mailboxes:
    """One large mailbox."""

    def open(
        self,
        account: AccountId,
        name: str,
        *,
        claim_recent: bool,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> "Deferred[Opened]":
        """Return columns made anew."""
        row = MailboxRow(
            id=MailboxId(1),
            name=name,
            special_use=None,
            uid_validity=1,
            uid_next=MESSAGES + 1,
            highest_modseq=ModSeq(MESSAGES),
            messages=MESSAGES,
            unseen=0,
            deleted=0,
            size=0,
            deleted_size=0,
            recent=0,
            keywords=(),
            subscribed=True,
        )
        uids = array("I", range(1, MESSAGES + 1))
        columns = Columns(uids, array("B", bytes(MESSAGES)), array("Q", range(1, MESSAGES + 1)), {})
        return succeed(Opened(row, columns, Uid(MESSAGES + 1)))


class ViewTests(unittest.SynchronousTestCase):
    def test_a_message_in_a_view_holds_few_octets_and_a_session_in_step_hardly_any(self) -> None:
        from twisted.internet.task import Clock

        live = Live(Mailboxes(), MemoryFeed(State(Clock())))

        def opened() -> object:
            return self.successResultOf(Deferred.fromCoroutine(live.open(AccountId(1), "INBOX", claim_recent=False)))

        octets, mailbox = held(opened)
        self.assertLess(octets / MESSAGES, SHARED)

        def watched() -> object:
            view = SessionView(mailbox.version, recent_from=mailbox.recent_from)
            return view, mailbox.listen(lambda: None), view.flag_texts([(1, 1)]), view.first_unseen()

        octets, kept = held(watched)
        self.assertLess(octets, IN_STEP)
        self.assertIsNotNone(kept)


class CacheTests(unittest.SynchronousTestCase):
    """The index of the local body cache: what a body on the disk holds in memory."""

    def test_a_cached_body_holds_few_octets_of_memory(self) -> None:
        path = Path(self.mktemp())
        path.mkdir()
        for _ in range(CACHED // 10_000):
            bodies = {blake3(os.urandom(16)).digest(): b"" for _ in range(10_000)}
            _append(path, None, bodies)
        octets, segments = held(partial(_scan, path))
        self.assertEqual(sum(len(segment.live) for segment in segments), CACHED)
        self.assertLess(octets / CACHED, CACHED_BODY)
