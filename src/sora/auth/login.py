"""Signing in: an address and a password become an account, or one error that tells nothing.

An unknown name, a wrong password, a suspended account and a throttled guess have the same text and cost the same
hashing. A login that was verified a moment ago costs none, and equal sign-ins at one moment share one.
"""

from collections.abc import Coroutine
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora import aio
from sora.auth.cache import VerifiedCache
from sora.auth.pool import Hashing
from sora.auth.throttle import Throttle
from sora.core import address as addresses
from sora.core.errors import AddressInvalid, AuthenticationFailed, Busy, SoraError
from sora.core.ids import AccountId
from sora.core.limits import PASSWORD_MAX
from sora.observe import metrics
from sora.sasl import passwords
from sora.store.interfaces import Accounts
from sora.store.model import AccountStatus, Credential, Login

REFUSAL: Final = "the name or the password is wrong"


@attrs.frozen
class SignedIn:
    """Who signed in."""

    account: AccountId
    address: str
    """The account's primary address."""
    bare: bool = False
    """Whether the account has no mailbox besides INBOX."""


class Authenticator:
    """Signs in; shared by all servers of a process."""

    log = Logger()

    def __init__(
        self,
        accounts: Accounts,
        clock: IReactorTime,
        *,
        hashing: Hashing,
        bcrypt_cost: int = 12,
        cache: VerifiedCache | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """`hashing` is an `auth.pool.HashingPool`; without `throttle` nobody is slowed down."""
        self._accounts = accounts
        self._clock = clock
        self._hashing = hashing
        self._cost = bcrypt_cost
        self._cache = cache if cache is not None else VerifiedCache(clock=clock.seconds)
        self._throttle = throttle
        self._verifying: dict[bytes, aio.Once[int | None]] = {}
        self._background: set[Deferred[None]] = set()
        self._rehashing: set[int] = set()

    async def sign_in(self, login: str, password: bytes | str, *, mechanism: str, protocol: str, peer: str) -> SignedIn:
        """Return who signs in; `peer` is an IP address, empty for a unix socket.

        Raises `AuthenticationFailed`, `Busy` and what reading the account raises.
        """
        secret = password.encode("utf-8", "surrogatepass") if isinstance(password, str) else password
        possible = True
        try:
            address = str(addresses.parse(login))
        except AddressInvalid:
            # No account has such a name, and a database need not take it; a throttle key must not be longer than this.
            address, possible = login[: addresses.ADDRESS_MAX].lower(), False
        await self._wait(address, peer)
        if not 0 < len(secret) <= PASSWORD_MAX or b"\0" in secret:
            secret = b""
        found = await self._accounts.login(address) if possible else None
        refused = await self._refused(found, address, secret, mechanism)
        if found is None or refused is not None:
            if self._throttle is not None:
                self._throttle.failed(address, peer)
            self.log.info(
                "sign-in refused: {why}; name {name}, peer {peer}, {protocol} {mechanism}",
                why=refused,
                name=address.encode("utf-8", "backslashreplace").decode(),
                peer=peer or "local",
                protocol=protocol,
                mechanism=mechanism,
            )
            metrics.LOGIN_REFUSED.inc()
            raise AuthenticationFailed(REFUSAL)
        metrics.LOGIN_OK.inc()
        if self._throttle is not None:
            self._throttle.succeeded(address, peer)
        return SignedIn(found.account, found.address, found.bare)

    def hear(self, failed: bool, address: str, peer: str) -> None:
        """Take what another process's throttle told."""
        if self._throttle is not None:
            self._throttle.hear(failed, address, peer)

    def start(self) -> None:
        """Start the threads that hash."""
        self._hashing.start()

    async def stop(self) -> None:
        """Stop the threads and what runs in the background; sign-ins that wait fail with `Busy`."""
        for work in list(self._background):
            work.cancel()
        self._hashing.stop()

    # ------------------------------------------------------------ inside

    async def _wait(self, address: str, peer: str) -> None:
        """Wait as long as earlier failures demand, before anything is looked at: a delay must not be a verdict."""
        throttle = self._throttle
        seconds = 0.0 if throttle is None else throttle.delay(address, peer)
        if throttle is None or not seconds:
            return
        if not throttle.enter(address, peer):
            self.log.info("sign-in refused: too many wait; name {name}, peer {peer}", name=address, peer=peer)
            raise AuthenticationFailed(REFUSAL)
        try:
            await aio.sleep(self._clock, seconds)
        finally:
            throttle.leave(address, peer)

    async def _refused(self, login: Login | None, address: str, password: bytes, mechanism: str) -> str | None:
        """Return why the sign-in is refused, for the log; None if it is not."""
        if login is None:
            await self._verified(self._cache.digest_unknown(address, password), password, ())
            return "unknown name"
        digest = self._cache.digest(login, password, mechanism)
        active = login.status is AccountStatus.ACTIVE
        if active and digest in self._cache:
            return None
        fits = await self._verified(digest, password, login.credentials)
        if fits is None:
            return "wrong password"
        if not active:
            return f"the account is {login.status.value}"
        self._cache.add(digest)
        self._strengthen(login.credentials[fits], password)
        return None

    async def _verified(self, digest: bytes, password: bytes, credentials: tuple[Credential, ...]) -> int | None:
        """Return which credential fits, hashing once for all that ask the same at this moment."""
        once = self._verifying.get(digest)
        if once is None:
            once = self._verifying[digest] = aio.Once()
            self._verify(digest, once, password, credentials)
        return await once.wait()

    def _verify(
        self, digest: bytes, once: "aio.Once[int | None]", password: bytes, credentials: tuple[Credential, ...]
    ) -> None:
        """Start to hash; nobody's cancellation ends it, since others may be waiting."""
        for credential in credentials:
            reason = passwords.complaint(credential.hash)
            if reason is not None:
                self.log.warn("the hash of credential {id} cannot be used: {reason}", id=credential.id, reason=reason)

        def hashed(result: int | Failure | None) -> None:
            del self._verifying[digest]
            if isinstance(result, Failure):
                once.fail(result)
            else:
                once.fire(result)

        hashes = tuple(credential.hash for credential in credentials)
        self._hashing.run(passwords.verify_evenly, password, hashes, self._cost).addBoth(hashed)

    def _strengthen(self, credential: Credential, password: bytes) -> None:
        """Replace a weak hash in the background, now that its password is at hand."""
        if (
            credential.id in self._rehashing
            or not passwords.needs_rehash(credential.hash, self._cost)
            or len(password) > passwords.BCRYPT_OCTETS_MAX
        ):
            return
        self._rehashing.add(credential.id)
        self._start(self._rehash(credential, password))

    async def _rehash(self, credential: Credential, password: bytes) -> None:
        try:
            stronger = await self._hashing.run(passwords.hash_password, password, cost=self._cost)
            await self._accounts.replace_hash(credential.id, credential.hash, stronger)
        except Busy:
            return  # the next sign-in tries again
        except SoraError as error:
            self.log.warn("a stronger hash could not be stored: {error}", error=error)
        finally:
            self._rehashing.discard(credential.id)

    def _start(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        running: Deferred[None] = aio.start(work)
        self._background.add(running)
        running.addErrback(self._broke)
        running.addBoth(lambda _: self._background.discard(running))

    def _broke(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:  # type: ignore[no-untyped-call]
            self.log.failure("signing in broke in the background", failure)
