"""The metrics server: GET /metrics in Prometheus' text format, for those who may ask, and nothing else."""

import hmac
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from sora import aio
from sora.auth.networks import Network
from sora.net.listeners import peer_ip

PATH: Final = b"/metrics"
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
CONNECTIONS_MAX: Final = 16
"""Connections at once: one or two monitoring systems, and someone who looks."""
IDLE_TIMEOUT: Final = 30.0
"""Seconds of silence until a connection is closed."""
BODY_MAX: Final = 65_536
"""Octets of a request's body, which nobody wants: what is longer, or of unknown length, ends the connection."""
KEPT: Final = 1.0
"""Seconds for which an answer is given again: many who ask cost no more than one."""

Source = Callable[[], "Deferred[bytes]"]


class Kept:
    """The text of the metrics, gathered once for all who ask within a moment."""

    def __init__(self, source: Source, clock: IReactorTime) -> None:
        self._source = source
        self._clock = clock
        self._once: aio.Once[bytes] | None = None
        self._until = 0.0

    def text(self) -> "Deferred[bytes]":
        """Return the text, gathered now or a moment ago."""
        once = self._once
        if once is None or self._clock.seconds() >= self._until:
            once = self._once = aio.Once()
            self._until = self._clock.seconds() + KEPT
            self._source().addCallbacks(once.fire, self._failed, (), {}, (once,))
        return once.wait()

    def _failed(self, failure: Failure, once: "aio.Once[bytes]") -> None:
        self._once = None
        once.fail(failure)


class _Page(Resource):
    """The one page there is."""

    isLeaf = True  # noqa: N815  Twisted's name
    log = Logger()

    def __init__(self, kept: Kept, api_key: bytes | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = kept
        self._expected = None if api_key is None else b"Bearer " + api_key

    def render(self, request: Any) -> bytes | int:
        if request.method in (b"GET", b"HEAD"):
            return self.render_GET(request)
        request.setHeader(b"allow", b"GET, HEAD")
        return self._refuse(request, http.NOT_ALLOWED, b"")

    def render_GET(self, request: Any) -> bytes | int:  # noqa: N802  Twisted calls it
        if request.uri != PATH:
            return self._refuse(request, http.NOT_FOUND, b"not found\n")
        if not self._allowed(request):
            request.setHeader(b"www-authenticate", b"Bearer")
            return self._refuse(request, http.UNAUTHORIZED, b"unauthorized\n")
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self._kept.text().addCallbacks(self._answer, self._failed, (request, gone), {}, (request, gone))
        return NOT_DONE_YET

    def _allowed(self, request: Any) -> bool:
        if self._expected is None:
            return True
        given: bytes = request.getHeader(b"authorization") or b""
        return hmac.compare_digest(given, self._expected)

    def _answer(self, text: bytes, request: Any, gone: list[object]) -> None:
        if gone:
            return
        request.setHeader(b"content-type", CONTENT_TYPE)
        request.setHeader(b"content-length", b"%d" % len(text))
        if request.method != b"HEAD":
            request.write(text)
        request.finish()

    def _failed(self, failure: Failure, request: Any, gone: list[object]) -> None:
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
            self.log.failure("the metrics could not be gathered", failure)
        if not gone:
            request.setResponseCode(http.INTERNAL_SERVER_ERROR)
            request.finish()

    def _refuse(self, request: Any, code: int, text: bytes) -> bytes:
        request.setResponseCode(code)
        request.setHeader(b"content-type", b"text/plain")
        return text


class _Request(Request):
    """A request whose body is not kept."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802  Twisted calls it
        self.content = io.BytesIO()
        if length is None or length > BODY_MAX:
            channel: Any = self.channel
            channel.forceAbortClient()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Let it go."""


class _Channel(http.HTTPChannel):
    """One connection, counted."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.left()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class _HangUp(Protocol):
    """What a stranger gets: wrapped in TLS, too, where None would not do."""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class MetricsFactory(Site):
    """The connections of one metrics server."""

    noisy = False
    protocol = _Channel  # type: ignore[assignment]

    def __init__(self, source: Source, *, reactor: Any, allowed: Sequence[Network], api_key: str | None = None) -> None:
        """`source` gathers the text; `allowed` are the networks that may ask, `api_key` what they must present."""
        page = _Page(Kept(source, reactor), None if api_key is None else api_key.encode())
        super().__init__(page, requestFactory=_Request, timeout=IDLE_TIMEOUT, reactor=reactor)  # type: ignore[no-untyped-call]
        self.displayTracebacks = False
        self._allowed = allowed
        self._connections = 0

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a channel; a stranger, and who comes when there are too many, is hung up on."""
        peer = None if addr is None else peer_ip(addr)
        if self._connections >= CONNECTIONS_MAX or not (peer is None or any(peer in one for one in self._allowed)):
            return _HangUp()
        self._connections += 1
        return super().buildProtocol(addr)  # type: ignore[no-untyped-call]

    def left(self) -> None:
        """A connection has ended."""
        self._connections -= 1

    def startFactory(self) -> None:
        """Begin; there is no log of who asked for what, nor a clock for its lines."""

    def stopFactory(self) -> None:
        """End."""

    def log(self, request: object) -> None:
        """Write nothing."""
