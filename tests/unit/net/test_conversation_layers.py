"""What can begin below a conversation: compression, within its ceilings (cases.md L9), and TLS (T1)."""

import zlib
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sora.core import limits
from sora.net.conversation import Conversation
from sora.net.tls import Certificates
from sora.net.wheel import Wheel


class Lines(Conversation[bytes]):
    """Takes lines: `compress`, `plain`, `tls`; each is answered with its length. Counts what it is fed."""

    def __init__(self, wheel: Wheel) -> None:
        super().__init__(wheel)
        self.held = b""
        self.fed = 0
        self.largest = 0
        self.reason = ""

    def feed(self, data: bytes) -> list[bytes]:
        self.fed += len(data)
        self.largest = max(self.largest, len(data))
        *lines, self.held = (self.held + data).split(b"\n")
        if len(self.held) > 100:
            self.held = b""
        return lines

    async def converse(self) -> None:
        while True:
            line = await self.receive()
            self.send(b"%d\n" % len(line))
            if line == b"compress":
                self.compress()
            elif line == b"plain":
                self.compress_no_more()
            elif line == b"tls":
                self.secure(cast("Certificates", self))

    def garbled(self, reason: str) -> None:
        self.reason = reason


class Transport(StringTransport):
    """Remembers that TLS began."""

    tls: Any = None

    def startTLS(self, certificates: Any) -> None:  # noqa: N802
        self.tls = certificates

    def abortConnection(self) -> None:  # noqa: N802
        self.loseConnection()


def deflated(data: bytes) -> bytes:
    """Compress as a client does."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)


class LayersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lines = Lines(Wheel(self.clock))
        self.transport = Transport()
        self.lines.makeConnection(self.transport)
        self.addCleanup(self.lines.connectionLost, Failure(ConnectionDone()))

    def begin(self) -> None:
        """Begin compression."""
        self.lines.dataReceived(b"compress\n")
        self.assertEqual(self.transport.value(), b"8\n")
        self.transport.clear()

    def test_what_follows_is_compressed_in_both_directions_one_flush_a_batch(self) -> None:
        self.begin()
        self.lines.dataReceived(deflated(b"one\nthree\n"))
        peer = zlib.decompressobj(-15)
        self.assertEqual(peer.decompress(self.transport.value()), b"3\n5\n")
        self.assertEqual(self.transport.value().count(b"\x00\x00\xff\xff"), 1)

    def test_l9_very_much_in_few_octets_is_fed_in_pieces_and_others_have_their_turn(self) -> None:
        self.begin()
        self.lines.wheel.now = lambda: 0.0  # type: ignore[method-assign]
        self.lines.dataReceived(deflated(bytes(3_000_000) + b"\n"))
        self.assertLessEqual(self.lines.largest, limits.INFLATE_PIECE_MAX)
        self.assertGreaterEqual(self.lines.fed, 3_000_000)

    def test_l9_a_stream_beyond_its_budget_ends_the_connection(self) -> None:
        self.begin()
        self.lines._unpacker._budget = 1_000_000  # type: ignore[union-attr]
        self.lines.dataReceived(deflated(bytes(50_000_000)))
        self.clock.pump([0.0] * 2_000)
        self.assertIn("too much", self.lines.reason)
        self.assertTrue(self.transport.disconnecting)
        self.assertLess(self.lines.fed, 1_000_000 + 60_000 * limits.INFLATE_RATIO_MAX)

    def test_l9_what_is_no_stream_ends_the_connection(self) -> None:
        self.begin()
        self.lines.dataReceived(b"this is plain text\n")
        self.assertIn("no compressed stream", self.lines.reason)
        self.assertTrue(self.transport.disconnecting)

    def test_compression_ends_between_two_lines_of_one_segment(self) -> None:
        self.begin()
        self.lines.dataReceived(deflated(b"plain\n") + b"four\n")
        answer = zlib.decompressobj(-15).decompress(self.transport.value().partition(b"\x00\x00\xff\xff")[0])
        self.assertEqual(answer, b"5\n")
        self.assertTrue(self.transport.value().endswith(b"\xff4\n"))

    def test_t1_what_waits_when_tls_begins_is_forgotten(self) -> None:
        self.lines.dataReceived(b"tls\nsecret\nmore\n")
        self.assertIs(self.transport.tls, self.lines)
        self.assertEqual(self.transport.value(), b"3\n")
