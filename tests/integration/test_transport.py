"""What a connection's transport promises, held to by the lean transports and by Twisted's own, with and without TLS.

Each test has a reactor of its own, turned by hand, and a client that is a plain socket: what a peer sees counts.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sora.net.listeners import UnixAddress, bind, serve
from sora.net.tls import self_signed
from tests.integration.transports import MUCH, Recorder, Turning


class Contract(Turning):
    """The promises."""

    # ------------------------------------------------------------ writing

    def test_what_is_written_arrives_in_order_whatever_the_socket_takes(self) -> None:
        client = self.connect()
        pieces = [bytes([number % 251]) * (number * 13 % 9000) for number in range(300)]
        for piece in pieces:
            self.server.transport.write(piece)
        self.server.transport.writeSequence([b"the", b" ", b"end"])
        wanted = b"".join(pieces) + b"the end"
        self.assertEqual(self.read(client, len(wanted)), wanted)

    def test_one_large_write_arrives_whole(self) -> None:
        client = self.connect()
        data = bytes(range(256)) * (MUCH // 256)
        self.server.transport.write(data)
        self.assertEqual(self.read(client, len(data)), data)

    def test_only_octets_are_written(self) -> None:
        self.connect()
        for wrong in ("text", None, 1):
            with contextlib.suppress(TypeError):
                self.server.transport.write(wrong)
                self.fail("it was taken")

    def test_what_is_written_inside_the_calls_of_the_transport_arrives(self) -> None:
        self.server.on_made = lambda server: server.transport.write(b"hello ")
        self.server.on_data = lambda server, data: server.transport.write(data.upper())
        client = self.connect()
        client.send(b"abc")
        self.assertEqual(self.read(client, 9), b"hello ABC")

    def test_a_slow_reader_pauses_the_producer_and_a_quick_one_lets_it_go_on(self) -> None:
        client = self.connect()
        left = [MUCH]

        def produce(server: Recorder) -> None:
            while left[0] and server.calls[-1] != "pause":
                left[0] -= 20_000
                server.transport.write(b"x" * 20_000)

        self.server.on_resumed = produce
        self.server.transport.registerProducer(self.server, True)
        produce(self.server)
        self.assertEqual(self.server.calls[-1], "pause")
        self.assertTrue(left[0] > MUCH / 2)
        self.assertEqual(len(self.read(client, MUCH)), MUCH)
        self.assertIn("resume", self.server.calls)
        self.server.transport.unregisterProducer()

    # ------------------------------------------------------------ reading

    def test_nothing_is_delivered_while_reading_is_paused(self) -> None:
        client = self.connect()
        self.server.on_data = lambda server, data: server.transport.pauseProducing()
        client.send(b"one")
        self.until(lambda: self.server.received == b"one")
        client.send(b"two")
        self.turn(20)
        self.assertEqual(self.server.received, b"one")
        self.server.on_data = None
        self.server.transport.resumeProducing()
        self.until(lambda: self.server.received == b"onetwo")

    def test_much_that_is_received_is_delivered_whole(self) -> None:
        client = self.connect()
        data = bytes(range(256)) * 4000
        sent = 0

        def arrived() -> bool:
            nonlocal sent
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
                sent += client.send(data[sent : sent + 50_000]) if sent < len(data) else 0
            return len(self.server.received) == len(data)

        self.until(arrived)
        self.assertEqual(self.server.received, data)

    def test_reading_goes_on_when_it_was_paused_and_resumed_at_once(self) -> None:
        client = self.connect()

        def flicker(server: Recorder, data: bytes) -> None:
            server.transport.pauseProducing()
            server.transport.resumeProducing()

        self.server.on_data = flicker
        for _ in range(3):
            client.send(b"x" * 1000)
            self.turn(3)
        self.until(lambda: len(self.server.received) == 3000)

    # ------------------------------------------------------------ ends

    def twisted_tls_says_lost_or(self, reason: type) -> list[type]:
        """Return the possible reasons of an end: all the same to Twisted's TLS."""
        return [reason, ConnectionLost] if self.secure and not self.lean else [reason]

    def test_a_close_flushes_and_then_tells_that_it_is_done(self) -> None:
        client = self.connect()
        self.server.transport.write(b"x" * MUCH)
        self.server.transport.write(b"bye")
        self.server.transport.loseConnection()
        self.assertEqual(self.server.calls, ["made"])
        got = self.read_to_end(client)
        self.assertEqual((len(got), got[-3:]), (MUCH + 3, b"bye"))
        self.leave(client)
        self.assertEqual(self.lost(), ConnectionDone)
        self.assertEqual(self.server.calls, ["made", "lost"])

    def test_a_close_inside_of_what_was_received_never_calls_back_at_once(self) -> None:
        seen: list[list[str]] = []

        def leave(server: Recorder, data: bytes) -> None:
            server.transport.write(b"bye")
            server.transport.loseConnection()
            seen.append(list(server.calls))

        self.server.on_data = leave
        client = self.connect()
        client.send(b"logout")
        self.assertEqual(self.read_to_end(client), b"bye")
        self.leave(client)
        self.assertEqual((self.lost(), seen), (ConnectionDone, [["made"]]))

    def test_a_close_after_a_streaming_producer_ends(self) -> None:
        client = self.connect()
        self.server.transport.registerProducer(self.server, True)
        self.server.transport.write(b"x" * 1000)
        self.server.transport.unregisterProducer()
        self.server.transport.loseConnection()
        self.assertEqual(len(self.read_to_end(client)), 1000)
        self.leave(client)
        self.assertEqual(self.lost(), ConnectionDone)

    def test_an_abort_drops_what_waits_and_says_so(self) -> None:
        client = self.connect()
        self.server.transport.registerProducer(self.server, True)
        self.server.transport.write(b"x" * MUCH)
        self.server.transport.abortConnection()
        self.server.transport.abortConnection()
        self.server.transport.write(b"more")
        self.assertIn(self.lost(), self.twisted_tls_says_lost_or(ConnectionAborted))
        self.assertEqual(self.server.calls.count("lost"), 1)
        self.assertIn("stop", self.server.calls)
        with contextlib.suppress(OSError):
            self.assertTrue(len(self.read_to_end(client)) < MUCH)

    def test_an_abort_inside_of_what_was_received_never_calls_back_at_once(self) -> None:
        seen: list[list[str]] = []

        def abort(server: Recorder, data: bytes) -> None:
            server.transport.write(b"x" * MUCH)
            server.transport.abortConnection()
            server.transport.loseConnection()
            seen.append(list(server.calls))

        self.server.on_data = abort
        client = self.connect()
        client.send(b"x")
        self.lost()
        self.assertEqual((seen, self.server.calls), ([["made"]], ["made", "lost"]))

    def test_a_close_and_then_an_abort_ends_once(self) -> None:
        self.connect()
        self.server.transport.write(b"x" * MUCH)
        self.server.transport.loseConnection()
        self.turn(3)
        self.assertEqual(self.server.calls, ["made"])
        self.server.transport.abortConnection()
        self.lost()
        self.turn(3)
        self.assertEqual(self.server.calls, ["made", "lost"])

    def test_a_peer_that_sends_no_more_ends_the_connection_when_all_was_delivered(self) -> None:
        client = self.connect()
        client.send(b"last words")
        if self.secure:
            with contextlib.suppress(ssl.SSLWantReadError):
                client.unwrap()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.lost(), ConnectionDone)
        self.assertEqual(self.server.received, b"last words")

    def test_a_peer_that_resets_while_much_waits_is_a_lost_connection(self) -> None:
        client = self.connect()
        self.server.transport.registerProducer(self.server, True)
        self.server.transport.write(b"x" * MUCH)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        self.assertEqual(self.lost(), ConnectionLost)
        self.assertEqual(self.server.calls[:2], ["made", "pause"])
        self.assertEqual(self.server.calls[-2:], ["stop", "lost"])
        self.server.transport.write(b"more")
        self.server.transport.loseConnection()
        self.turn(3)
        self.assertEqual(self.server.calls.count("lost"), 1)

    def test_a_write_to_a_peer_that_has_reset_raises_nothing(self) -> None:
        client = self.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        for _ in range(3):
            self.server.transport.write(b"is anybody there?")
        self.assertEqual(self.server.calls, ["made"])
        self.assertIn(self.lost(), (ConnectionLost, ConnectionDone))

    def test_a_protocol_that_raises_is_logged_and_loses_its_connection_alone(self) -> None:
        client = self.connect()
        other = self.connect_another()

        def fail(server: Recorder, data: bytes) -> None:
            raise ValueError("a bug")

        self.server.on_data = fail
        client.send(b"x")
        self.assertIn(self.lost(), self.twisted_tls_says_lost_or(ValueError))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.more[1].on_data = lambda server, data: server.transport.write(data)
        other.send(b"still there")
        self.assertEqual(self.read(other, 11), b"still there")

    def test_the_reactor_survives_a_protocol_that_raises_when_it_is_told_of_the_end(self) -> None:
        client = self.connect()
        other = self.connect_another()

        def fail() -> None:
            raise ValueError("a bug")

        self.server.on_lost = fail
        client.close()
        self.lost()
        self.turn(2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.more[1].on_data = lambda server, data: server.transport.write(data)
        other.send(b"still there")
        self.assertEqual(self.read(other, 11), b"still there")

    def connect_another(self) -> Any:
        """Return a second client."""
        calls, self.server.calls = self.server.calls, ["made"]
        other = self.connect()
        self.server.calls = calls
        self.until(lambda: len(self.more) == 2)
        return other

    # ------------------------------------------------------------ addresses and options

    def test_addresses_and_options_are_those_of_the_socket(self) -> None:
        client = self.connect()
        transport = self.server.transport
        self.assertEqual((transport.getPeer().host, transport.getPeer().port), client.getsockname())
        self.assertEqual((transport.getHost().host, transport.getHost().port), client.getpeername())
        for accepted in self.accepted():
            self.assertEqual(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
            self.assertEqual(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(hasattr(transport, "getPeerCertificate"), self.secure)
        verifyObject(ITransport, transport)
        for interface in (IConsumer, IPushProducer):
            self.assertTrue(interface.providedBy(transport))

    def accepted(self) -> Iterator[socket.socket]:
        for reader in self.reactor.getReaders():
            handle = getattr(reader, "socket", None) or getattr(reader, "_socket", None)
            if isinstance(handle, socket.socket) and handle.getsockname() == self.listening.getsockname():
                with contextlib.suppress(OSError):
                    handle.getpeername()
                    yield handle

    def test_a_port_that_stops_keeps_its_connections_and_leaves_the_socket_to_others(self) -> None:
        client = self.connect()
        self.port.stopListening()
        self.turn(2)
        self.server.transport.write(b"hello")
        self.assertEqual(self.read(client, 5), b"hello")
        again = serve(self.listening, self.factory, self.reactor, lean=self.lean)
        with socket.socket() as other:
            other.connect(self.listening.getsockname())
            self.until(lambda: len(self.more) == 2)
        self.until(lambda: self.more[1].reason is not None)
        again.stopListening()
        self.turn(2)

    def test_a_factory_that_wants_no_connection_closes_it(self) -> None:
        self.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign,assignment]
        if self.secure and not self.lean:
            return
        with socket.socket() as client:
            client.connect(self.listening.getsockname())
            client.setblocking(False)
            self.assertEqual(self.read_to_end(client), b"")


class Clear(Contract):
    """What is promised of connections that begin without TLS."""

    secure = False

    def test_what_comes_after_a_close_is_not_delivered(self) -> None:
        client = self.connect()
        self.server.transport.write(b"x" * MUCH)
        self.server.transport.loseConnection()
        client.send(b"too late")
        with contextlib.suppress(ConnectionResetError):
            # What was sent too late makes the kernel reset the connection in the end.
            self.read_to_end(client)
        self.lost()
        self.assertEqual(self.server.received, b"")

    def test_a_connection_goes_on_in_tls_with_what_was_said_before_in_the_clear(self) -> None:
        client = self.connect()
        transport = self.server.transport
        transport.registerProducer(self.server, True)
        transport.write(b"y" * 200_000 + b"OK begin TLS")
        transport.startTLS(self.certificates)
        transport.write(b"in TLS ")
        self.assertEqual(self.read(client, 200_012)[-12:], b"OK begin TLS")
        secured = self.handshake(client)
        self.server.on_data = lambda server, data: server.transport.write(data.upper())
        secured.send(b"hello")
        self.assertEqual(self.read(secured, 12), b"in TLS HELLO")
        self.assertEqual(self.server.received, b"hello")
        self.assertTrue(hasattr(transport, "getPeerCertificate"))
        transport.unregisterProducer()
        transport.loseConnection()
        self.assertEqual(self.read_to_end(secured), b"")
        secured.close()
        self.lost()

    def test_what_follows_starttls_in_the_clear_is_never_delivered(self) -> None:
        client = self.connect()

        def secure(server: Recorder, data: bytes) -> None:
            server.transport.write(b"OK")
            server.transport.startTLS(self.certificates)

        self.server.on_data = secure
        client.send(b"STARTTLS\r\n")
        self.assertEqual(self.read(client, 2), b"OK")
        client.send(b"a LOGIN eve secret\r\n")
        self.lost()
        self.assertEqual(self.server.received, b"STARTTLS\r\n")

    def test_a_unix_socket_is_served_too(self) -> None:
        path = f"/tmp/sora-{id(self):x}"
        listening = bind(UnixAddress(path))
        self.addCleanup(Path(path).unlink)
        self.addCleanup(listening.close)
        port = serve(listening, self.factory, self.reactor, lean=self.lean)
        self.server.on_data = lambda server, data: server.transport.write(repr(server.transport.getPeer()).encode())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.setblocking(False)
            client.send(b"who am I?")
            self.assertIn(b"UNIXAddress", self.read(client, 11))
        self.lost()
        port.stopListening()
        self.turn(2)


class Secure(Contract):
    """What is promised of connections in TLS."""

    secure = True

    def test_the_changed_certificate_serves_the_next_connection(self) -> None:
        first = self.connect().getpeercert(binary_form=True)
        directory = Path(self.mktemp())
        directory.mkdir()
        self.certificates._cert_file, self.certificates._key_file = self_signed(directory, "other")
        self.assertTrue(self.certificates.reload())
        self.server.calls.clear()
        plain = socket.create_connection(self.listening.getsockname())
        plain.setblocking(False)
        self.assertTrue(self.handshake(plain).getpeercert(binary_form=True) != first)

    def test_versions_from_1_2_are_spoken(self) -> None:
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            plain = socket.create_connection(self.listening.getsockname())
            plain.setblocking(False)
            client = self.handshake(plain, minimum_version=version, maximum_version=version)
            self.assertEqual(client.version(), name)
            self.assertEqual(client.selected_alpn_protocol(), None)
            self.assertEqual(client.compression(), None)
            client.close()

    def test_what_is_no_handshake_ends_the_connection(self) -> None:
        for nonsense in (b"a CAPABILITY\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000), b""):
            count = len(self.more)
            with socket.socket() as plain:
                plain.connect(self.listening.getsockname())
                plain.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    plain.send(nonsense)
                plain.shutdown(socket.SHUT_WR)
                self.until(lambda: len(self.more) > count)  # noqa: B023  called at once
                ended = self.more[-1]
                self.until(lambda: ended.reason is not None)  # noqa: B023
            self.assertEqual(ended.received, b"")

    def test_a_version_that_is_too_old_is_refused(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        plain = socket.create_connection(self.listening.getsockname())
        self.addCleanup(plain.close)
        plain.setblocking(False)
        client = context.wrap_socket(plain, do_handshake_on_connect=False)
        self.addCleanup(client.close)

        def refused() -> bool:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                return False
            except OSError:
                return True
            self.fail("the version was taken")
            return True

        self.until(refused)

    def test_a_handshake_in_the_middle_of_a_connection_is_refused(self) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        plain = socket.create_connection(self.listening.getsockname())
        self.addCleanup(plain.close)
        plain.setblocking(False)
        client = SSL.Connection(context, plain)
        client.set_connect_state()

        def shaken() -> bool:
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
                return True
            return False

        self.until(shaken)
        client.send(b"before")
        self.until(lambda: self.server.received == b"before")
        client.renegotiate()

        def refused() -> bool:
            try:
                client.do_handshake()
            except SSL.WantReadError:
                return False
            except SSL.Error:
                return True
            self.fail("the handshake was taken")
            return True

        self.until(refused)

    def test_a_greeting_and_a_close_wait_for_the_handshake(self) -> None:
        def refuse(server: Recorder) -> None:
            server.transport.write(b"* BYE too many\r\n")
            server.transport.loseConnection()

        self.server.on_made = refuse
        client = self.connect()
        self.assertEqual(self.read_to_end(client), b"* BYE too many\r\n")
        self.leave(client)
        self.assertEqual(self.lost(), ConnectionDone)

    def test_a_close_is_announced_so_that_nothing_can_have_been_cut_off(self) -> None:
        client = self.connect()
        client.suppress_ragged_eofs = False
        self.server.transport.write(b"x")
        self.server.transport.loseConnection()
        self.assertEqual(self.read_to_end(client), b"x")
        client.close()
        self.lost()


class LeanClearTests(Clear, SynchronousTestCase):
    lean = True


class StockClearTests(Clear, SynchronousTestCase):
    lean = False


class LeanSecureTests(Secure, SynchronousTestCase):
    lean = True

    def test_a_session_is_resumed(self) -> None:
        first = self.connect()
        self.server.transport.write(b"ticket comes first")
        self.read(first, 18)
        session = first.session
        plain = socket.create_connection(self.listening.getsockname())
        plain.setblocking(False)
        again = first.context.wrap_socket(
            plain, do_handshake_on_connect=False, server_hostname="mail.example.org", session=session
        )
        self.addCleanup(again.close)

        def done() -> bool:
            with contextlib.suppress(ssl.SSLWantReadError):
                again.do_handshake()
                return True
            return False

        self.until(done)
        self.assertTrue(again.session_reused)


class StockSecureTests(Secure, SynchronousTestCase):
    lean = False
