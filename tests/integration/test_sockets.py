"""Sockets that are bound by one and served by others, for real."""

import socket
import stat
import tempfile
from pathlib import Path

from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.errors import ConfigurationInvalid
from sora.net.listeners import TcpAddress, UnixAddress, bind, bound, refuse_taken, release, serve
from sora.service.sockets import Sockets

HERE = TcpAddress("127.0.0.1", 0)


class Names(Factory):
    """Says its name to everyone and hangs up."""

    noisy = False

    def __init__(self, name: bytes) -> None:
        self.name = name

    def buildProtocol(self, addr: object) -> Protocol:
        protocol = Protocol()
        protocol.connectionMade = lambda: (  # type: ignore[method-assign]
            protocol.transport.write(self.name),  # type: ignore[union-attr]
            protocol.transport.loseConnection(),  # type: ignore[union-attr]
        )[0]
        return protocol


def asked(address: object) -> bytes:
    """Return what whoever serves an address says."""
    if isinstance(address, UnixAddress):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(address.path)
            return client.recv(100)
    assert isinstance(address, TcpAddress)
    with socket.create_connection((address.host, address.port), 10) as client:
        return client.recv(100)


class SharedTests(unittest.TestCase):
    """One socket, two who serve it one after the other."""

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="sora-sockets-")
        self.addCleanup(made.cleanup)
        self.path = UnixAddress(f"{made.name}/socket")

    async def _hand_over(self, address: TcpAddress | UnixAddress) -> None:
        listening = bind(address)
        self.addCleanup(listening.close)
        where = bound(listening, address)
        first = serve(listening, Names(b"first"), reactor)
        self.assertEqual(await deferToThread(asked, where), b"first")
        await defer.maybeDeferred(first.stopListening)
        # Nobody serves it now, and who comes waits.
        waiting = deferToThread(asked, where)
        second = serve(listening, Names(b"second"), reactor)
        self.assertEqual(await waiting, b"second")
        await defer.maybeDeferred(second.stopListening)

    async def test_a_tcp_socket_outlives_who_serves_it(self) -> None:
        await self._hand_over(HERE)

    async def test_a_unix_socket_keeps_its_name_and_mode(self) -> None:
        await self._hand_over(self.path)
        self.assertEqual(stat.S_IMODE(Path(self.path.path).stat().st_mode), 0o660)
        release(self.path)
        self.assertFalse(Path(self.path.path).exists())

    def test_who_would_share_an_address_with_a_stranger_is_told(self) -> None:
        with bind(HERE, shared=True) as stranger:
            taken = bound(stranger, HERE)
            error = self.assertRaises(ConfigurationInvalid, refuse_taken, taken)
            self.assertIn("another program listens there", error.complaints[0])
            self.assertRaises(ConfigurationInvalid, bind, taken)
        refuse_taken(taken)

    def test_each_worker_has_a_socket_of_its_own_on_the_same_port(self) -> None:
        text = f'[servers.imap]\naddr = "127.0.0.1:0"\n[servers.lmtp]\naddr = "unix:{self.path.path}"\n'
        sockets = Sockets(parse(text).started(), 3)
        sockets.bind()
        self.addCleanup(sockets.close)
        mine = [sockets.of(slot) for slot in range(3)]
        self.assertEqual(len({one["imap"].getsockname() for one in mine}), 1)
        self.assertEqual(len({one["imap"].fileno() for one in mine}), 3)
        self.assertEqual(len({one["lmtp"].fileno() for one in mine}), 1)
        self.assertEqual(sockets.plain_address("imap"), sockets.addresses[0])
        sockets.close()
        self.assertFalse(Path(self.path.path).exists())

    def test_if_one_address_cannot_be_had_none_is_kept(self) -> None:
        with bind(HERE) as stranger:
            taken = bound(stranger, HERE)
            text = f'[servers.lmtp]\naddr = "unix:{self.path.path}"\n[servers.imap]\naddr = "{taken}"\n'
            sockets = Sockets(parse(text).started(), 2)
            error = self.assertRaises(ConfigurationInvalid, sockets.bind)
            self.assertEqual(len(error.complaints), 1)
        self.assertFalse(Path(self.path.path).exists())
