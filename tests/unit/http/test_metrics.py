"""The metrics server over a transport of strings."""

from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial import unittest

from sora.front.http.metrics import BODY_MAX, CONNECTIONS_MAX, IDLE_TIMEOUT, KEPT, MetricsFactory

HERE = IPv4Address("TCP", "127.0.0.1", 40_000)
ELSEWHERE = IPv4Address("TCP", "192.0.2.1", 40_000)
GONE = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
TEXT = b"sora_up 1.0\n"


class MetricsServerTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[Deferred[bytes]] = []
        self.factory = self.build()

    def build(self, api_key: str | None = None) -> MetricsFactory:
        return MetricsFactory(self.gather, reactor=self.clock, allowed=[ip_network("127.0.0.0/8")], api_key=api_key)

    def gather(self) -> "Deferred[bytes]":
        self.asked.append(Deferred())
        return self.asked[-1]

    def connect(self, peer: IAddress = HERE) -> tuple[Any, StringTransport]:
        protocol = self.factory.buildProtocol(peer)
        transport = StringTransport(peerAddress=peer)
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, request: bytes, *, headers: bytes = b"") -> bytes:
        """Return the answer to one request; the metrics are gathered at once."""
        protocol, transport = self.connect()
        protocol.dataReceived(request + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        for one in self.asked:
            if not one.called:
                one.callback(TEXT)
        return bytes(transport.value())

    def status(self, request: bytes, *, headers: bytes = b"") -> int:
        return int(self.ask(request, headers=headers).split()[1])

    def test_the_metrics_are_at_one_place_only(self) -> None:
        answer = self.ask(b"GET /metrics")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn(b"text/plain; version=0.0.4", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n" + TEXT), answer)
        for path in (b"/", b"/metrics/", b"/metrics?x=1", b"/Metrics", b"//metrics", b"/../metrics"):
            self.assertEqual(self.status(b"GET " + path), 404, path)

    def test_they_can_only_be_read(self) -> None:
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"BREW"):
            self.assertEqual(self.status(method + b" /metrics"), 405, method)
        answer = self.ask(b"HEAD /metrics")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"), answer)

    def test_who_has_no_key_learns_nothing(self) -> None:
        self.factory = self.build("sesame")
        for header in (b"", b"Bearer", b"Bearer ", b"Bearer sesam", b"Bearer sesame2", b"bearer sesame", b"Basic c2U="):
            answer = self.ask(b"GET /metrics", headers=b"Authorization: " + header + b"\r\n" if header else b"")
            self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), (header, answer))
            self.assertNotIn(TEXT, answer)
        self.assertEqual(self.asked, [])
        self.assertEqual(self.status(b"GET /metrics", headers=b"Authorization: Bearer sesame\r\n"), 200)

    def test_a_stranger_is_hung_up_on(self) -> None:
        _, transport = self.connect(ELSEWHERE)
        self.assertTrue(transport.disconnected)
        self.assertEqual(transport.value(), b"")
        _, transport = self.connect(UNIXAddress(b"/run/x"))
        self.assertFalse(transport.disconnecting or transport.disconnected)

    def test_there_is_room_for_a_few_connections_and_again_when_they_end(self) -> None:
        open_ones = [self.connect() for _ in range(CONNECTIONS_MAX)]
        self.assertTrue(self.connect()[1].disconnected)
        for protocol, _ in open_ones:
            protocol.connectionLost(GONE)
        self.assertFalse(self.connect()[1].disconnected)

    def test_silence_ends_a_connection(self) -> None:
        _, transport = self.connect()
        self.clock.advance(IDLE_TIMEOUT)
        self.assertTrue(transport.disconnecting)

    def test_a_body_is_not_kept_and_a_long_one_ends_the_connection(self) -> None:
        for headers in (b"Content-Length: %d\r\n" % (BODY_MAX + 1), b"Transfer-Encoding: chunked\r\n"):
            protocol, transport = self.connect()
            protocol.dataReceived(b"POST /metrics HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
            self.assertTrue(transport.disconnected, headers)
        protocol, transport = self.connect()
        protocol.dataReceived(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        self.assertIn(b" 405 ", transport.value().splitlines()[0])

    def test_many_who_ask_at_once_cost_one_round(self) -> None:
        transports = []
        for _ in range(3):
            protocol, transport = self.connect()
            protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            transports.append(transport)
        [one] = self.asked
        one.callback(TEXT)
        for transport in transports:
            self.assertTrue(transport.value().endswith(TEXT))
        self.clock.advance(KEPT)
        self.ask(b"GET /metrics")
        self.assertEqual(len(self.asked), 2)

    def test_who_hangs_up_while_it_is_gathered_harms_nobody(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        protocol.connectionLost(GONE)
        self.asked[0].callback(TEXT)
        self.assertEqual(transport.value(), b"")

    def test_metrics_that_cannot_be_gathered_are_an_error_and_asked_for_anew(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        self.asked[0].errback(RuntimeError("no"))
        self.assertIn(b" 500 ", transport.value().splitlines()[0])
        self.assertNotIn(b"RuntimeError", transport.value())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.status(b"GET /metrics"), 200)
