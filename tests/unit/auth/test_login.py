"""Signing in: one text for every refusal, no needless hashing, changed passwords count at once."""

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial import unittest

from sora.aio import start
from sora.auth.cache import VerifiedCache
from sora.auth.login import REFUSAL, Authenticator, SignedIn
from sora.auth.throttle import WAITING_MAX, Throttle
from sora.core.errors import AuthenticationFailed, Busy
from sora.core.ids import AccountId
from sora.core.limits import PASSWORD_MAX
from sora.sasl import passwords
from sora.store.memory import MemoryStore
from sora.store.model import AccountStatus, NewMailbox

COST = 4
USER = "user@example.org"
PEER = "192.0.2.7"


@attrs.define
class FakeHashing:
    """Counts what is hashed; `held` keeps the work until `release`."""

    held: bool = False
    busy: bool = False
    calls: list[tuple[str, tuple[Any, ...]]] = attrs.field(factory=list)
    waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = attrs.field(factory=list)

    def start(self) -> None:
        """Nothing is needed."""

    def stop(self) -> None:
        """Nothing is needed."""

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Deferred[Any]":
        if self.busy:
            return fail(Busy("full"))
        self.calls.append((function.__name__, args))
        if not self.held:
            return succeed(function(*args, **kwargs))
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, lambda: function(*args, **kwargs)))
        return done

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done, work in waiting:
            done.callback(work())

    @property
    def verified(self) -> int:
        return sum(name == "verify_evenly" for name, _ in self.calls)


