"""wire/deflate: what a peer's compressed octets may cost (cases.md L9), and that nothing is lost in pieces."""

import tracemalloc
import zlib

from twisted.trial import unittest

from sora.core import limits
from sora.wire.deflate import Garbled, Packer, Unpacker


def packed(data: bytes, *, flush: int = zlib.Z_SYNC_FLUSH, window: int = -15) -> bytes:
    """Compress as a client does."""
    stream = zlib.compressobj(9, zlib.DEFLATED, window)
    return stream.compress(data) + stream.flush(flush)


def taken(unpacker: Unpacker) -> bytes:
    """Take everything there is."""
    pieces = []
    while unpacker.pending:
        pieces.append(unpacker.take())
    return b"".join(pieces)


class DeflateTests(unittest.SynchronousTestCase):
    """Both directions."""

    def test_every_batch_of_answers_can_be_read_at_once(self) -> None:
        packer, peer = Packer(), zlib.decompressobj(-15)
        for data in (b"* OK one\r\n", b"x" * 300_000, b"", b"* OK two\r\n"):
            self.assertEqual(peer.decompress(packer.pack(data)), data)

    def test_any_chunking_gives_the_same_octets(self) -> None:
        data = b"".join(b"a%d FETCH %d (FLAGS)\r\n" % (n, n * 7_654_321 % 9**9) for n in range(5_000))
        stream = packed(data)
        for size in (1, 7, 1000, len(stream)):
            unpacker, found = Unpacker(), b""
            for start in range(0, len(stream), size):
                unpacker.add(stream[start : start + size])
                found += taken(unpacker)
            self.assertEqual(found, data)

    def test_no_piece_is_larger_than_the_ceiling(self) -> None:
        unpacker = Unpacker()
        unpacker.add(packed(bytes(10_000_000)))
        total = 0
        while unpacker.pending:
            piece = unpacker.take()
            self.assertLessEqual(len(piece), limits.INFLATE_PIECE_MAX)
            total += len(piece)
        self.assertEqual(total, 10_000_000)

    def test_what_expands_a_thousandfold_ends_at_its_budget(self) -> None:
        free = 1_000_000
        unpacker, sent, found = Unpacker(free=free), 0, 0
        bomb = packed(bytes(50_000_000))
        self.assertGreater(50_000_000 / len(bomb), 900)
        with self.assertRaises(Garbled):
            for start in range(0, len(bomb), 1_000):
                unpacker.add(bomb[start : start + 1_000])
                sent += 1_000
                while unpacker.pending:
                    found += len(unpacker.take())
        self.assertLessEqual(found, free + sent * limits.INFLATE_RATIO_MAX)

    def test_mail_stays_below_the_ratio_for_ever(self) -> None:
        line = b"* 1 FETCH (FLAGS (\\Seen) UID 1234 RFC822.SIZE 5678)\r\n"
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        unpacker = Unpacker(free=0)
        for number in range(2_000):
            unpacker.add(stream.compress(b"%d %b" % (number * 7919, line)) + stream.flush(zlib.Z_SYNC_FLUSH))
            taken(unpacker)

    def test_a_session_that_compresses_costs_eighty_kib(self) -> None:
        line = b"* 1 FETCH (FLAGS (\\Seen) UID 1234 RFC822.SIZE 5678)\r\n"
        stream = packed(b"".join(b"%d %b" % (number, line) for number in range(5_000)))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            packer, unpacker = Packer(), Unpacker()
            packer.pack(line * 100)
            unpacker.add(stream)
            while unpacker.pending:
                unpacker.take()
            self.assertLess(tracemalloc.get_traced_memory()[0] - before, 90 * 1024)
        finally:
            tracemalloc.stop()

    def test_what_is_no_stream_is_garbled(self) -> None:
        for data in (b"a LOGOUT\r\n", b"\xff" * 10):
            unpacker = Unpacker()
            unpacker.add(data)
            self.assertRaises(Garbled, unpacker.take)

    def test_octets_behind_a_flush_are_left_until_they_are_asked_for(self) -> None:
        for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_FINISH):
            unpacker = Unpacker()
            unpacker.add(packed(b"a UNAUTHENTICATE\r\n", flush=flush) + b"b NOOP\r\n")
            self.assertEqual(unpacker.take(), b"a UNAUTHENTICATE\r\n")
            unpacker.end()
            self.assertEqual(taken(unpacker), b"b NOOP\r\n")

    def test_a_flush_that_comes_late_is_no_plain_text(self) -> None:
        for flush in (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH):
            stream = packed(b"a UNAUTHENTICATE\r\n", flush=flush)
            for cut in range(1, 6):
                unpacker = Unpacker()
                unpacker.add(stream[:-cut])
                found = taken(unpacker)
                if found != b"a UNAUTHENTICATE\r\n":
                    continue
                unpacker.end()
                for octet in stream[-cut:] + b"b NOOP\r\n":
                    self.assertIn(unpacker.pending, (False, True))
                    unpacker.add(bytes((octet,)))
                self.assertEqual(taken(unpacker), b"b NOOP\r\n", cut)

    def test_a_client_that_leaves_without_a_flush_loses_nothing(self) -> None:
        unpacker = Unpacker()
        unpacker.add(packed(b"a UNAUTHENTICATE\r\n", flush=zlib.Z_PARTIAL_FLUSH))
        self.assertEqual(taken(unpacker), b"a UNAUTHENTICATE\r\n")
        unpacker.end()
        unpacker.add(b"b NO")
        self.assertFalse(unpacker.pending)
        unpacker.add(b"OP\r\n")
        self.assertEqual(taken(unpacker), b"b NOOP\r\n")

    def test_a_stream_that_has_ended_goes_no_further(self) -> None:
        unpacker = Unpacker()
        unpacker.add(packed(b"a NOOP\r\n", flush=zlib.Z_FINISH) + b"b NOOP\r\n")
        unpacker.take()
        self.assertRaises(Garbled, unpacker.take)
