"""Lean transports without sockets: addresses, and what they tell the reactor when."""

# ruff: noqa: N802  Twisted's names

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sora.net.lean import FULL, SEND_SIZE, Connection, address_of


class Reactor(Clock):
    """A clock that notes what it is told about descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def addReader(self, reader: Any) -> None:
        self.told.append("+read")

    def removeReader(self, reader: Any) -> None:
        self.told.append("-read")

    def addWriter(self, writer: Any) -> None:
        self.told.append("+write")

    def removeWriter(self, writer: Any) -> None:
        self.told.append("-write")


class Socket:
    """Takes as many octets as a test lets it."""

    family = socket.AF_INET

    def __init__(self, room: int = 2**40) -> None:
        self.room = room
        self.sent = b""
        self.largest = 0
        self.coming = [b"hello"]

    def setblocking(self, blocking: bool) -> None:
        pass

    def fileno(self) -> int:
        return 9

    def send(self, data: Any) -> int:
        taken = min(self.room, len(data))
        self.largest = max(self.largest, len(data))
        if not taken:
            raise BlockingIOError
        self.room -= taken
        self.sent += bytes(data[:taken])
        return taken

    def recv(self, size: int) -> bytes:
        if not self.coming:
            raise BlockingIOError
        return self.coming.pop()

    def close(self) -> None:
        pass


class Listener(Protocol):
    """Notes what comes."""

    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class LeanTests(SynchronousTestCase):
    def connect(self, room: int = 2**40) -> Connection:
        self.reactor, self.socket, self.protocol = Reactor(), Socket(room), Listener()
        connection = Connection(self.socket, ("192.0.2.1", 1), self.protocol, self.reactor)  # type: ignore[arg-type]
        connection.begin()
        return connection

    def test_addresses_of_every_family(self) -> None:
        for family, name, address in (
            (socket.AF_INET, ("192.0.2.1", 143), IPv4Address("TCP", "192.0.2.1", 143)),
            (socket.AF_INET6, ("2001:db8::1", 143, 0, 0), IPv6Address("TCP", "2001:db8::1", 143)),
            (socket.AF_INET6, ("::ffff:192.0.2.1", 143, 0, 0), IPv6Address("TCP", "::ffff:192.0.2.1", 143)),
            (socket.AF_INET6, ("fe80::1", 143, 0, 1), IPv6Address("TCP", "fe80::1%lo", 143)),
            (socket.AF_UNIX, "/run/sora", UNIXAddress(b"/run/sora")),
            (socket.AF_UNIX, "", UNIXAddress(None)),
        ):
            self.assertEqual(address_of(family, name), address)

    def test_a_peer_keeps_its_address_when_it_has_gone(self) -> None:
        connection = self.connect()
        connection.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
        self.assertEqual(connection.getPeer(), IPv4Address("TCP", "192.0.2.1", 1))
        self.assertEqual(connection.fileno(), -1)
        self.assertRaises(OSError, connection.getHost)

    def test_what_the_socket_takes_costs_the_reactor_nothing(self) -> None:
        connection = self.connect()
        for _ in range(3):
            connection.write(b"a line\r\n")
            connection.pauseProducing()
            connection.resumeProducing()
        self.assertEqual((self.socket.sent, self.reactor.told), (b"a line\r\n" * 3, ["+read"]))

    def test_what_the_socket_does_not_take_waits_for_it(self) -> None:
        connection = self.connect(room=5)
        connection.write(b"hello world")
        connection.write(b"!")
        self.assertEqual((self.socket.sent, self.reactor.told), (b"hello", ["+read", "+write"]))
        self.socket.room = 3
        self.assertIsNone(connection.doWrite())
        self.socket.room = 100
        connection.doWrite()
        connection.doWrite()
        self.assertEqual((self.socket.sent, self.reactor.told[-1]), (b"hello world!", "-write"))

    def test_no_more_than_a_bound_is_offered_at_once(self) -> None:
        connection = self.connect(room=10)
        connection.write(b"x" * SEND_SIZE * 3)
        self.socket.room = 2**40
        while connection._size:
            connection.doWrite()
        self.assertEqual((len(self.socket.sent), self.socket.largest), (SEND_SIZE * 3, SEND_SIZE))

    def test_a_paused_reader_leaves_the_reactor_only_when_something_comes(self) -> None:
        connection = self.connect()
        connection.pauseProducing()
        self.assertEqual(self.reactor.told, ["+read"])
        connection.doRead()
        connection.doRead()
        self.assertEqual((self.reactor.told, self.protocol.received), (["+read", "-read"], b""))
        connection.resumeProducing()
        connection.doRead()
        self.assertEqual((self.reactor.told[-1], self.protocol.received), ("+read", b"hello"))

    def test_only_one_streaming_producer_is_served(self) -> None:
        connection = self.connect()
        self.assertRaises(RuntimeError, connection.registerProducer, object(), False)
        connection.registerProducer(object(), True)
        self.assertRaises(RuntimeError, connection.registerProducer, object(), True)

    def test_a_closing_connection_whose_producer_is_paused_ends_when_all_has_left(self) -> None:
        calls: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                calls.append("pause")

            def resumeProducing(self) -> None:
                calls.append("resume")

            def stopProducing(self) -> None:
                calls.append("stop")

        connection = self.connect(room=0)
        connection.registerProducer(Producer(), True)
        connection.write(b"x" * (FULL + 1))
        connection.write(b"y")
        connection.loseConnection()
        self.reactor.advance(0)
        self.assertTrue(connection.connected)
        self.socket.room = 2**40
        while (ended := connection.doWrite()) is None:
            self.assertTrue(connection._size)
        self.assertIsInstance(ended, ConnectionDone)
        self.assertEqual(calls, ["pause", "resume"])
