"""One LMTP connection without I/O: which command may come when, what is answered, what a transaction holds.

RFC 2033, 5321, 2920 (PIPELINING), 3030 (CHUNKING). The caller gives octets to `feed` and each event it
returns, in order, to `take`, and does what the returned step says before it takes the next event.
"""

from enum import Enum, auto
from typing import Final, Generic, TypeVar

import attrs

from sora.core import limits
from sora.lmtp.codes import reply, reply_for, reply_for_fault
from sora.lmtp.commands import BodyType, Lhlo, Mail, Plain, Rcpt, RefusedError, parse
from sora.lmtp.framer import Astray, BadLine, Chunk, Content, Event, Fault, Framer, Line

T = TypeVar("T")

_OK: Final = b"250 2.0.0 OK\r\n"
_SEQUENCE: Final = reply(503, "5.5.1", "bad sequence of commands")
_TOO_MANY: Final = reply(452, "4.5.3", "too many recipients")
_BEYOND_ASCII: Final = reply(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")
_VRFY: Final = reply(252, "2.5.0", "send some mail, I will do my best")
_HELP: Final = reply(214, "2.0.0", "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")
_NO_TLS: Final = reply(502, "5.5.1", "STARTTLS is not offered")
_READY: Final = reply(220, "2.0.0", "begin TLS now")
_GO_AHEAD: Final = b"354 end with <CRLF>.<CRLF>\r\n"


@attrs.define
class Say:
    """Send `data`; then close the connection if `close`."""

    data: bytes
    close: bool = False


@attrs.define
class BeginTls:
    """Send `data`, then begin TLS with a `Core` of its own; if anything came behind the command, close instead."""

    data: bytes


@attrs.define
class Resolve:
    """Find the recipient `address`, then send what `accept` or `refuse` returns."""

    address: str


@attrs.define
class Deliver(Generic[T]):
    """Deliver `data` to each of `recipients`, and send one reply for each, in their order."""

    mail: Mail
    recipients: list[T]
    data: bytes


class _Data(Enum):
    NONE = auto()
    DATA = auto()
    CHUNKS = auto()


class Core(Generic[T]):
    """A connection's state; `T` is what the caller calls a recipient."""

    def __init__(
        self,
        hostname: str,
        *,
        message_max: int = limits.MESSAGE_MAX,
        line_max: int = limits.LMTP_LINE_MAX,
        recipients_max: int = limits.LMTP_RECIPIENTS_MAX,
        bad_commands_max: int = limits.BAD_COMMANDS_MAX,
        starttls: bool = False,
    ) -> None:
        """Begin a conversation; `starttls`: TLS can be begun (RFC 3207)."""
        self._starttls = starttls
        self.lhlo: str | None = None
        self._hostname = hostname
        self._message_max = message_max
        self._recipients_max = recipients_max
        self._bad_commands_max = bad_commands_max
        self._bad_commands = 0
        self._framer = Framer(line_max=line_max, message_max=message_max)
        self._reset()

    def _reset(self) -> None:
        self._mail: Mail | None = None
        self._recipients: list[T] = []
        self._asked = 0
        self._data = _Data.NONE
        self._chunks = bytearray()
        self._octets = 0
        self._fault: Fault | None = None

    # ------------------------------------------------------------ octets

    def feed(self, data: bytes) -> list[Event]:
        """Take octets from the peer; with none, go on with what was held back by a DATA line."""
        return self._framer.feed(data)

    @property
    def held(self) -> int:
        """Octets kept for what is not complete."""
        return self._framer.held + len(self._chunks)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost if the connection ended now: no transaction has begun."""
        return self._mail is None and not self._framer.in_data

    def drop(self) -> None:
        """Keep no more of the message that is being sent; it will be answered with 452."""
        self._framer.drop()
        if self._data is _Data.CHUNKS:
            self._fail(Fault.NO_ROOM)

    # ------------------------------------------------------------ conversation

    def greeting(self) -> bytes:
        """Return the first line a peer sees."""
        return reply(220, "", f"{self._hostname} LMTP sora")

    def take(self, event: Event) -> Say | BeginTls | Resolve | Deliver[T]:
        """Return what an event asks for."""
        if isinstance(event, Line):
            return self._take_line(event.text)
        if isinstance(event, Chunk):
            return self._chunk(event)
        if isinstance(event, Content):
            return self._content(event)
        if isinstance(event, Astray):
            return Say(
                reply(501, "5.5.4", "BDAT needs a length; closing, since the next command cannot be found"), True
            )
        return self._bad_line(event)

    def accept(self, recipient: T, address: str) -> bytes:
        """Add a recipient to the transaction and return its reply."""
        self._recipients.append(recipient)
        return reply(250, "2.1.5", f"<{address}> OK")

    def refuse(self, error: Exception) -> bytes:
        """Return the reply for a recipient that was not accepted."""
        return reply_for(error)

    # ------------------------------------------------------------ inside

    def _take_line(self, text: bytes) -> Say | BeginTls | Resolve | Deliver[T]:
        try:
            command = parse(text)
        except RefusedError as refused:
            return self._bad(refused.reply)
        self._bad_commands = 0
        return self._command(command)

    def _bad_line(self, event: BadLine) -> Say:
        return self._bad(reply(500, "5.5.2", event.reason))

    def _bad(self, answer: bytes) -> Say:
        self._bad_commands += 1
        if self._bad_commands >= self._bad_commands_max:
            return Say(answer + reply(421, "4.7.0", "too many bad commands"), close=True)
        return Say(answer)

    def _command(self, command: Lhlo | Mail | Rcpt | Plain) -> Say | BeginTls | Resolve | Deliver[T]:
        if isinstance(command, Rcpt):
            return self._rcpt(command)
        if isinstance(command, Mail):
            return Say(self._start(command))
        if isinstance(command, Lhlo):
            self._reset()
            self.lhlo = command.name
            return Say(self._capabilities())
        if command is Plain.DATA:
            return Say(self._start_data())
        if command is Plain.RSET:
            self._reset()
            return Say(_OK)
        if command is Plain.STARTTLS:
            return self._start_tls()
        if command is Plain.QUIT:
            return Say(reply(221, "2.0.0", f"{self._hostname} closing"), close=True)
        return Say({Plain.NOOP: _OK, Plain.VRFY: _VRFY, Plain.HELP: _HELP}[command])

    def _capabilities(self) -> bytes:
        lines = (
            self._hostname,
            "PIPELINING",
            f"SIZE {self._message_max}",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "BINARYMIME",
            *(("STARTTLS",) if self._starttls else ()),
        )
        return b"".join(b"250-%s\r\n" % line.encode("ascii", "replace") for line in lines) + (
            b"250 ENHANCEDSTATUSCODES\r\n"
        )

    def _start_tls(self) -> Say | BeginTls:
        if not self._starttls:
            return self._bad(_NO_TLS)
        if self.lhlo is None or self._mail is not None:
            return Say(_SEQUENCE)
        return BeginTls(_READY)

    def _start(self, mail: Mail) -> bytes:
        if self.lhlo is None or self._mail is not None:
            return _SEQUENCE
        if mail.size > self._message_max:
            return reply_for_fault(Fault.TOO_LARGE)
        self._mail = mail
        return reply(250, "2.1.0", "OK")

    def _rcpt(self, rcpt: Rcpt) -> Say | Resolve:
        if self._mail is None or self._data is not _Data.NONE:
            return Say(_SEQUENCE)
        if self._asked >= self._recipients_max:
            return Say(_TOO_MANY)
        if not self._mail.utf8 and not rcpt.address.isascii():
            return Say(_BEYOND_ASCII)
        self._asked += 1
        return Resolve(rcpt.address if "@" in rcpt.address else f"{rcpt.address}@{self._hostname}")

    def _start_data(self) -> bytes:
        mail = self._mail
        allowed = mail is not None and self._data is _Data.NONE and mail.body is not BodyType.BINARY
        if not allowed or not self._recipients:
            if self._framer.waiting:
                self._framer.refuse_content()
            return _SEQUENCE
        self._data = _Data.DATA
        self._framer.expect_content()
        return _GO_AHEAD

    def _content(self, content: Content) -> Say | Deliver[T]:
        if content.fault is not None:
            return self._failed(content.fault)
        return self._deliver(content.data)

    def _chunk(self, chunk: Chunk) -> Say | Deliver[T]:
        """Take a chunk; `LAST` is answered once for each recipient, so not at all if there is none (RFC 2033 4.3)."""
        if self._mail is None:
            return self._bad(_SEQUENCE)
        self._bad_commands = 0
        if not self._recipients and not chunk.last:
            return Say(_SEQUENCE)
        failed_before = self._fault is not None
        self._data = _Data.CHUNKS
        self._octets += chunk.octets
        if chunk.fault is not None:
            self._fail(chunk.fault)
        elif self._octets > self._message_max:
            self._fail(Fault.TOO_LARGE)
        if chunk.last:
            if self._fault is not None:
                return self._failed(self._fault)
            return self._deliver(bytes(self._chunks + chunk.data) if self._chunks else chunk.data)
        if self._fault is None:
            self._chunks += chunk.data
        if failed_before:
            return Say(_SEQUENCE)
        if self._fault is not None:
            return Say(reply_for_fault(self._fault))
        return Say(reply(250, "2.0.0", f"{chunk.octets} octets received"))

    def _fail(self, fault: Fault) -> None:
        if self._fault is None:
            self._fault = fault
        self._chunks = bytearray()

    def _failed(self, fault: Fault) -> Say:
        answer = reply_for_fault(fault) * len(self._recipients)
        self._reset()
        return Say(answer)

    def _deliver(self, data: bytes) -> Say | Deliver[T]:
        mail, recipients = self._mail, self._recipients
        self._reset()
        if mail is None or not recipients:
            return Say(b"")
        return Deliver(mail, recipients, data)
