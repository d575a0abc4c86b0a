"""The only place where bytes become IMAP commands: lines, literals, limits. Rules:

1. Any chunking of the same bytes, with the same decisions by the caller, gives the same events.
2. At every point where what follows depends on the server, the framer *waits*: at a synchronizing
   literal, and after each command of `WAITS_AFTER`. What was sent ahead is kept, unread, until the caller
   decides: `accept` or `refuse` after `LiteralOffered`; `expect_line` or `resume` after such a command.
   `resume` is for the command that the framer waits for, not for those before it that came in the same octets.
3. A command that is refused is read to its end, non-synchronizing literals included, and gives one
   `Refused` or `Malformed`, so that both sides stay in step; if that takes too much: `Fatal`, and nothing after it.
4. What is held is bounded: by the line, literal and APPEND maxima, and before login by `held_max` in all.

RFC 3501 2.2, 4.3, 9; RFC 7888 (LITERAL+); RFC 3516 (`~{n}`).
"""

import re
from enum import Enum
from typing import Final

import attrs

from sora.core import limits

TAG_MAX: Final = 256
"""Octets of a tag; longer ones are malformed."""
WAITS_AFTER: Final = frozenset(
    (b"LOGIN", b"AUTHENTICATE", b"IDLE", b"STARTTLS", b"LOGOUT", b"COMPRESS", b"UNAUTHENTICATE")
)
"""Commands after which the meaning of the next octet depends on the server's answer."""


@attrs.define
class Command:
    """A whole command."""

    tag: bytes
    name: bytes
    """Upper-cased, with UID in front if it was there: `UID FETCH`."""
    parts: tuple[bytes, ...]
    """Arguments: text, literal, text, literal, ..., text. The text before a literal ends without its
    `{n}`, but with the `~` of a literal8."""


@attrs.define
class Line:
    """The raw line asked for by `expect_line`, without its end: DONE, or a SASL response."""

    data: bytes


@attrs.define
class LiteralOffered:
    """The client waits to be told whether it may send a literal of `size` octets.

    The answer is `+ OK` and `Framer.accept`, or a tagged NO or BAD and `Framer.refuse`.
    """

    tag: bytes
    name: bytes
    size: int


class Refusal(Enum):
    """Why a command was not taken."""

    LINE = "command line too long"
    LITERAL = "literal too large"
    LITERALS = "literals too large in sum"
    COUNT = "too many literals"
    MESSAGE = "message too large"
    UNASKED = "a literal of this size must be announced first"


@attrs.define
class Refused:
    """A command exceeded a limit; it was read to its end.

    `MESSAGE` is answered NO [TOOBIG], `UNASKED` BAD, with TOOBIG for a message (RFC 7888 5).
    """

    tag: bytes
    name: bytes
    reason: Refusal


@attrs.define
class Malformed:
    """A line that is no command; answered BAD. `tag` is `*` if none could be read."""

    tag: bytes
    reason: str


@attrs.define
class Fatal:
    """The connection cannot be kept in step: answer BYE and close. Nothing follows."""

    reason: str


Event = Command | Line | LiteralOffered | Refused | Malformed | Fatal

_TAG: Final = rb"[^\x00-\x20\x7f-\xff(){%%*\"\\+]{1,%d}" % TAG_MAX
_NAME: Final = rb"(?:[Uu][Ii][Dd] )?[A-Za-z][A-Za-z0-9-]*"
_WHOLE = re.compile(rb"(" + _TAG + rb") (" + _NAME + rb")(?: ([^\r\n]*[^}\r\n]))?\r\n")
"""The fast path: a command line with nothing unusual."""
_COMMAND = re.compile(rb"(" + _TAG + rb") (" + _NAME + rb")(?: (.*))?\Z", re.DOTALL)
_TAGGED = re.compile(rb"(" + _TAG + rb")(?: |\Z)")
_NAMED = re.compile(_TAG + rb" (" + _NAME + rb")(?: |\Z)")
_LITERAL = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_WORDS_BEFORE_MESSAGE: Final = {b"APPEND": 1, b"REPLACE": 2, b"UID REPLACE": 2}
"""How many words stand before a message at least: the mailbox, and what it replaces."""
_TAIL: Final = 64
"""Octets kept of the end of a line too long to keep, to see whether a literal follows."""
_HUGE: Final = 1 << 63
_DIGITS_MAX: Final = 19


