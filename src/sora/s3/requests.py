"""One S3 request carried through: signed, sent, retried while that makes sense, bounded in time and number."""

import hashlib
import random
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlsplit

import attrs
from twisted.internet.defer import CancelledError, DeferredSemaphore
from twisted.logger import Logger

from sora import aio
from sora.core.errors import ObjectStoreUnavailable
from sora.observe import metrics
from sora.s3 import xml
from sora.s3.breaker import Breaker
from sora.s3.direct import Direct
from sora.s3.http import Http, NoAnswer, Reply
from sora.s3.settings import S3Settings
from sora.s3.signing import Signer

log = Logger()

HASH_INLINE_MAX: Final = 1_048_576
"""Larger payloads are hashed in a thread: SHA-256 takes 0.7 ms a MiB."""
_MIB: Final = 1_048_576
_RETRIED: Final = frozenset((408, 429, 500, 502, 503, 504))
_EXPIRED: Final = frozenset(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"))


class Refused(ObjectStoreUnavailable):
    """The object store answered that the request is wrong or not allowed: sending it again would not help."""


class Mismatch(ObjectStoreUnavailable):
    """The object store's answer shows that it did not store what was sent."""


@attrs.frozen
class Payload:
    """A request's body with its digests, made once for all attempts."""

    data: bytes
    sha256: bytes
    md5: bytes

    @property
    def md5_base64(self) -> str:
        """As in Content-MD5."""
        return b64encode(self.md5).decode("ascii")


def _digested(data: bytes) -> Payload:
    return Payload(data, hashlib.sha256(data).digest(), hashlib.md5(data, usedforsecurity=False).digest())


EMPTY: Final = _digested(b"")

Check = Callable[[Reply], object]
"""Raises `Mismatch` when a successful answer shows that it was not."""


@attrs.define(kw_only=True)
class Request:
    """What to ask. `operation` names it in metrics; `path` is the object's key with the bucket's prefix."""

    operation: str
    method: str
    key: str = ""
    query: dict[str, str] = attrs.field(factory=dict)
    headers: dict[str, str] = attrs.field(factory=dict)
    payload: Payload = EMPTY
    good: tuple[int, ...] = (200,)
    check: Check | None = None
    body_max: int = xml.ANSWER_MAX
    expected: int = 0
    """Octets the answer may have: with them, time grows."""


class Requests:
    """Sends requests to one bucket."""

    def __init__(
        self, settings: S3Settings, reactor: Any, *, random_number: Callable[[], float] = random.random
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._random = random_number
        self._http = Http(settings, reactor)
        self._signer = Signer(settings, reactor)
        self._slots = DeferredSemaphore(settings.connections_max)
        self._base = _base(settings)
        self._direct = Direct(settings, reactor, self._base)
        self.breaker = Breaker(
            clock=reactor,
            failures_max=settings.breaker_failures,
            pause=settings.breaker_pause,
            pause_max=settings.breaker_pause_max,
        )

    async def close(self) -> None:
        """Close kept connections; what is in flight must be cancelled by who asked."""
        self._direct.close()
        await self._http.close()

    async def payload(self, data: bytes) -> Payload:
        """Compute the digests of a body."""
        if len(data) <= HASH_INLINE_MAX:
            return _digested(data)
        return await aio.in_thread(self._reactor, self._reactor.getThreadPool(), _digested, data)

    async def send(self, request: Request) -> Reply:
        """Return an answer whose status is one of `request.good`.

        Raises `Refused` for an answer that is final, `ObjectStoreUnavailable` after the last attempt, at the
        deadline, and at once while the breaker is open.
        """
        extra = (len(request.payload.data) + request.expected) / _MIB
        deadline = self._settings.deadline + extra
        with metrics.S3_SECONDS.labels(request.operation).time():
            return await aio.timeout(
                aio.start(self._slots.run(self._attempts, request, self._settings.timeout + extra)),
                deadline,
                self._reactor,
                lambda: ObjectStoreUnavailable(f"S3 {request.operation}: no success in {deadline:.0f} s"),
            )

    @aio.deferred
    async def _attempts(self, request: Request, timeout: float) -> Reply:
        attempt = 0
        renewed = False
        while True:
            attempt += 1
            try:
                reply = await self._attempt(request, timeout)
            except Refused as error:
                if renewed or not self._renew(error):
                    raise
                renewed = True
                continue
            except (NoAnswer, Mismatch, _Failing) as error:
                if attempt >= self._settings.attempts_max:
                    raise ObjectStoreUnavailable(f"S3 {request.operation}: {error} ({attempt} attempts)") from error
                log.debug("S3 {operation}: {reason}; trying again", operation=request.operation, reason=error)
            else:
                return reply
            ceiling = min(self._settings.retry_max, self._settings.retry_base * 2.0 ** (attempt - 1))
            await aio.sleep(self._reactor, ceiling * self._random())

    async def _attempt(self, request: Request, timeout: float) -> Reply:
        credentials = await self._signer.credentials()
        url = self._url(request)
        headers = self._signer.sign(
            credentials, request.method, url, dict(request.headers), request.payload.sha256.hex()
        )
        self.breaker.enter()
        outcome = "abandoned"
        try:
            # What is asked of a single object may be repeated, and is asked for each body: it goes the short way.
            http = self._direct if request.key and not request.query else self._http
            reply = await http.exchange(
                request.method, url, headers, request.payload.data, timeout=timeout, body_max=request.body_max
            )
            outcome = "answered"
            if reply.status in request.good:
                if request.check is not None:
                    request.check(reply)
                outcome = "good"
            elif reply.status in _RETRIED:
                outcome = "failing" if reply.status >= 500 else "throttled"
                raise _Failing(_explained(reply))
            else:
                raise Refused(f"S3 {request.operation}: {_explained(reply)}")
        except CancelledError:
            raise
        except NoAnswer:
            outcome = "silent"
            raise
        except Mismatch:
            outcome = "mismatch"
            raise
        finally:
            self._note(request.operation, outcome)
        return reply

    def _note(self, operation: str, outcome: str) -> None:
        metrics.S3_REQUESTS.labels(operation, outcome).inc()
        if outcome == "abandoned":
            self.breaker.abandoned()
        elif outcome in ("silent", "failing"):
            self.breaker.failed()
        else:
            self.breaker.succeeded()

    def _renew(self, error: Refused) -> bool:
        """Tell whether the refusal was about credentials that have expired and can be had anew."""
        if self._signer.renewable and any(code in str(error) for code in _EXPIRED):
            self._signer.forget()
            return True
        return False

    def _url(self, request: Request) -> str:
        path = quote(request.key, safe="/-_.~")
        query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(request.query.items()))
        return f"{self._base}{path}?{query}" if query else self._base + path


class _Failing(ObjectStoreUnavailable):
    """The object store says that it cannot now."""


def _explained(reply: Reply) -> str:
    code, message = xml.error_of(reply.body)
    return f"{reply.status} {code} {message}".strip()[:300]


def _base(settings: S3Settings) -> str:
    url = urlsplit(settings.endpoint)
    if settings.path_style:
        return f"{url.scheme}://{url.netloc}/{settings.bucket}/"
    return f"{url.scheme}://{settings.bucket}.{url.netloc}/"
