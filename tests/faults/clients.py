"""IMAP and LMTP clients on the reactor that know what they were told, and say `Lost` when a connection ends."""

import re
from typing import Any, Final

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sora import aio

HOST: Final = "127.0.0.1"
PATIENCE: Final = 20.0
"""Seconds for an answer; what takes longer counts as lost."""
_LITERAL = re.compile(rb"\{(\d+)\}\Z")
_EXISTS = re.compile(rb"\* (\d+) EXISTS\Z")
_FETCH = re.compile(rb"\* (\d+) FETCH \([^\r]*?\bUID (\d+)")
_EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE\Z")


class Lost(Exception):
    """The connection ended, or nothing came, before the answer."""


@attrs.frozen
class Answer:
    """What a command was answered: OK, NO or BAD, its text, and what came untagged before it."""

    status: str
    text: bytes
    untagged: list[bytes]

    @property
    def ok(self) -> bool:
        """Whether it was OK."""
        return self.status == "OK"


class _Client(Protocol):
    """What both have in common: whole responses, and their end."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.lost = False
        self.transport: Any = None
        self._buffer = b""
        self._waiting: aio.Once[Any] | None = None

    def next_response(self) -> bytes | None:
        """Take one response off the buffer, with its literals and without its CRLF."""
        start = 0
        while (end := self._buffer.find(b"\r\n", start)) >= 0:
            literal = _LITERAL.search(self._buffer, start, end)
            if literal is None:
                response, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
                return response
            start = end + 2 + int(literal[1])
            if len(self._buffer) < start:
                break
        return None

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while (response := self.next_response()) is not None:
            self.take(response)

    def take(self, response: bytes) -> None:
        """Look at one response."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.fail(Failure(Lost("the connection ended")))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Hang up at once."""
        if self.transport is not None and not self.lost:
            self.transport.abortConnection()

    async def _answer(self) -> Any:
        if self.lost:
            raise Lost("the connection has ended")
        waiting: aio.Once[Any] = aio.Once()
        self._waiting = waiting
        try:
            return await aio.timeout(waiting.wait(), PATIENCE, self.reactor, lambda: Lost("no answer in time"))
        except Lost:
            self.close()
            raise

    def _told(self, what: Any) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.fire(what)


class ImapSession(_Client):
    """One IMAP connection, with the message numbers as the server has told them."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.numbers: list[int | None] = []
        """The UID of each message number of the selected mailbox, as far as it was told."""
        self.confused: list[str] = []
        """What the server told that does not fit what it had told before."""
        self.bye = False
        self.mailbox = ""
        self._tag = 0
        self._untagged: list[bytes] = []

    def take(self, response: bytes) -> None:
        if response.startswith(b"* "):
            self._untagged.append(response)
            if match := _EXISTS.match(response):
                self._exist(int(match[1]))
            elif match := _EXPUNGE.match(response):
                self._vanish(int(match[1]))
            elif match := _FETCH.match(response):
                self._learn(int(match[1]), int(match[2]))
            elif response.startswith(b"* BYE"):
                self.bye = True
            elif self._tag == 0:
                self._told(response)
        elif response.startswith(b"+"):
            self._told(None)
        elif response.startswith(b"t%d " % self._tag):
            status, _, text = response.partition(b" ")[2].partition(b" ")
            untagged, self._untagged = self._untagged, []
            self._told(Answer(status.decode(), text, untagged))

    def _exist(self, count: int) -> None:
        if count < len(self.numbers):
            self.confused.append(f"{count} EXISTS, of {len(self.numbers)}")
        self.numbers = self.numbers[:count] + [None] * (count - len(self.numbers))

    def _vanish(self, number: int) -> None:
        if 1 <= number <= len(self.numbers):
            del self.numbers[number - 1]
        else:
            self.confused.append(f"{number} EXPUNGE, of {len(self.numbers)}")

    def _learn(self, number: int, uid: int) -> None:
        if not 1 <= number <= len(self.numbers):
            self.confused.append(f"{number} FETCH, of {len(self.numbers)}")
        elif self.numbers[number - 1] not in (None, uid):
            self.confused.append(f"number {number} is UID {uid}, was {self.numbers[number - 1]}")
        else:
            self.numbers[number - 1] = uid

    async def command(self, text: str, literal: bytes | None = None) -> Answer:
        """Send a command, with one literal at its end or none. Raises `Lost`."""
        self._tag += 1
        line = b"t%d %b" % (self._tag, text.encode())
        self._untagged = []
        if self.lost or self.transport is None:
            raise Lost("the connection has ended")
        if literal is None:
            self.transport.write(line + b"\r\n")
        else:
            self.transport.write(line + b" {%d+}\r\n" % len(literal) + literal + b"\r\n")
        answer: Answer = await self._answer()
        return answer

    async def greeting(self) -> None:
        """Wait for the server to begin. Raises `Lost`."""
        if not self._untagged:
            await self._answer()


class LmtpSession(_Client):
    """One LMTP connection."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._replies: list[int] = []

    def take(self, response: bytes) -> None:
        if response[3:4] != b"-":
            self._replies.append(int(response[:3]))
            self._told(None)

    async def reply(self) -> int:
        """Return the next reply's code. Raises `Lost`."""
        while not self._replies:
            await self._answer()
        return self._replies.pop(0)

    async def say(self, line: bytes) -> int:
        """Send a line and return the reply's code. Raises `Lost`."""
        if self.lost or self.transport is None:
            raise Lost("the connection has ended")
        self.transport.write(line + b"\r\n")
        return await self.reply()

    async def deliver(self, recipients: list[str], data: bytes, answers: dict[str, int]) -> None:
        """Deliver; `answers` gets each recipient's last code as it comes, so that nothing is lost with `Lost`."""
        taken = []
        if await self.say(b"MAIL FROM:<bob@example.net>") // 100 != 2:
            raise Lost("MAIL was refused")
        for recipient in recipients:
            code = await self.say(b"RCPT TO:<%b>" % recipient.encode())
            if code == 250:
                taken.append(recipient)
            else:
                answers[recipient] = code
        if not taken:
            await self.say(b"RSET")
            return
        if await self.say(b"DATA") != 354:
            raise Lost("DATA was refused")
        assert self.transport is not None
        self.transport.write(data.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        for recipient in taken:
            answers[recipient] = await self.reply()


async def imap(reactor: Any, port: int, user: str, password: str) -> ImapSession:
    """Connect and sign in. Raises `Lost`, also when signing in is refused."""
    session = ImapSession(reactor)
    await _connect(reactor, port, session)
    await session.greeting()
    answer = await session.command(f'LOGIN {user} "{password}"')
    if not answer.ok:
        session.close()
        raise Lost(f"LOGIN: {answer.text.decode()}")
    return session


async def lmtp(reactor: Any, port: int) -> LmtpSession:
    """Connect and say LHLO. Raises `Lost`."""
    session = LmtpSession(reactor)
    await _connect(reactor, port, session)
    if await session.reply() != 220 or await session.say(b"LHLO client.example") != 250:
        session.close()
        raise Lost("LMTP is not served now")
    return session


async def _connect(reactor: Any, port: int, client: _Client) -> None:
    try:
        await TCP4ClientEndpoint(reactor, HOST, port, timeout=5).connect(Factory.forProtocol(lambda: client))
    except Exception as error:  # noqa: BLE001  whatever it is, there is no connection
        raise Lost(f"connecting: {error}") from None
