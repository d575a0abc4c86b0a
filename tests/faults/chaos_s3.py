"""An S3 with a seed that misbehaves as real ones do, and more: it goes away and comes back, and it lies.

It is `tests.integration.fake_s3`, which checks signatures and checksums, with a mischief drawn for each request.
"""

import random
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from sora import aio
from tests.integration.fake_s3 import FakeS3, Fault, Server


class Mischief(Enum):
    """What goes wrong with a request, beyond `fake_s3.Fault`."""

    SLOW = "the answer comes after a while"
    ERROR_IN_200 = "status 200, and an error as the body"
    LATE = "a just written object is not found until later"
    LYING_LENGTH = "HEAD and GET tell a length that is not the object's"
    WRONG_BYTES = "one bit of the object is turned"
    RESET_AFTER = "everything is done, and the connection reset before the answer"


PASSING: Final = (
    *(Fault.UNAVAILABLE, Fault.INTERNAL, Fault.THROTTLED, Fault.RESET, Fault.TRUNCATED, Fault.WRONG_TAG),
    *(Fault.DROPPED, Mischief.SLOW, Mischief.ERROR_IN_200, Mischief.LATE, Mischief.RESET_AFTER),
)
"""What a client must get over by itself, and soon."""
_SLOW: Final = 0.2
_LATE: Final = 4
"""How often an object that is late is not found."""


class Moods:
    """Draws a mischief with probability `rate` for each request, repeatably from a seed."""

    def __init__(self, seed: int, rate: float, among: tuple[Fault | Mischief, ...] = PASSING) -> None:
        self._random = random.Random(f"{seed}/s3")
        self._among = among
        self.rate = rate

    def __call__(self, request: Request) -> Fault | Mischief:
        return self._random.choice(self._among) if self._random.random() < self.rate else Fault.NONE


class ChaosS3(FakeS3):
    """The bucket; `moods` decides about each request."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.moods: Callable[[Request], Fault | Mischief] = lambda _: Fault.NONE
        self.met: dict[Fault | Mischief, int] = {}
        """How often what happened."""
        self.on_request: Callable[[str], bool] = lambda _: False
        """Asked with each request's method before anything is done; true: it is never answered."""
        self._late: dict[str, int] = {}

    def render(self, request: Any) -> Any:
        """Answer, or misbehave."""
        if self.on_request(request.method.decode()):
            return self._never(request)
        mood = self.moods(request)
        self.met[mood] = self.met.get(mood, 0) + 1
        if isinstance(mood, Fault):
            self.faults = lambda _: mood
            return self._found(request)
        self.faults = lambda _: Fault.NONE
        if mood is Mischief.SLOW:
            request.notifyFinish().addErrback(lambda _: None)
            self.reactor.callLater(_SLOW, self._later, request)
            return NOT_DONE_YET
        if mood is Mischief.LATE and request.method == b"PUT":
            self._late[request.uri.decode()] = _LATE
            return self._found(request)
        if mood is Mischief.RESET_AFTER:
            super().render(request)
            request.notifyFinish().addErrback(lambda _: None)
            request.transport.abortConnection()
            return NOT_DONE_YET
        return self._lie(request, mood)

    def _lie(self, request: Any, mood: Mischief) -> Any:
        if mood is Mischief.ERROR_IN_200 and request.method != b"HEAD":
            return b"<Error><Code>InternalError</Code><Message>as asked</Message></Error>"
        answer = self._found(request)
        if not isinstance(answer, bytes) or request.method not in (b"GET", b"HEAD") or request.code >= 300:
            return answer
        if mood is Mischief.LYING_LENGTH:
            if request.method == b"HEAD":
                request.setHeader("content-length", "7")
            return answer[: len(answer) // 2]
        if mood is Mischief.WRONG_BYTES and answer:
            return bytes([answer[0] ^ 1]) + answer[1:]
        return answer

    def _found(self, request: Request) -> Any:
        left = self._late.get(request.uri.decode(), 0)
        if left and request.method in (b"GET", b"HEAD"):
            self._late[request.uri.decode()] = left - 1
            request.setResponseCode(404)
            return b"" if request.method == b"HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"
        return super().render(request)

    def _never(self, request: Request) -> Any:
        request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET

    def _later(self, request: Any) -> None:
        if request.transport is None or getattr(request, "_disconnected", False):
            return
        answer = self._found(request)
        if answer is not NOT_DONE_YET:
            request.write(answer)
            request.finish()


class ChaosServer(Server):
    """A `ChaosS3` on loopback that can go away and come back on its port."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self.s3: ChaosS3 = ChaosS3(reactor)
        self._port.factory.resource = self.s3

    @aio.deferred
    async def leave(self) -> None:
        """Go away: nobody listens, and every connection is reset."""
        await self.stop()

    def come_back(self) -> None:
        """Listen on the same port again, with all objects."""
        port = int(self.endpoint.rpartition(":")[2])
        self._port = self._reactor.listenTCP(port, self._port.factory, interface="127.0.0.1")


def settings_of(server: Server) -> str:
    """Return the `[s3]` table that leads a server here, with short limits."""
    from tests.integration.fake_s3 import ACCESS, REGION, SECRET

    return (
        f'[s3]\nendpoint = "{server.endpoint}"\ndisable_tls = true\nbucket = "mail"\nregion = "{REGION}"\n'
        f'path_style = true\naccess_key = "{ACCESS}"\nsecret_key = "{SECRET}"\n'
        'timeout = "1s"\ndeadline = "3s"\nconnect_timeout = "1s"\n'
    )
