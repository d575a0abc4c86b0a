"""Delays grow with failures, their keys cannot be varied, and nothing of it grows without bound."""

from ipaddress import ip_network

from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.auth.networks import ip_of, is_trusted, network_of
from sora.auth.privacy import permits_plaintext
from sora.auth.throttle import FREE_OF_NETWORK, WAITING_MAX, Throttle

USER = "user@example.org"
PEER = "192.0.2.7"


class ThrottleTests(unittest.SynchronousTestCase):
    """`Throttle`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = self.make()

    def make(self, **more: object) -> Throttle:
        return Throttle(clock=self.clock.seconds, delay=1.0, delay_max=8.0, window=600.0, **more)  # type: ignore[arg-type]

    def test_the_delay_doubles_up_to_its_limit(self) -> None:
        delays = []
        for _ in range(8):
            delays.append(self.throttle.delay(USER, PEER))
            self.throttle.failed(USER, PEER)
        self.assertEqual(delays, [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0])

    def test_thousands_of_failures_are_no_overflow(self) -> None:
        for _ in range(3_000):
            self.throttle.failed(USER, PEER)
        self.assertEqual(self.throttle.delay(USER, PEER), 8.0)

    def test_failures_are_forgotten_after_the_window_and_after_success(self) -> None:
        for _ in range(3):
            self.throttle.failed(USER, PEER)
        self.clock.advance(600)
        self.assertEqual(self.throttle.delay(USER, PEER), 0.0)
        for _ in range(3):
            self.throttle.failed(USER, PEER)
        self.throttle.succeeded(USER, PEER)
        self.assertEqual(self.throttle.delay(USER, PEER), 0.0)

    def test_other_peers_and_other_names_are_not_delayed(self) -> None:
        for _ in range(5):
            self.throttle.failed(USER, PEER)
        self.assertEqual(self.throttle.delay(USER, "192.0.2.8"), 0.0)
        self.assertEqual(self.throttle.delay("other@example.org", PEER), 0.0)

    def test_many_names_from_one_network_are_delayed_together(self) -> None:
        for number in range(FREE_OF_NETWORK + 2):
            self.throttle.failed(f"user{number}@example.org", PEER)
        self.assertEqual(self.throttle.delay("fresh@example.org", PEER), 2.0)

    def test_an_ipv6_network_and_a_mapped_address_count_as_one_peer(self) -> None:
        for number in range(3):
            self.throttle.failed(USER, f"2001:db8:0:1::{number:x}")
            self.throttle.failed("other@example.org", PEER)
        self.assertEqual(self.throttle.delay(USER, "2001:db8:0:1:ffff::1"), 2.0)
        self.assertEqual(self.throttle.delay(USER, "2001:db8:0:2::1"), 0.0)
        self.assertEqual(self.throttle.delay("other@example.org", f"::ffff:{PEER}"), 2.0)

    def test_this_host_and_trusted_networks_are_never_delayed(self) -> None:
        throttle = self.make(trusted=[ip_network("10.0.0.0/8")])
        for peer in ("", "127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3"):
            for _ in range(5):
                throttle.failed(USER, peer)
            self.assertEqual(throttle.delay(USER, peer), 0.0, peer)

    def test_loopback_can_be_made_to_wait(self) -> None:
        throttle = self.make(exempt_loopback=False)
        for _ in range(2):
            throttle.failed(USER, "127.0.0.1")
        self.assertEqual(throttle.delay(USER, "127.0.0.1"), 1.0)

    def test_the_tables_are_bounded(self) -> None:
        throttle = self.make(entries_max=10)
        for number in range(50):
            throttle.failed(USER, f"192.0.2.{number}")
        self.assertEqual((len(throttle._names), len(throttle._networks)), (10, 10))

    def test_places_to_wait_in_are_bounded_and_given_back(self) -> None:
        self.assertEqual(
            [self.throttle.enter(USER, PEER) for _ in range(WAITING_MAX + 1)], [True] * WAITING_MAX + [False]
        )
        self.assertTrue(self.throttle.enter("other@example.org", PEER))
        self.throttle.leave(USER, PEER)
        self.assertTrue(self.throttle.enter(USER, PEER))
        for _ in range(WAITING_MAX):
            self.throttle.leave(USER, PEER)
        self.throttle.leave("other@example.org", PEER)
        self.assertEqual(self.throttle._waiting, {})


class PrivacyTests(unittest.SynchronousTestCase):
    """Where a password may be sent (A5)."""

    def test_a5_a_password_needs_tls_or_this_host_or_a_trusted_network(self) -> None:
        trusted = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
        permitted = {
            peer: permits_plaintext(False, peer, trusted_networks=trusted)
            for peer in (
                "",
                "127.0.0.1",
                "::1",
                "10.9.8.7",
                "::ffff:10.9.8.7",
                "2001:db8::1",
                PEER,
                "2001:db9::1",
                "nonsense",
            )
        }
        self.assertEqual([peer for peer, may in permitted.items() if not may], [PEER, "2001:db9::1", "nonsense"])
        self.assertTrue(permits_plaintext(True, PEER))
        self.assertFalse(permits_plaintext(False, PEER))

    def test_a5_the_operator_may_permit_it_everywhere(self) -> None:
        self.assertTrue(permits_plaintext(False, PEER, insecure_auth=True))

    def test_addresses_are_read_with_zones_and_mappings(self) -> None:
        self.assertEqual(str(ip_of("fe80::1%eth0")), "fe80::1")
        self.assertEqual(str(ip_of("::ffff:192.0.2.7")), PEER)
        self.assertEqual(
            (network_of(PEER), network_of("2001:db8::1"), network_of("")), (PEER, "2001:db8::/64", "local")
        )
        self.assertTrue(is_trusted("127.9.9.9", []))


class NewsTests(unittest.SynchronousTestCase):
    """Two processes of one server."""

    def setUp(self) -> None:
        clock = Clock()
        self.other = Throttle(clock=clock.seconds)
        self.told: list[bool] = []
        self.here = Throttle(clock=clock.seconds, tell=self.tell)

    def tell(self, failed: bool, address: str, peer: str) -> None:
        self.told.append(failed)
        self.other.hear(failed, address, peer)

    def test_who_guesses_here_is_slowed_down_there_and_a_success_ends_it(self) -> None:
        for _ in range(3):
            self.here.failed("anna@example.org", "192.0.2.1")
        self.assertGreater(self.other.delay("anna@example.org", "192.0.2.1"), 0)
        self.assertEqual(
            self.other.delay("anna@example.org", "192.0.2.1"), self.here.delay("anna@example.org", "192.0.2.1")
        )
        self.here.succeeded("anna@example.org", "192.0.2.1")
        self.assertEqual(self.other.delay("anna@example.org", "192.0.2.1"), 0)

    def test_what_changes_nothing_is_not_told(self) -> None:
        self.here.succeeded("anna@example.org", "192.0.2.1")
        self.here.failed("anna@example.org", "127.0.0.1")
        self.assertEqual(self.told, [])
