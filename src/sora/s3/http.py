"""One HTTP exchange with S3: treq over a connection pool of our own, answers bounded, complete or an error."""

from typing import Any, Final, cast

import attrs
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS, IResponse
from zope.interface import implementer

from sora import aio
from sora.core.errors import ObjectStoreUnavailable
from sora.s3.settings import S3Settings

_PEM_END: Final = b"-----END CERTIFICATE-----"


class NoAnswer(ObjectStoreUnavailable):
    """No complete answer came: refused, reset, too slow, cut short, or too large."""


@attrs.define
class Reply:
    """A complete answer."""

    status: int
    headers: dict[str, str]
    """By name in lower case; the first value of each."""
    body: bytes

    def header(self, name: str) -> str:
        """Return one header's first value, or the empty string; `name` is in lower case."""
        return self.headers.get(name, "")


class Http:
    """Sends requests over kept connections, at most `connections_max` of them idle."""

    def __init__(self, settings: S3Settings, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._pool.maxPersistentPerHost = settings.connections_max
        self._pool.cachedConnectionTimeout = settings.idle_timeout  # type: ignore[assignment]
        # A stale connection is our affair: the pool would retry GETs only, and does not count them.
        self._pool.retryAutomatically = False
        agent = Agent(  # type: ignore[no-untyped-call]
            reactor, contextFactory=policy(settings), connectTimeout=settings.connect_timeout, pool=self._pool
        )
        self._client = HTTPClient(agent)

    async def exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes, *, timeout: float, body_max: int
    ) -> Reply:
        """Send a request and read the whole answer. Raises `NoAnswer`; `timeout` is in seconds."""
        exchange = cancellable(aio.start(self._exchange(method, url, headers, body, body_max)))
        return await aio.timeout(exchange, timeout, self._reactor, lambda: NoAnswer(f"no answer in {timeout:.0f} s"))

    async def _exchange(self, method: str, url: str, headers: dict[str, str], body: bytes, body_max: int) -> Reply:
        try:
            response = await self._client.request(
                method,
                url,
                headers=Headers({name: [value] for name, value in headers.items()}),
                data=body if body or method == "PUT" else None,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            return Reply(response.code, _first(response.headers), await _collect(response, body_max))
        except (CancelledError, NoAnswer):
            raise
        except Exception as error:
            # Twisted's client fails with classes of its own and of OpenSSL, a cancellation sometimes inside.
            inner = _innermost(error)
            if isinstance(inner, CancelledError):
                raise inner from None
            raise NoAnswer(described(inner)) from error

    def close(self) -> "Deferred[None]":
        """Close kept connections; those in use must be cancelled by who uses them."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())  # type: ignore[no-untyped-call]


class _Body(Protocol):
    """Collects an answer's body up to a maximum."""

    def __init__(self, code: int, body_max: int) -> None:
        self._code = code
        self._left = body_max
        self._parts: list[bytes] = []
        self.done: Deferred[bytes] = Deferred(lambda _: self.abort())

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(NoAnswer("the answer is larger than allowed"))
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        # Without a length only an error's text may end with the connection: an object may have been cut.
        if isinstance(reason.value, ResponseDone) or (
            isinstance(reason.value, PotentialDataLoss) and self._code >= 300
        ):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(NoAnswer("the answer was cut short"))

    def abort(self) -> None:
        """Drop the connection: the rest of the answer must not come to the next request."""
        # Twisted shows the body's reader only loseConnection(), which over TLS waits for the peer.
        transport = getattr(self.transport, "_producer", None) or self.transport
        abort = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
        if abort is not None:
            abort()


def _first(headers: Headers) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): values[0].decode("latin-1").strip()
        for name, values in headers.getAllRawHeaders()
    }


def _collect(response: IResponse, body_max: int) -> "Deferred[bytes]":
    body = _Body(response.code, body_max)
    response.deliverBody(body)  # type: ignore[no-untyped-call]
    return body.done


def cancellable(exchange: "Deferred[Reply]") -> "Deferred[Reply]":
    """Return a Deferred that fails with `CancelledError` when it is cancelled.

    Twisted's client may say something else, such as that the name was not found, which would be tried again.
    """
    cancelled = False

    def cancel(_: object) -> None:
        nonlocal cancelled
        cancelled = True
        exchange.cancel()

    def pass_on(result: Any) -> None:
        if not cancelled:
            outcome.callback(result)

    outcome: Deferred[Reply] = Deferred(cancel)
    exchange.addBoth(pass_on)
    return outcome


def _innermost(error: Exception) -> Exception:
    """Take off the wrappers Twisted puts around what happened."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def described(error: BaseException | None) -> str:
    """Say what became of a connection, for a log."""
    if isinstance(error, ConnectError | ConnectionClosed):
        return f"connection failed: {error}"
    return f"{type(error).__name__}: {error}"


# ---------------------------------------------------------------- TLS


def policy(settings: S3Settings) -> IPolicyForHTTPS:
    """Return whose certificates are believed."""
    if not settings.verify:
        return _Unverified()
    if settings.ca_file is None:
        return BrowserLikePolicyForHTTPS()  # type: ignore[no-untyped-call]
    with open(settings.ca_file, "rb") as file:
        blocks = [block + _PEM_END for block in file.read().split(_PEM_END)[:-1]]
    certificates = [Certificate.loadPEM(block) for block in blocks]
    root = trustRootFromCertificates(certificates)  # type: ignore[no-untyped-call]
    return BrowserLikePolicyForHTTPS(root)  # type: ignore[no-untyped-call]


@implementer(IPolicyForHTTPS)
class _Unverified:
    """TLS with anyone: only where the operator asked for it."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> "_UnverifiedCreator":  # noqa: N802 - Twisted's name
        return _UnverifiedCreator(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _UnverifiedCreator:
    def __init__(self, hostname: bytes) -> None:
        self._hostname = hostname
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802 - Twisted's name
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._hostname)
        return connection
