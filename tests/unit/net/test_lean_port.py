"""The lean port: accepts all that wait, turns away when there is no room, and keeps no connection that failed."""

# ruff: noqa: N802  Twisted's names

import errno
import socket
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sora.net import lean_port
from sora.net.lean_port import LeanPort


class Reactor(Clock):
    """A clock that notes whom it watches."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class Accepted:
    """A connected socket."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.closed = False

    def setblocking(self, blocking: bool) -> None:
        pass

    def fileno(self) -> int:
        return -1 if self.closed else 9

    def close(self) -> None:
        self.closed = True


class Listening:
    """A listening socket that gives what a test put there."""

    family = socket.AF_INET

    def __init__(self, *given: Any) -> None:
        self.given = list(given)
        self.closed = False

    def setblocking(self, blocking: bool) -> None:
        pass

    def accept(self) -> Any:
        if not self.given:
            raise BlockingIOError
        one = self.given.pop(0)
        if isinstance(one, int):
            raise OSError(one, "no")
        return one, ("192.0.2.1", 1000)

    def fileno(self) -> int:
        return -1 if self.closed else 5

    def close(self) -> None:
        self.closed = True


class PortTests(SynchronousTestCase):
    def port(self, *given: Any, build: Any = None, tls: Any = None) -> LeanPort:
        self.reactor = Reactor()
        self.made: list[Any] = []
        self.factory = Factory()
        self.factory.noisy = False
        self.factory.buildProtocol = build or self.build  # type: ignore[method-assign]
        port = LeanPort(Listening(*given), self.factory, reactor=self.reactor, tls=tls)  # type: ignore[arg-type]
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    def build(self, address: Any) -> Any:
        self.made.append(Made())
        return self.made[-1]

    def test_all_that_wait_are_accepted_up_to_a_number(self) -> None:
        port = self.port(*(Accepted() for _ in range(lean_port.ACCEPTS + 1)))
        port.doRead()
        self.assertEqual(len(self.made), lean_port.ACCEPTS)
        port.doRead()
        self.assertEqual(len(self.made), lean_port.ACCEPTS + 1)

    def test_who_has_gone_before_being_accepted_holds_up_nobody(self) -> None:
        port = self.port(errno.ECONNABORTED, errno.EPERM, Accepted())
        port.doRead()
        self.assertEqual(len(self.made), 1)

    def test_who_finds_no_descriptor_is_turned_away_at_once(self) -> None:
        waiting = [Accepted() for _ in range(3)]
        port = self.port(errno.EMFILE, *waiting)
        port.doRead()
        self.assertEqual([one.closed for one in waiting], [True] * 3)
        self.assertIn(port, self.reactor.readers)
        self.assertEqual(self.made, [])
        port.socket.given.append(errno.EMFILE)  # type: ignore[attr-defined]
        port.socket.given.append(last := Accepted())  # type: ignore[attr-defined]
        port.doRead()
        self.assertTrue(last.closed)

    def test_without_memory_the_port_rests_and_goes_on(self) -> None:
        port = self.port(errno.ENOMEM, Accepted())
        port.doRead()
        self.assertEqual(self.reactor.readers, [])
        self.reactor.advance(lean_port.REST)
        self.assertIn(port, self.reactor.readers)
        port.doRead()
        self.assertEqual(len(self.made), 1)

    def test_a_port_that_stops_while_it_rests_leaves_no_timer(self) -> None:
        port = self.port(errno.ENFILE)
        port.doRead()
        self.reactor.readers.append(port)
        port.stopListening()
        port.stopListening()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((port.fileno(), self.reactor.readers), (-1, []))

    def test_a_factory_may_refuse(self) -> None:
        refused = Accepted()
        self.port(refused, build=lambda address: None).doRead()
        self.assertTrue(refused.closed)

    def test_a_protocol_that_fails_at_once_is_told_of_its_end(self) -> None:
        bad, good = Accepted(), Accepted()
        port = self.port(bad, good)
        self.patch(Made, "failing", True)
        port.doRead()
        self.assertEqual([made.lost for made in self.made], [True, True])
        self.assertEqual((bad.closed, good.closed, self.reactor.readers), (True, True, [port]))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_peer_that_has_gone_before_tls_began_is_nobody_for_the_factory(self) -> None:
        class Certificates:
            def ssl_context(self) -> Any:
                return self

            def wrap_socket(self, plain: Any, **options: Any) -> Any:
                raise OSError(errno.ENOTCONN, "gone")

        gone = Accepted()
        self.port(gone, tls=Certificates()).doRead()
        self.assertEqual((self.made, gone.closed), ([], True))


class Made:
    """A protocol."""

    failing = False
    lost = False

    def makeConnection(self, transport: Any) -> None:
        if self.failing:
            raise ValueError("a bug")

    def connectionLost(self, reason: Any) -> None:
        self.lost = True