class LoginTestCase(unittest.SynchronousTestCase):
    """An authenticator over a store in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self.hashing = FakeHashing()
        self.cache = VerifiedCache(clock=self.clock.seconds, ttl=300.0)
        self.throttle = Throttle(clock=self.clock.seconds, delay=1.0, delay_max=8.0, window=600.0)
        self.account = self.create(USER, "secret")
        self.authenticator = self.make(None)

    def make(self, throttle: Throttle | None) -> Authenticator:
        return Authenticator(
            self.store.accounts,
            self.clock,
            hashing=self.hashing,
            bcrypt_cost=COST,
            cache=self.cache,
            throttle=throttle,
        )

    def create(self, address: str, password: str, hash: str | None = None) -> AccountId:
        hashed = hash or passwords.hash_password(password, cost=COST)
        return self.successResultOf(
            self.store.accounts.create(address, hashed, [NewMailbox("INBOX")], aliases=["alias-" + address])
        )

    def sign_in(self, login: str = USER, password: str | bytes = "secret", **more: str) -> "Deferred[SignedIn]":
        how = {"mechanism": "PLAIN", "protocol": "imap", "peer": PEER, **more}
        return start(self.authenticator.sign_in(login, password, **how))  # type: ignore[arg-type]

    def refusal(self, login: str = USER, password: str | bytes = "secret", **more: str) -> str:
        return str(self.failureResultOf(self.sign_in(login, password, **more), AuthenticationFailed).value)


class SignInTests(LoginTestCase):
    """Who gets in."""

    def test_the_right_password_signs_in_under_any_address_and_spelling(self) -> None:
        for login in (USER, "USER@Example.ORG", "user+detail@example.org", "alias-" + USER):
            self.assertEqual(self.successResultOf(self.sign_in(login)), SignedIn(self.account, USER, bare=True))

    def test_octets_and_text_are_the_same_password(self) -> None:
        self.create("p@example.org", "pässword")
        self.successResultOf(self.sign_in("p@example.org", "pässword"))
        self.successResultOf(self.sign_in("p@example.org", "pässword".encode()))

    def test_a1_unknown_wrong_and_suspended_have_one_text_and_cost_the_same_hashing(self) -> None:
        self.create("suspended@example.org", "secret")
        row = self.successResultOf(self.store.accounts.row("suspended@example.org"))
        self.successResultOf(self.store.accounts.set_status(row.id, AccountStatus.SUSPENDED))
        cases = (
            ("nobody@example.org", "secret"),
            (USER, "wrong"),
            ("suspended@example.org", "secret"),
            ("suspended@example.org", "wrong"),
            ("no address at all", "secret"),
            ("x" * 5_000, "secret"),
            (USER, ""),
            (USER, "a\0b"),
            (USER, "x" * (PASSWORD_MAX + 1)),
        )
        for number, (login, password) in enumerate(cases, 1):
            self.assertEqual(self.refusal(login, password), REFUSAL)
            self.assertEqual(self.hashing.verified, number, login[:50])
        for name, arguments in self.hashing.calls:
            self.assertEqual((name, arguments[2]), ("verify_evenly", COST))

    def test_a1_a_throttled_sign_in_has_the_same_text(self) -> None:
        self.authenticator = self.make(self.throttle)
        for _ in range(2):
            self.assertEqual(self.refusal(password="wrong"), REFUSAL)
        waiting = [self.sign_in(password="wrong") for _ in range(WAITING_MAX)]
        self.assertEqual(self.refusal(password="wrong"), REFUSAL)
        self.clock.advance(10)
        for one in waiting:
            self.assertEqual(str(self.failureResultOf(one, AuthenticationFailed).value), REFUSAL)

    def test_a_name_that_no_account_can_have_does_not_reach_the_database(self) -> None:
        asked: list[str] = []
        login = self.store.accounts.login
        self.patch(self.store.accounts, "login", lambda address: asked.append(address) or login(address))
        for name in ("\0@example.org", "\udcff@example.org", "", "a@", "user\n@example.org"):
            self.assertEqual(self.refusal(name), REFUSAL)
        self.refusal("other@example.org")
        self.assertEqual(asked, ["other@example.org"])

    def test_a_deleted_account_is_refused(self) -> None:
        self.successResultOf(self.sign_in())
        self.successResultOf(self.store.accounts.set_status(self.account, AccountStatus.DELETED))
        self.assertEqual(self.refusal(), REFUSAL)

    def test_a_malformed_hash_is_refused_and_logged(self) -> None:
        self.create("broken@example.org", "", hash="{SSHA512}???")
        self.assertEqual(self.refusal("broken@example.org"), REFUSAL)

    def test_a_full_queue_is_told_apart_from_a_refusal(self) -> None:
        self.hashing.busy = True
        self.failureResultOf(self.sign_in(), Busy)
        self.hashing.busy = False
        self.successResultOf(self.sign_in())


class CacheTests(LoginTestCase):
    """What was verified a moment ago."""

    def test_a_second_sign_in_costs_no_hashing_until_the_time_is_over(self) -> None:
        for _ in range(3):
            self.successResultOf(self.sign_in())
        self.assertEqual(self.hashing.verified, 1)
        self.clock.advance(299)
        self.successResultOf(self.sign_in())
        self.assertEqual(self.hashing.verified, 1)
        self.clock.advance(1)
        self.successResultOf(self.sign_in())
        self.assertEqual(self.hashing.verified, 2)

    def test_a3_a_changed_password_counts_at_once(self) -> None:
        self.successResultOf(self.sign_in())
        self.successResultOf(
            self.store.accounts.set_password(self.account, passwords.hash_password("newer", cost=COST))
        )
        self.assertEqual(self.refusal(password="secret"), REFUSAL)
        self.successResultOf(self.sign_in(password="newer"))

    def test_a3_a_suspended_account_is_refused_at_once(self) -> None:
        self.successResultOf(self.sign_in())
        self.successResultOf(self.store.accounts.set_status(self.account, AccountStatus.SUSPENDED))
        self.assertEqual(self.refusal(), REFUSAL)
        self.successResultOf(self.store.accounts.set_status(self.account, AccountStatus.ACTIVE))
        self.successResultOf(self.sign_in())

    def test_a3_the_key_holds_account_credential_mechanism_and_password(self) -> None:
        self.create("other@example.org", "secret")
        login = self.successResultOf(self.store.accounts.login(USER))
        assert login is not None
        (credential,) = login.credentials
        variants = [
            (login, b"secret", "PLAIN"),
            (attrs.evolve(login, account=AccountId(99)), b"secret", "PLAIN"),
            (attrs.evolve(login, credentials=(attrs.evolve(credential, id=99),)), b"secret", "PLAIN"),
            (attrs.evolve(login, credentials=(attrs.evolve(credential, hash="x"),)), b"secret", "PLAIN"),
            (attrs.evolve(login, credentials=()), b"secret", "PLAIN"),
            (login, b"secret", "SCRAM"),
            (login, b"secre", "PLAIN"),
        ]
        self.assertEqual(len({self.cache.digest(*variant) for variant in variants}), len(variants))

    def test_another_process_has_other_keys(self) -> None:
        login = self.successResultOf(self.store.accounts.login(USER))
        assert login is not None
        other = VerifiedCache(clock=self.clock.seconds)
        self.assertNotEqual(self.cache.digest(login, b"x", "PLAIN"), other.digest(login, b"x", "PLAIN"))

    def test_a_wrong_password_is_never_remembered(self) -> None:
        for _ in range(2):
            self.refusal(password="wrong")
        self.assertEqual((self.hashing.verified, len(self.cache)), (2, 0))

    def test_the_memory_is_bounded_and_the_oldest_goes_first(self) -> None:
        cache = VerifiedCache(clock=self.clock.seconds, size_max=3)
        digests = [bytes([number]) * 32 for number in range(5)]
        for digest in digests:
            cache.add(digest)
        self.assertEqual([digest in cache for digest in digests], [False, False, True, True, True])

    def test_with_no_lifetime_nothing_is_remembered(self) -> None:
        cache = VerifiedCache(clock=self.clock.seconds, ttl=0)
        cache.add(b"x")
        self.assertNotIn(b"x", cache)

    def test_no_password_is_kept(self) -> None:
        self.successResultOf(self.sign_in())
        self.assertNotIn("secret", repr(vars(self.cache)))


class SharingTests(LoginTestCase):
    """Equal sign-ins at one moment."""

    def test_equal_sign_ins_share_one_verification_each_with_its_own_result(self) -> None:
        self.hashing.held = True
        all_of_them = [self.sign_in() for _ in range(5)]
        other = self.sign_in(password="wrong")
        self.assertEqual(self.hashing.verified, 2)
        self.hashing.release()
        for one in all_of_them:
            self.successResultOf(one)
        self.failureResultOf(other, AuthenticationFailed)

    def test_one_that_is_cancelled_harms_no_other(self) -> None:
        self.hashing.held = True
        first, second = self.sign_in(), self.sign_in()
        first.cancel()
        self.failureResultOf(first)
        self.hashing.release()
        self.successResultOf(second)

    def test_a_failed_verification_is_tried_anew_by_the_next(self) -> None:
        self.hashing.held = True
        first, second = self.sign_in(), self.sign_in()
        done, _ = self.hashing.waiting.pop()
        done.errback(Failure(Busy("stopping")))
        self.failureResultOf(first, Busy)
        self.failureResultOf(second, Busy)
        self.hashing.held = False
        self.successResultOf(self.sign_in())


class RehashTests(LoginTestCase):
    """Weak hashes become stronger when their password comes by."""

    def test_a_weak_hash_is_replaced_after_a_successful_sign_in(self) -> None:
        weak = passwords.hash_password("secret", cost=COST)
        self.authenticator = Authenticator(
            self.store.accounts, self.clock, hashing=self.hashing, bcrypt_cost=COST + 1, cache=self.cache
        )
        account = self.create("weak@example.org", "", hash=weak)
        self.refusal("weak@example.org", "wrong")
        login = self.successResultOf(self.store.accounts.login("weak@example.org"))
        assert login is not None
        self.assertEqual(login.credentials[0].hash, weak)
        self.assertEqual(self.successResultOf(self.sign_in("weak@example.org")).account, account)
        login = self.successResultOf(self.store.accounts.login("weak@example.org"))
        assert login is not None
        self.assertEqual(passwords.bcrypt_cost(login.credentials[0].hash), COST + 1)
        self.successResultOf(self.sign_in("weak@example.org"))

    def test_the_sign_in_does_not_wait_for_it(self) -> None:
        self.authenticator = Authenticator(
            self.store.accounts, self.clock, hashing=self.hashing, bcrypt_cost=COST + 1, cache=self.cache
        )
        self.hashing.held = True
        signing_in = self.sign_in()
        self.hashing.release()
        self.successResultOf(signing_in)
        self.assertEqual([name for name, _ in self.hashing.calls], ["verify_evenly", "hash_password"])
        self.hashing.release()

    def test_a_password_that_bcrypt_would_cut_keeps_its_hash(self) -> None:
        import base64
        import hashlib

        long = "x" * 80
        hash = "{SSHA512}" + base64.b64encode(hashlib.sha512(long.encode() + b"salt").digest() + b"salt").decode()
        self.create("long@example.org", "", hash=hash)
        self.successResultOf(self.sign_in("long@example.org", long))
        self.assertEqual([name for name, _ in self.hashing.calls], ["verify_evenly"])


class DelayTests(LoginTestCase):
    """Guessing takes longer and longer."""

    def setUp(self) -> None:
        super().setUp()
        self.authenticator = self.make(self.throttle)

    def test_after_failures_even_the_right_password_waits_and_then_all_is_forgotten(self) -> None:
        self.successResultOf(self.sign_in())
        self.refusal(password="wrong")
        self.refusal(password="wrong")
        waiting = self.sign_in()
        self.assertNoResult(waiting)
        self.clock.advance(1.0)
        self.successResultOf(waiting)
        self.successResultOf(self.sign_in())

    def test_a4_spelling_a_name_otherwise_wins_no_time(self) -> None:
        for other in (USER.upper(), "User@Example.ORG", "user+detail@example.org"):
            self.refusal(password="wrong")
            self.refusal(other, password="wrong")
            waiting = self.sign_in()
            self.assertNoResult(waiting)
            self.clock.advance(1.0)
            # A success ends it, so that the next spelling begins anew.
            self.successResultOf(waiting)

    def test_nothing_is_hashed_before_the_delay_is_over(self) -> None:
        self.refusal(password="wrong")
        self.refusal(password="wrong")
        waiting = self.sign_in(password="third")
        self.assertEqual(self.hashing.verified, 2)
        self.clock.advance(1.0)
        self.failureResultOf(waiting, AuthenticationFailed)

    def test_a_peer_that_goes_away_gives_its_place_back(self) -> None:
        self.refusal(password="wrong")
        self.refusal(password="wrong")
        for _ in range(WAITING_MAX * 2):
            waiting = self.sign_in()
            self.assertNoResult(waiting)
            waiting.cancel()
            self.failureResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
