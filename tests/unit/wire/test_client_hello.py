"""wire/client_hello: JA4 of a real browser's offer, and any octets at all."""

import ssl
import struct
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.wire import client_hello

CIPHERS = (
    *(0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),
    *(0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035),
)
SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
EXTENSIONS = (
    *(0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005),
    *(0x0023, 0x0012, 0x002B, 0xFF01, 0x000B, 0x000A, 0x0015),
)
GREASE = 0x7A7A


def vector(size: int, data: bytes) -> bytes:
    """Write octets after their count."""
    return len(data).to_bytes(size, "big") + data


def words(numbers: Sequence[int]) -> bytes:
    """Write numbers of two octets."""
    return struct.pack(f">{len(numbers)}H", *numbers)


def hello(*, extensions: Sequence[int] = EXTENSIONS, alpn: bytes = b"h2", records: int = 1) -> bytes:
    """Write a ClientHello in so many records."""
    contents = {
        0x0010: vector(2, vector(1, alpn) + vector(1, b"http/1.1")),
        0x000D: vector(2, words(SIGNATURES)),
        0x002B: vector(1, words((GREASE, 0x0304, 0x0303))),
    }
    listed = b"".join(words((number,)) + vector(2, contents.get(number, b"")) for number in (GREASE, *extensions))
    body = words((0x0303,)) + bytes(32) + vector(1, bytes(32)) + vector(2, words((GREASE, *CIPHERS)))
    body += vector(1, b"\0") + vector(2, listed)
    message = b"\x01" + vector(3, body)
    step = -(-len(message) // records)
    pieces = [message[start : start + step] for start in range(0, len(message), step)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


class ClientHelloTests(unittest.SynchronousTestCase):
    def ja4(self, data: bytes) -> str:
        """Read and hash."""
        found = client_hello.read(data)
        assert found is not None
        return found.ja4

    def test_a_browser_has_the_fingerprint_that_the_method_documents(self) -> None:
        self.assertEqual(self.ja4(hello()), "t13d1516h2_8daaf6152771_e5627efa2ab1")

    def test_the_order_of_extensions_changes_nothing(self) -> None:
        self.assertEqual(self.ja4(hello(extensions=EXTENSIONS[::-1])), self.ja4(hello()))

    def test_records_may_cut_the_message_anywhere(self) -> None:
        for records in (2, 3, 10):
            self.assertEqual(self.ja4(hello(records=records)), self.ja4(hello()))

    def test_more_is_needed_until_all_is_there(self) -> None:
        whole = hello(records=2)
        for size in range(len(whole)):
            self.assertIsNone(client_hello.read(whole[:size]))
        self.assertIsNotNone(client_hello.read(whole + b"more"))

    def test_odd_names_of_protocols(self) -> None:
        self.assertTrue(self.ja4(hello(alpn=b"imap")).startswith("t13d1516ip_"))
        self.assertTrue(self.ja4(hello(alpn=b"\xab\xcd")).startswith("t13d1516ad_"))
        without = tuple(number for number in EXTENSIONS if number not in (0x0010, 0x0000))
        self.assertTrue(self.ja4(hello(extensions=without)).startswith("t13i151400_8daaf6152771_e5627efa2ab1"))

    def test_what_openssl_sends_is_read(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="mail.example.org")
        self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
        self.assertRegex(self.ja4(outgoing.read()), r"\At13d[0-9]{4}00_[0-9a-f]{12}_[0-9a-f]{12}\Z")

    def test_other_protocols_are_none(self) -> None:
        for data in (b"a LOGIN x y\r\n", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"):
            self.assertRaises(ValueError, client_hello.read, data)

    def test_one_that_never_ends_is_given_up(self) -> None:
        endless = (
            b"\x16\x03\x01"
            + vector(2, b"\x01\xff\xff\xff" + bytes(4_000))
            + 10 * (b"\x16\x03\x01" + vector(2, bytes(4_000)))
        )
        self.assertRaises(ValueError, client_hello.read, endless)

    @given(st.binary(max_size=300))
    def test_any_octets_are_read_or_refused(self, data: bytes) -> None:
        for octets in (data, b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, data))):
            try:
                found = client_hello.read(octets)
            except ValueError:
                continue
            if found is not None:
                self.assertEqual(found.ja4.count("_"), 2)
