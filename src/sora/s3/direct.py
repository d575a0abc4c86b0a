"""Objects over HTTP/1.1 by hand: what is asked for each body, in a tenth of the time a general client takes.

Only for requests that may be repeated (GET, HEAD, PUT, DELETE of one object): one sent on a kept connection that
the server closed in that moment is sent once more on a new one. Everything else goes through `s3.http`.
"""

from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sora import aio
from sora.s3.answer import Answer
from sora.s3.http import NoAnswer, Reply, cancellable, described, policy
from sora.s3.settings import S3Settings

_JOINED_MAX: Final = 65_536
"""Bodies up to this size are sent in one write with the header."""


class _Stale(Exception):
    """A kept connection ended before anything of the answer came."""


class _Connection(Protocol):
    """A connection that serves one request at a time."""

    transport: Any

    def __init__(self, client: "Direct") -> None:
        self._client = client
        self._answer: Answer | None = None
        self._done: Deferred[Reply] | None = None
        self._heard = False
        self._served = False
        self._has_body = False
        self.alive = True
        self.idle_since = 0.0

    def ask(self, head: bytes, body: bytes, answer: Answer) -> "Deferred[Reply]":
        """Send a request; fires with the complete answer. Cancelling it drops the connection."""
        self._answer, self._heard, self._has_body = answer, False, bool(body)
        done: Deferred[Reply] = Deferred(self._abandon)
        self._done = done
        if len(body) <= _JOINED_MAX:
            self.transport.write(head + body)
        else:
            self.transport.writeSequence((head, body))
        return done

    def _abandon(self, _: object) -> None:
        self._done = None
        self.drop()

    def dataReceived(self, data: bytes) -> None:
        """Take a part of the answer."""
        if self._answer is None or self._done is None:
            self.drop()
            return
        self._heard = True
        try:
            complete = self._answer.feed(data)
        except NoAnswer as error:
            self.drop()
            self._finish(error)
            return
        if complete:
            self._finish(self._answer.reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits, unless the answer ends with the connection."""
        self.alive = False
        self._client.lost(self)
        if self._done is None or self._answer is None:
            return
        if self._answer.ended():
            self._finish(self._answer.reply)
        elif self._heard:
            self._finish(NoAnswer("the answer was cut short"))
        elif self._served:
            self._finish(_Stale())
        else:
            self._finish(NoAnswer(described(reason.value)))

    def _finish(self, outcome: Reply | Exception) -> None:
        done, self._done = self._done, None
        answer, self._answer = self._answer, None
        self._served = True
        # A refusal may come before the request was read: what is left of it must not follow.
        all_read = answer is not None and (answer.status < 400 or not self._has_body)
        if self.alive and answer is not None and answer.reusable and all_read:
            self._client.kept(self)
        elif self.alive:
            self.drop()
        if done is None:
            return
        if isinstance(outcome, Reply):
            done.callback(outcome)
        else:
            done.errback(Failure(outcome))  # type: ignore[no-untyped-call]

    def drop(self) -> None:
        """Close at once."""
        self.alive = False
        self._client.lost(self)
        if self.transport is not None:
            self.transport.abortConnection()


class Direct:
    """Requests for objects of one server over connections that are kept for `idle_timeout` seconds."""

    def __init__(self, settings: S3Settings, reactor: Any, base: str) -> None:
        url = urlsplit(base)
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        self._reactor = reactor
        self._idle_timeout = settings.idle_timeout
        endpoint: Any = HostnameEndpoint(reactor, host, port, timeout=settings.connect_timeout)
        if url.scheme == "https":
            name = host.encode("ascii" if host.isascii() else "idna")
            creator = policy(settings).creatorForNetloc(name, port)
            endpoint = wrapClientTLS(creator, endpoint)
        self._endpoint = endpoint
        self._factory = Factory.forProtocol(lambda: _Connection(self))
        self._factory.noisy = False
        self._idle: list[_Connection] = []
        self._reaper: IDelayedCall | None = None

    async def exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes, *, timeout: float, body_max: int
    ) -> Reply:
        """Send a request and read the whole answer. Raises `NoAnswer`; `timeout` is in seconds."""
        exchange = cancellable(aio.start(self._exchange(method, url, headers, body, body_max)))
        return await aio.timeout(exchange, timeout, self._reactor, lambda: NoAnswer(f"no answer in {timeout:.0f} s"))

    async def _exchange(self, method: str, url: str, headers: dict[str, str], body: bytes, body_max: int) -> Reply:
        target = "/" + url.split("/", 3)[3]
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = f"Content-Length: {len(body)}\r\n" if body or method == "PUT" else ""
        head = f"{method} {target} HTTP/1.1\r\n{fields}{length}\r\n".encode("latin-1")
        if self._idle:
            try:
                return await self._idle.pop().ask(head, body, Answer(bodyless=method == "HEAD", body_max=body_max))
            except _Stale:
                pass
        try:
            connection = await self._endpoint.connect(self._factory)
        except CancelledError:
            raise
        except Exception as error:
            # Endpoints fail with classes of the resolver, of sockets and of OpenSSL.
            raise NoAnswer(described(error)) from error
        reply: Reply = await connection.ask(head, body, Answer(bodyless=method == "HEAD", body_max=body_max))
        return reply

    def kept(self, connection: _Connection) -> None:
        """Keep a connection for the next request."""
        connection.idle_since = self._reactor.seconds()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = self._reactor.callLater(self._idle_timeout, self._reap)

    def lost(self, connection: _Connection) -> None:
        """Forget a connection that has ended."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _reap(self) -> None:
        self._reaper = None
        oldest = self._reactor.seconds() - self._idle_timeout
        for connection in [one for one in self._idle if one.idle_since <= oldest]:
            connection.drop()
        if self._idle:
            wait = max(self._idle[0].idle_since - oldest, 0.1)
            self._reaper = self._reactor.callLater(wait, self._reap)

    def close(self) -> None:
        """Close kept connections; those in use must be cancelled by who uses them."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.drop()
