"""LMTP over real sockets with Python's own client: TCP on both families, TLS, a unix socket, and a graceful stop."""

import smtplib
import socket
import ssl
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sora.core.errors import ConfigurationInvalid
from sora.front.lmtp import LmtpFactory, LmtpServices
from sora.mail.append import Appender
from sora.mail.deliver import Deliverer
from sora.net.listeners import Listener, TcpAddress, UnixAddress, parse_address
from sora.net.tls import Certificates, self_signed
from sora.net.wheel import Wheel
from sora.store.memory import MemoryObjects, MemoryStore
from sora.store.model import NewMailbox, Want
from tests.unit.deliver.base import at_once, examine

reactor: Any = _reactor


def run(work: Coroutine[Deferred[Any], Any, Any]) -> "Deferred[Any]":
    return Deferred.fromCoroutine(work)


class LmtpTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="sora-lmtp-")
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        self.store = MemoryStore(reactor)
        store: Any = self.store
        appender = Appender(
            store.messages,
            store.mailboxes,
            objects=MemoryObjects(reactor),
            background=at_once,
            examine=examine,
        )
        deliverer = Deliverer(
            store.accounts, store.mailboxes, store.messages, appender=appender, hostname="mx.example.org"
        )
        self.wheel = Wheel(reactor)
        self.addCleanup(self.wheel.stop)
        self.factory = LmtpFactory(LmtpServices(deliveries=deliverer, hostname="mx.example.org", wheel=self.wheel))
        self.account = self.successResultOf(
            self.store.accounts.create("anna@example.org", "x", [NewMailbox("INBOX", subscribed=True)])
        )

    def listen(self, text: str, **options: Any) -> Listener:
        listener = Listener(self.factory, parse_address(text), reactor=reactor, drain=self.factory.drain, **options)
        listener.startService()
        self.addCleanup(lambda: listener.stopService() if listener.running else None)
        return listener

    def port(self, listener: Listener) -> int:
        bound = listener.bound
        assert isinstance(bound, TcpAddress) and bound.port > 0
        return bound.port

    def inbox(self) -> list[Any]:
        opened = self.successResultOf(self.store.mailboxes.open(self.account, "INBOX", claim_recent=False))
        uids = list(opened.columns.uids)
        return list(self.successResultOf(self.store.messages.fetch(opened.mailbox.id, uids, Want.BYTES)))

    def body(self, row: Any) -> bytes:
        return bytes(self.successResultOf(self.store.bodies.staged([row.ref.id]))[row.ref.id])

    def test_a_message_comes_out_as_it_went_in_on_both_families(self) -> "Deferred[None]":
        return run(self._both_families())

    async def _both_families(self) -> None:
        port = self.port(self.listen(":0"))
        message = b"Subject: dots\r\n\r\n.\r\n..two\r\n" + b"x" * 5000 + b"\r\n" * 3
        for number, host in enumerate(["127.0.0.1", "::1"] if _has_ipv6() else ["127.0.0.1"]):
            refused = await deferToThread(self._send, host, port, message + b"%d\r\n" % number)
            self.assertEqual(list(refused), ["bob@example.org"])
            self.assertEqual(refused["bob@example.org"][0], 550)
            row = self.inbox()[number]
            self.assertEqual(self.body(row), message + b"%d\r\n" % number)
            self.assertIn(f"([{host}])".encode(), row.trace)
            self.assertIn(b" with LMTP id ", row.trace)

    def _send(self, host: str, port: int, message: bytes) -> Any:
        with smtplib.LMTP(host, port, local_hostname="client.example") as client:
            return client.sendmail("s@example.net", ["anna@example.org", "bob@example.org"], message)

    def test_accepted_connections_have_no_delay_and_are_kept_alive(self) -> "Deferred[None]":
        return run(self._options())

    async def _options(self) -> None:
        port = self.port(self.listen("127.0.0.1:0"))
        await deferToThread(self._greeting, port)
        [connection] = self.factory._connections
        accepted: Any = connection.transport
        self.assertTrue(accepted.getTcpNoDelay() and accepted.getTcpKeepAlive())
        self.client.close()
        await self.factory.drain()

    def _greeting(self, port: int) -> bytes:
        self.client = socket.create_connection(("127.0.0.1", port), 10)
        return self.client.recv(100)

    def test_tls_is_named_in_the_trace_and_old_versions_are_refused(self) -> "Deferred[None]":
        return run(self._tls())

    async def _tls(self) -> None:
        cert, key = self_signed(self.directory, "localhost")
        port = self.port(self.listen("127.0.0.1:0", tls=Certificates(cert, key)))
        version = await deferToThread(self._over_tls, port, cert)
        self.assertEqual(version, "TLSv1.3")
        self.assertIn(b" with LMTPS id ", self.inbox()[0].trace)
        with self.assertRaises((ssl.SSLError, OSError)):
            await deferToThread(self._old_tls, port)

    def _over_tls(self, port: int, cert: Path) -> str | None:
        context = ssl.create_default_context(cafile=str(cert))
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost"
        ) as client:
            stream = client.makefile("rwb")
            stream.readline()
            stream.write(b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<anna@example.org>\r\nBDAT 3 LAST\r\na\r\nQUIT\r\n")
            stream.flush()
            self.assertIn(b"221 2.0.0", stream.read())
            return client.version()

    def _old_tls(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10)).close()

    def test_a_unix_socket_works_and_one_left_behind_is_no_obstacle(self) -> "Deferred[None]":
        return run(self._unix())

    async def _unix(self) -> None:
        path = str(self.directory / "lmtp")
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(path)
        stale.close()
        listener = self.listen(f"unix:{path}")
        self.assertEqual(listener.bound, UnixAddress(path))
        refused = await deferToThread(self._send, path, 0, b"Subject: unix\r\n\r\n")
        self.assertEqual(list(refused), ["bob@example.org"])
        self.assertIn(b"Received: from client.example\r\n", self.inbox()[0].trace)

    def test_a_port_that_is_taken_is_a_configuration_mistake(self) -> None:
        port = self.port(self.listen("127.0.0.1:0"))
        second = Listener(self.factory, TcpAddress("127.0.0.1", port), reactor=reactor)
        error = self.assertRaises(ConfigurationInvalid, second.startService)
        self.assertIn(f"127.0.0.1:{port}: another program listens there", str(error))

    def test_stopping_says_421_and_waits_until_the_peer_is_gone(self) -> "Deferred[None]":
        return run(self._stopping())

    async def _stopping(self) -> None:
        listener = self.listen("127.0.0.1:0")
        await deferToThread(self._greeting, self.port(listener))
        await listener.stopService()
        self.assertEqual(self.factory.count, 0)
        self.assertEqual(await deferToThread(self.client.recv, 100), b"421 4.3.2 shutting down\r\n")
        self.client.close()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
