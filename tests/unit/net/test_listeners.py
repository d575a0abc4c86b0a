"""Addresses as the configuration writes them, and peers as networks are matched."""

from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from sora.net.listeners import TcpAddress, UnixAddress, parse_address, peer_ip


class AddressTests(SynchronousTestCase):
    def test_every_form_is_read_and_written_back(self) -> None:
        for text, address in (
            (":143", TcpAddress("", 143)),
            ("127.0.0.1:1143", TcpAddress("127.0.0.1", 1143)),
            ("[::1]:143", TcpAddress("::1", 143)),
            ("[::]:0", TcpAddress("::", 0)),
            ("unix:/run/sora/lmtp", UnixAddress("/run/sora/lmtp")),
        ):
            self.assertEqual(parse_address(text), address)
            self.assertEqual(str(address), text)
        self.assertEqual(parse_address("localhost:24"), TcpAddress("127.0.0.1", 24))
        self.assertEqual(parse_address("*:24"), TcpAddress("", 24))

    def test_what_is_no_address_is_refused_with_what_to_write(self) -> None:
        for text in ("", "143", "::1:143", ":x", ":65536", "mail.example.org:143", "unix:relative", "[::1]", "unix:"):
            error = self.assertRaises(ValueError, parse_address, text)
            self.assertIn(repr(text), str(error))
        self.assertRaises(ValueError, parse_address, "unix:/" + "x" * 107)

    def test_a_peer_is_matched_by_its_real_address(self) -> None:
        self.assertEqual(peer_ip(IPv4Address("TCP", "192.0.2.1", 1)), ip_address("192.0.2.1"))
        self.assertEqual(peer_ip(IPv6Address("TCP", "::ffff:192.0.2.1", 1)), ip_address("192.0.2.1"))
        self.assertEqual(peer_ip(IPv6Address("TCP", "fe80::1%eth0", 1)), ip_address("fe80::1"))
        self.assertIsNone(peer_ip(UNIXAddress(b"/run/x")))
