"""LMTP connections on a transport: admission, deadlines, room, deliveries that outlive their peer, stopping."""

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sora.core.errors import NoSuchAccount, OverQuota, SoraError
from sora.core.ids import AccountId, MailboxId, ModSeq, Uid
from sora.front.lmtp import LmtpFactory, LmtpProtocol, LmtpServices, Room
from sora.mail.deliver import Envelope, Outcome, Target
from sora.net.wheel import Wheel
from sora.store.model import AccountStatus, Inserted, Recipient

BEGIN = b"LHLO client.example\r\nMAIL FROM:<s@example.net>\r\n"


class Deliveries:
    """Knows everybody but those whose name begins with `no`; stores nothing; waits if told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.delivered: list[tuple[Envelope, list[str], bytes]] = []
        self.answers: list[Outcome] = []
        self.gate: Deferred[None] | None = None

    async def resolve(self, written: Sequence[str]) -> list[Target | SoraError]:
        self.batches.append(list(written))
        return [self._target(one) for one in written]

    def _target(self, one: str) -> Target | SoraError:
        if one.startswith("no"):
            return NoSuchAccount("no such user here")
        return Target(one, one, None, Recipient(AccountId(1), one, AccountStatus.ACTIVE, MailboxId(1)))

    async def deliver(self, envelope: Envelope, targets: Sequence[Target], raw: bytes) -> list[Outcome]:
        if self.gate is not None:
            await self.gate
        self.delivered.append((envelope, [target.written for target in targets], raw))
        return self.answers or [Inserted(1, Uid(5), ModSeq(1)) for _ in targets]


class FrontCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.deliveries = Deliveries()
        self.services = LmtpServices(
            deliveries=self.deliveries,
            hostname="mx.example.org",
            wheel=Wheel(self.clock),
            room=Room(2000),
            connections_max=3,
            message_max=1500,
        )
        self.factory = LmtpFactory(self.services)

    def connect(self, peer: Any = None, factory: LmtpFactory | None = None) -> tuple[LmtpProtocol, StringTransport]:
        protocol = (factory or self.factory).buildProtocol(None)
        transport = StringTransport(peerAddress=peer or IPv4Address("TCP", "127.0.0.1", 1))
        protocol.makeConnection(transport)
        self.addCleanup(lambda: protocol.lost or protocol.connectionLost(Failure(ConnectionLost())))
        return protocol, transport

    def lose(self, protocol: LmtpProtocol) -> None:
        protocol.connectionLost(Failure(ConnectionLost()))

    def talk(self, connection: tuple[LmtpProtocol, StringTransport], data: bytes) -> list[str]:
        protocol, transport = connection
        transport.clear()
        protocol.dataReceived(data)
        return [line[:9] for line in transport.value().decode().splitlines()]


class AdmissionTests(FrontCase):
    def test_private_peers_may_deliver_and_others_are_told_why_not(self) -> None:
        for kind, host, welcome in (
            (IPv4Address, "127.0.0.1", True),
            (IPv4Address, "10.1.2.3", True),
            (IPv4Address, "172.31.0.1", True),
            (IPv4Address, "172.32.0.1", False),
            (IPv4Address, "192.0.2.1", False),
            (IPv6Address, "::1", True),
            (IPv6Address, "::ffff:192.168.1.1", True),
            (IPv6Address, "::ffff:192.0.2.1", False),
            (IPv6Address, "fd00::1", True),
            (IPv6Address, "2001:db8::1", False),
        ):
            protocol, transport = self.connect(kind("TCP", host, 1))
            self.assertTrue(transport.value().startswith(b"220 " if welcome else b"554 5.7.1"), host)
            self.assertEqual(transport.disconnecting, not welcome, host)
            self.lose(protocol)

    def test_a_unix_socket_is_guarded_by_its_directory(self) -> None:
        _, transport = self.connect(UNIXAddress(None))
        self.assertTrue(transport.value().startswith(b"220 "))

    def test_named_networks_replace_the_private_ones(self) -> None:
        from ipaddress import ip_network

        factory = LmtpFactory(attrs.evolve(self.services, trusted_networks=[ip_network("192.0.2.0/24")]))
        self.assertTrue(self.connect(factory=factory)[1].value().startswith(b"554"))
        outside = IPv4Address("TCP", "192.0.2.9", 1)
        self.assertTrue(self.connect(outside, factory)[1].value().startswith(b"220"))

    def test_connections_over_the_limit_are_sent_away_and_room_comes_back(self) -> None:
        first = [self.connect() for _ in range(3)]
        _, fourth = self.connect()
        self.assertTrue(fourth.value().startswith(b"421 4.3.2"))
        for protocol, _ in first:
            self.lose(protocol)
        self.assertEqual(self.factory.count, 1)
        self.assertTrue(self.connect()[1].value().startswith(b"220"))

    def test_connections_over_the_limit_of_their_address_are_sent_away_and_others_are_not(self) -> None:
        factory = LmtpFactory(attrs.evolve(self.services, connections_per_ip_max=1))
        self.assertTrue(self.connect(factory=factory)[1].value().startswith(b"220"))
        self.assertTrue(self.connect(factory=factory)[1].value().startswith(b"421 4.7.0"))
        elsewhere = IPv4Address("TCP", "10.1.2.3", 1)
        self.assertTrue(self.connect(elsewhere, factory)[1].value().startswith(b"220"))


class TransactionTests(FrontCase):
    def test_pipelined_recipients_are_found_in_one_batch_and_answered_in_order(self) -> None:
        connection = self.connect()
        lines = self.talk(
            connection,
            BEGIN + b"RCPT TO:<a@b.c>\r\nRCPT TO:<no@b.c>\r\nRCPT TO:<bad>\r\nRCPT TO:<d@b.c>\r\nDATA\r\n",
        )
        self.assertEqual(lines[-5:], ["250 2.1.5", "550 5.1.1", "553 5.1.3", "250 2.1.5", "354 end w"])
        self.assertEqual(self.deliveries.batches, [["a@b.c", "no@b.c", "d@b.c"]])
        self.deliveries.answers = [OverQuota("full"), Inserted(1, Uid(5), ModSeq(1))]
        self.assertEqual(self.talk(connection, b"x\r\n.\r\n"), ["452 4.2.2", "250 2.1.5"])
        envelope, targets, raw = self.deliveries.delivered[0]
        self.assertEqual(envelope, Envelope("s@example.net", "client.example", "127.0.0.1", "LMTP"))
        self.assertEqual((targets, raw), (["a@b.c", "d@b.c"], b"x\r\n"))

    def test_everything_in_one_segment_octet_by_octet_and_at_once_is_answered_alike(self) -> None:
        stream = BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n" + BEGIN[21:] + b"RCPT TO:<a@b.c>\r\n"
        stream += b"BDAT 3\r\nabcBDAT 0 LAST\r\nQUIT\r\nNOOP\r\n"
        whole, single = self.connect(), self.connect()
        whole[0].dataReceived(stream)
        for octet in stream:
            single[0].dataReceived(bytes([octet]))
        self.assertEqual(whole[1].value(), single[1].value())
        self.assertTrue(whole[1].value().endswith(b"221 2.0.0 mx.example.org closing\r\n"))
        self.assertEqual(len(self.deliveries.delivered), 4)

    def test_bad_commands_among_recipients_end_the_connection_at_once(self) -> None:
        connection = self.connect()
        lines = self.talk(connection, BEGIN + b"RCPT TO:<a@b.c>\r\n" + b"RCPT x\r\n" * 30 + b"NOOP\r\n")
        self.assertEqual((lines[-1], lines.count("501 5.5.4")), ("421 4.7.0", 20))
        self.assertTrue(connection[1].disconnecting)

    def test_an_smtputf8_transaction_is_named_so_in_the_trace(self) -> None:
        connection = self.connect()
        self.talk(connection, b"LHLO c\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\n")
        self.assertEqual(self.deliveries.delivered[0][0].protocol, "UTF8LMTP")

    def test_a_bug_is_421_and_the_connection_closes(self) -> None:
        async def bug(_: Any) -> Any:
            raise ZeroDivisionError

        self.patch(self.deliveries, "resolve", bug)
        connection = self.connect()
        self.assertEqual(self.talk(connection, BEGIN + b"RCPT TO:<a@b.c>\r\n")[-1], "421 4.3.0")
        self.assertTrue(connection[1].disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_reading_pauses_while_a_delivery_runs(self) -> None:
        self.deliveries.gate = Deferred()
        protocol, transport = self.connect()
        protocol.dataReceived(BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\n")
        self.assertEqual(transport.producerState, "paused")
        self.deliveries.gate.callback(None)
        self.assertEqual(transport.producerState, "producing")


class DisconnectTests(FrontCase):
    def test_a_delivery_is_not_cancelled_by_its_peers_disconnect(self) -> None:
        self.deliveries.gate = Deferred()
        protocol, _ = self.connect()
        protocol.dataReceived(BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\n")
        self.lose(protocol)
        self.assertEqual(self.services.room.octets, 3)
        self.deliveries.gate.callback(None)
        self.assertEqual(len(self.deliveries.delivered), 1)
        self.assertEqual(self.services.room.octets, 0)

    def test_half_a_message_of_a_lost_peer_is_forgotten(self) -> None:
        protocol, _ = self.connect()
        protocol.dataReceived(BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\n" + b"x" * 500)
        self.assertGreater(self.services.room.octets, 400)
        self.lose(protocol)
        self.assertEqual((self.services.room.octets, self.deliveries.delivered), (0, []))


class LimitTests(FrontCase):
    """L1 for LMTP: what a peer can make us hold, and for how long."""

    def test_messages_for_which_there_is_no_room_are_452_and_not_held(self) -> None:
        first, second = self.connect(), self.connect()
        start = BEGIN + b"RCPT TO:<a@b.c>\r\nRCPT TO:<d@b.c>\r\nDATA\r\n"
        self.talk(first, start + b"x" * 1200)
        self.talk(second, start + b"y" * 1200)
        self.assertLess(self.services.room.octets, 1300)
        self.assertEqual(self.talk(second, b"\r\n.\r\n"), ["452 4.3.1"] * 2)
        self.assertEqual(self.talk(first, b"\r\n.\r\n"), ["250 2.1.5"] * 2)
        self.assertEqual(self.services.room.octets, 0)
        self.assertEqual(self.talk(second, start[21:] + b"z\r\n.\r\n")[-2:], ["250 2.1.5"] * 2)

    def test_a_peer_that_never_ends_a_line_is_not_held(self) -> None:
        protocol, _ = self.connect()
        for _ in range(100):
            protocol.dataReceived(b"x" * 1000)
        self.assertLessEqual(self.services.room.octets, 4096)

    def test_a_silent_peer_is_sent_away_after_five_minutes(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"NOOP\r\n")
        self.clock.pump([1.0] * 295)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(b"NOOP\r\n")
        self.clock.pump([1.0] * 295)
        self.assertFalse(transport.disconnecting)
        self.clock.pump([1.0] * 10)
        self.assertTrue(transport.disconnecting)
        self.assertTrue(transport.value().endswith(b"421 4.4.2 idle for too long\r\n"))

    def test_a_peer_that_does_not_take_the_goodbye_is_cut_off(self) -> None:
        _, transport = self.connect()
        aborted: list[bool] = []
        transport.abortConnection = lambda: aborted.append(True)  # type: ignore[method-assign]
        self.clock.pump([1.0] * 330)
        self.assertEqual(aborted, [True])

    def test_a_slow_delivery_is_no_idle_peer(self) -> None:
        self.deliveries.gate = Deferred()
        protocol, transport = self.connect()
        protocol.dataReceived(BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\n")
        self.clock.pump([1.0] * 400)
        self.assertFalse(transport.disconnecting)
        self.deliveries.gate.callback(None)
        self.assertTrue(transport.value().endswith(b"stored\r\n"))


class StopTests(FrontCase):
    def test_idle_peers_get_421_and_a_transaction_ends_first(self) -> None:
        idle, busy = self.connect(), self.connect()
        self.talk(busy, BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n")
        done = self.factory.drain()
        self.assertTrue(idle[1].value().endswith(b"421 4.3.2 shutting down\r\n"))
        self.assertTrue(idle[1].disconnecting)
        self.assertFalse(busy[1].disconnecting)
        self.assertEqual(self.talk(busy, b".\r\n"), ["250 2.1.5", "421 4.3.2"])
        self.assertTrue(busy[1].disconnecting)
        self.lose(idle[0])
        self.assertNoResult(done)
        self.lose(busy[0])
        self.successResultOf(done)

    def test_stopping_waits_for_a_delivery_whose_peer_has_gone(self) -> None:
        self.deliveries.gate = Deferred()
        protocol, _ = self.connect()
        protocol.dataReceived(BEGIN + b"RCPT TO:<a@b.c>\r\nDATA\r\nx\r\n.\r\n")
        self.lose(protocol)
        done = self.factory.drain()
        self.assertNoResult(done)
        self.deliveries.gate.callback(None)
        self.successResultOf(done)

    def test_a_transaction_that_does_not_end_is_cut_after_the_grace(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(BEGIN)
        self.factory.drain()
        self.clock.pump([1.0] * 12)
        self.assertTrue(transport.disconnecting)
        self.assertTrue(transport.value().endswith(b"421 4.3.2 shutting down\r\n"))