class _Wait(Enum):
    NOTHING = 0
    LITERAL = 1
    ANSWER = 2


class Framer:
    """Turns what a client sends into events; see the rules above."""

    # One for each connection: slots take a fifth of what a dictionary takes.
    __slots__ = (
        "_ahead",
        "_append_max",
        "_authenticated",
        "_closed",
        "_count",
        "_data",
        "_drain_configured",
        "_drain_max",
        "_held_max",
        "_line_max",
        "_literal",
        "_literal_max",
        "_literals_max",
        "_messages",
        "_name",
        "_need",
        "_offered",
        "_partial",
        "_parts",
        "_position",
        "_raw",
        "_refusal",
        "_started",
        "_tag",
        "_taken",
        "_text",
        "_together_max",
        "_total",
        "_wait",
        "any_size_unasked",
    )

    def __init__(
        self,
        *,
        append_max: int = limits.MESSAGE_MAX,
        together_max: int = limits.SESSION_MEMORY,
        drain_max: int = limits.IMAP_DRAIN_MAX,
        held_max: int = limits.UNAUTHENTICATED_HELD_MAX,
        any_size_unasked: bool = True,
    ) -> None:
        """Begin before login; `any_size_unasked`: LITERAL+ rather than LITERAL- (RFC 7888 5).

        `append_max` is for one message, `together_max` for all of one APPEND (RFC 3502), where it is more.
        """
        self.any_size_unasked = any_size_unasked
        self._append_max = append_max
        self._together_max = max(append_max, together_max)
        self._drain_configured = drain_max
        self._held_max = held_max
        self._closed = False
        self._wait = _Wait.NOTHING
        self._raw = False
        self._data = b""
        self._position = 0
        self._ahead = bytearray()
        self._partial = bytearray()
        self._tag = self._name = b""
        self._begin()
        self.authenticated = False

    @property
    def authenticated(self) -> bool:
        """Whether the client has signed in, which raises the limits; the caller sets it before `resume`."""
        return self._authenticated

    @authenticated.setter
    def authenticated(self, value: bool) -> None:
        self._authenticated = value
        self._line_max = limits.IMAP_LINE_MAX if value else limits.IMAP_LINE_MAX_UNAUTHENTICATED
        self._literal_max = limits.IMAP_LITERAL_MAX if value else limits.IMAP_LITERAL_MAX_UNAUTHENTICATED
        self._literals_max = limits.IMAP_LITERALS_MAX if value else self._held_max // 2
        self._drain_max = self._drain_configured if value else self._held_max

    @property
    def waiting(self) -> bool:
        """Whether a decision of the caller is awaited."""
        return self._wait is not _Wait.NOTHING

    @property
    def ahead(self) -> int:
        """Octets sent ahead of the decision that is awaited; after STARTTLS there must be none."""
        return len(self._data) - self._position + len(self._ahead)

    @property
    def held(self) -> int:
        """Octets held now, for a command that is not complete or ahead of a decision."""
        return self.ahead + len(self._partial) + len(self._literal) + sum(map(len, self._parts))

    def feed(self, data: bytes) -> list[Event]:
        """Take received octets and return what they complete."""
        if self._closed:
            return []
        if self._wait is _Wait.NOTHING:
            return self._run(data, 0)
        self._ahead += data
        events: list[Event] = []
        if not self._authenticated and self.ahead > self._held_max:
            self._fail("too much was sent ahead of the answer", events)
        return events

    def accept(self) -> list[Event]:
        """Take the literal that was offered; returns what the octets sent ahead complete."""
        if self._wait is not _Wait.LITERAL:
            raise RuntimeError("no literal was offered")
        self._start_literal(self._offered)
        return self._continue()

    def refuse(self) -> list[Event]:
        """Forget the command whose literal was offered (the caller answers it); returns as `accept`."""
        if self._wait is not _Wait.LITERAL:
            raise RuntimeError("no literal was offered")
        self._begin()
        return self._continue()

    def expect_line(self) -> list[Event]:
        """Deliver the next line as `Line`, and wait again after it; returns as `accept`.

        A line over the limit comes as `Refused` instead.
        """
        if self._wait is not _Wait.ANSWER:
            raise RuntimeError("the framer does not wait")
        self._raw = True
        return self._continue()

    def resume(self) -> list[Event]:
        """Go on with commands; does nothing unless the framer waits after a command or a `Line`."""
        if self._wait is not _Wait.ANSWER:
            return []
        return self._continue()

    def _begin(self) -> None:
        """Forget the command in progress."""
        self._started = False
        self._parts: list[bytes] = []
        self._refusal: Refused | Malformed | None = None
        self._text = self._taken = self._messages = self._total = 0
        self._count = self._need = self._offered = 0
        self._literal = bytearray()

    def _continue(self) -> list[Event]:
        self._wait = _Wait.NOTHING
        data, position = self._data, self._position
        if self._ahead:
            data, position = data[position:] + bytes(self._ahead), 0
            self._ahead.clear()
        self._data, self._position = b"", 0
        return [] if self._closed else self._run(data, position)

    def _run(self, data: bytes, position: int) -> list[Event]:
        events: list[Event] = []
        end = len(data)
        while position < end:
            if self._need:
                position = self._take(data, position)
                continue
            if not (self._started or self._raw or self._partial or self._refusal):
                match = _WHOLE.match(data, position)
                if match is not None and match.end() - position <= self._line_max:
                    tag, name, text = match.groups(b"")
                    position = match.end()
                    name = name.upper()
                    events.append(Command(tag, name, (text,)))
                    if name in WAITS_AFTER:
                        self._tag, self._name, self._wait = tag, name, _Wait.ANSWER
                        break
                    continue
            newline = data.find(b"\n", position)
            if newline < 0:
                self._keep(data[position:], events)
                return events
            line = data[position:newline]
            position = newline + 1
            if self._partial:
                line = bytes(self._partial) + line
                self._partial.clear()
            self._end_line(line, events)
            if self._wait is not _Wait.NOTHING or self._closed:
                break
        if self._wait is not _Wait.NOTHING:
            self._data, self._position = data, position
        return events

    def _take(self, data: bytes, position: int) -> int:
        """Take or drop octets of the literal in progress; returns the position after them."""
        stop = min(position + self._need, len(data))
        self._need -= stop - position
        if self._refusal is None:
            if not self._need and not self._literal:
                self._parts.append(data[position:stop])
            else:
                self._literal += data[position:stop]
                if not self._need:
                    self._parts.append(bytes(self._literal))
                    self._literal = bytearray()
        return stop

    def _start_literal(self, size: int) -> None:
        self._need = size
        if not size and self._refusal is None:
            self._parts.append(b"")

    def _keep(self, data: bytes, events: list[Event]) -> None:
        """Keep the beginning of a line whose end has not come, or only its tail if it is refused."""
        self._partial += data
        if self._refusal is None and self._text + len(self._partial) > self._line_max:
            self._refuse_line(self._partial)
        if self._refusal is not None:
            excess = len(self._partial) - _TAIL
            if excess > 0:
                del self._partial[:excess]
                self._total += excess
            if self._total + len(self._partial) > self._drain_max:
                self._fail("command too long", events)

    def _refuse_line(self, line: bytes | bytearray) -> None:
        if not (self._started or self._raw):
            start = bytes(line[: self._line_max])
            tagged = _TAGGED.match(start)
            named = _NAMED.match(start)
            self._tag = tagged[1] if tagged else b"*"
            self._name = named[1].upper() if named else b""
        self._refusal = Refused(self._tag, self._name, Refusal.LINE)

    def _end_line(self, line: bytes, events: list[Event]) -> None:
        """Take a whole line (or the tail of a refused one), without its LF."""
        if self._refusal is None and self._text + len(line) > self._line_max:
            self._refuse_line(line)
        self._total += len(line)
        if self._refusal is not None:
            if self._total > self._drain_max:
                self._fail("command too long", events)
                return
            line = line[-_TAIL:]
        self._text += len(line)
        if line.endswith(b"\r"):
            line = line[:-1]
        if self._raw:
            self._end_raw(line, events)
            return
        literal = _LITERAL.match(line, line.rfind(b"{")) if line.endswith(b"}") and b"{" in line else None
        if self._refusal is None:
            self._take_text(line if literal is None else line[: literal.start()], literal is not None)
        if literal is not None:
            self._meet_literal(literal, events)
        elif self._refusal is not None:
            self._finish(self._refusal, events)
        else:
            self._finish(Command(self._tag, self._name, tuple(self._parts)), events)

    def _end_raw(self, line: bytes, events: list[Event]) -> None:
        self._raw = False
        events.append(self._refusal or Line(line))
        self._begin()
        self._wait = _Wait.ANSWER

    def _take_text(self, text: bytes, before_literal: bool) -> None:
        if self._started:
            self._parts.append(text)
            return
        match = _COMMAND.match(text)
        if match is None or (before_literal and match[3] is None):
            tagged = _TAGGED.match(text)
            reason = "a command is a tag, a space and a name" if text else "empty line"
            self._refusal = Malformed(tagged[1] if tagged else b"*", reason)
            return
        self._started = True
        self._tag = match[1]
        self._name = match[2].upper()
        self._parts.append(match[3] or b"")

    def _meet_literal(self, match: re.Match[bytes], events: list[Event]) -> None:
        digits, plus = match.groups()
        size = int(digits) if len(digits) < _DIGITS_MAX else _HUGE
        if plus and size > limits.IMAP_LITERAL_MINUS_MAX and not self.any_size_unasked:
            self._refusal = self._refusal or Refused(self._tag, self._name, Refusal.UNASKED)
        if self._refusal is None and (reason := self._too_much(size)) is not None:
            self._refusal = Refused(self._tag, self._name, reason)
            self._parts = []
        if not plus:
            if self._refusal is not None:
                self._finish(self._refusal, events)
                return
            self._offered = size
            self._wait = _Wait.LITERAL
            events.append(LiteralOffered(self._tag, self._name, size))
            return
        self._total += size
        if self._refusal is not None and self._total > self._drain_max:
            self._fail("literal too large", events)
            return
        self._start_literal(size)

    def _too_much(self, size: int) -> Refusal | None:
        self._count += 1
        if self._count > limits.IMAP_LITERAL_COUNT_MAX:
            return Refusal.COUNT
        if self._authenticated and self._is_message():
            self._messages += size
            return Refusal.MESSAGE if size > self._append_max or self._messages > self._together_max else None
        self._taken += size
        if size > self._literal_max:
            return Refusal.LITERAL
        return Refusal.LITERALS if self._taken > self._literals_max else None

    def _is_message(self) -> bool:
        """Tell whether the literal that begins is (part of) a message: all words before it have been said."""
        words = _WORDS_BEFORE_MESSAGE.get(self._name)
        return words is not None and (self._count > 1 or len(self._parts[0].strip(b" ~").split()) >= words)

    def _finish(self, event: Command | Refused | Malformed, events: list[Event]) -> None:
        events.append(event)
        self._begin()
        if type(event) is Command and event.name in WAITS_AFTER:
            self._wait = _Wait.ANSWER

    def _fail(self, reason: str, events: list[Event]) -> None:
        self._begin()
        self._closed = True
        self._wait = _Wait.NOTHING
        self._data, self._position = b"", 0
        self._ahead.clear()
        self._partial.clear()
        events.append(Fatal(reason))
