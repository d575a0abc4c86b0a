"""The only place that reads the words of a command's arguments: atoms, strings, numbers, sets, lists, dates.

RFC 3501 9. A cursor moves over the parts of a `framer.Command` once, never backwards, so that reading
costs in proportion to the octets; nothing recurses.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from sora.core import flags, limits, uidset
from sora.core.errors import LimitReached, MailboxNameInvalid, SoraError
from sora.core.ids import UID_MAX
from sora.core.uidset import UidSet
from sora.imap import mailbox_name

MODSEQ_MAX: Final = 2**63 - 1
"""RFC 7162 7."""

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_MAILBOX = re.compile(rb"[^\x00-\x20\x7f(){%*\"\\]+")
_PATTERN = re.compile(rb"[^\x00-\x20\x7f(){\"\\]+")
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPED = re.compile(rb"\\(.)")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SET = re.compile(rb"[0-9*:,]+")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ITEM_NAME = re.compile(rb"[A-Za-z0-9.-]+")
_SPACES = re.compile(rb" +")
_DATE = re.compile(rb"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\Z")
_DATE_TIME = re.compile(
    rb"([ 0-9]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})\Z"
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), start=1
    )
}


class BadSyntax(SoraError):
    """The arguments are not what the command's grammar allows; answered BAD."""


class Cursor:
    """A position in a command's arguments; every reading method raises `BadSyntax`."""

    __slots__ = ("_index", "_parts", "_position", "_text", "one_charset", "utf8")

    def __init__(self, parts: tuple[bytes, ...], *, utf8: bool = False, one_charset: bool = False) -> None:
        """Begin at the first octet; `utf8`: the client has enabled UTF-8 (RFC 6855 3, RFC 9051 5.1)."""
        self.utf8 = utf8
        self.one_charset = one_charset
        """Whether SEARCH may name no charset (RFC 6855 3)."""
        self._parts = parts
        self._index = 0
        self._text = parts[0]
        self._position = 0

    # ------------------------------------------------------------ looking

    def peek(self) -> bytes:
        """Return the next octet, `{` where a literal is, nothing at the end."""
        if self._position < len(self._text):
            return self._text[self._position : self._position + 1]
        return b"{" if self._index + 1 < len(self._parts) else b""

    @property
    def at_end(self) -> bool:
        """Whether nothing but spaces is left."""
        return self._index + 1 == len(self._parts) and not self._text[self._position :].strip(b" ")

    def accept(self, octets: bytes) -> bool:
        """Skip the octets, in any case of letters, if they come next."""
        end = self._position + len(octets)
        if self._text[self._position : end].upper() != octets:
            return False
        self._position = end
        return True

    def expect(self, octets: bytes) -> None:
        """Skip the octets, which must come next."""
        if not self.accept(octets):
            raise BadSyntax(f"expected {octets.decode('ascii')} {self._where()}")

    def space(self) -> None:
        """Skip a space, or several, which some clients send."""
        self._match(_SPACES, "a space")

    def abandon(self) -> None:
        """Leave all that is left unread: the command is refused for a reason of its own."""
        self._index = len(self._parts) - 1
        self._text = self._parts[-1]
        self._position = len(self._text)

    def finish(self) -> None:
        """Require that nothing is left but spaces."""
        if not self.at_end:
            raise BadSyntax(f"unexpected text {self._where()}")

    # ------------------------------------------------------------ words

    def atom(self, what: str = "an atom") -> bytes:
        """Read an atom."""
        return self._match(_ATOM, what)

    def item_name(self) -> bytes:
        """Read the name of a FETCH item, up to its `[` if it has one; returned upper-cased."""
        return self._match(_ITEM_NAME, "a FETCH item").upper()

    def section_word(self) -> bytes:
        """Read the word of a section: TEXT, HEADER.FIELDS; returned upper-cased."""
        return self._match(_ITEM_NAME, "a section").upper()

    def take_rest(self, octets_max: int) -> bytes | None:
        """Read all that is left; None, without reading, if it is longer or has literals."""
        if self._index + 1 < len(self._parts) or len(self._text) - self._position > octets_max:
            return None
        rest = self._text[self._position :]
        self._position = len(self._text)
        return rest

    def keyword(self, what: str) -> bytes:
        """Read an atom that is a word of the protocol; returned upper-cased."""
        return self._match(_ATOM, what).upper()

    def astring(self, what: str = "a string") -> bytes:
        """Read an atom, a quoted string or a literal."""
        return self.string(what) if self.peek() in (b'"', b"{") else self._match(_ASTRING, what)

    def string(self, what: str = "a string") -> bytes:
        """Read a quoted string or a literal."""
        first = self.peek()
        if first == b"{":
            return self.literal()
        if first != b'"':
            raise BadSyntax(f"expected {what} {self._where()}")
        match = _QUOTED.match(self._text, self._position)
        if match is None:
            raise BadSyntax(f"malformed quoted string {self._where()}")
        self._position = match.end()
        text = match[1]
        return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text

    def nstring(self, what: str = "a string or NIL") -> bytes | None:
        """Read a string, or NIL as None."""
        if self.peek() not in (b'"', b"{"):
            if self.keyword(what) != b"NIL":
                raise BadSyntax(f"expected {what}")
            return None
        return self.string(what)

    def literal(self) -> bytes:
        """Read a literal."""
        if self._position < len(self._text) or self._index + 2 >= len(self._parts):
            raise BadSyntax(f"expected a literal {self._where()}")
        data = self._parts[self._index + 1]
        self._index += 2
        self._text = self._parts[self._index]
        self._position = 0
        return data

    def literal8(self) -> tuple[bytes, bool]:
        """Read a literal and whether it is a literal8, `~{n}` (RFC 3516)."""
        binary = self.accept(b"~")
        data = self.literal()
        if not binary and b"\0" in data:
            raise BadSyntax("a NUL is only allowed in a literal8")
        return data, binary

    def text(self, what: str) -> str:
        """Read an astring of UTF-8."""
        return utf8(self.astring(what), what)

    # ------------------------------------------------------------ numbers and sets

    def number(self, maximum: int = UID_MAX, *, minimum: int = 0) -> int:
        """Read a number within bounds."""
        value = int(self._match(_NUMBER, "a number"))
        if not minimum <= value <= maximum:
            raise BadSyntax(f"the number is not between {minimum} and {maximum}")
        return value

    def sequence_set(self) -> UidSet:
        """Read a sequence set, or `$` (RFC 5182); raises `LimitReached` when it has too many ranges."""
        if self.accept(b"$"):
            return uidset.SAVED
        return to_set(self._match(_SET, "a message set"))

    # ------------------------------------------------------------ lists

    def members(self, what: str, items_max: int = limits.IMAP_LIST_ITEMS_MAX) -> Iterator[None]:
        """Iterate over a parenthesized list: the caller reads one member at each turn, or none if it is empty.

        Raises `LimitReached` when there are more than `items_max`.
        """
        if not self.accept(b"("):
            raise BadSyntax(f"expected {what} in parentheses {self._where()}")
        if self.accept(b")"):
            return
        for _ in range(items_max):
            yield
            if self.accept(b")"):
                return
            self.space()
        raise LimitReached(f"more than {items_max} members in one list")

    # ------------------------------------------------------------ mailboxes, flags, dates

    def mailbox(self) -> str:
        """Read a mailbox name, canonical; raises `MailboxNameInvalid` too."""
        return self.named()[0]

    def named(self) -> tuple[str, str | None]:
        """Read a mailbox name, and how it was written if that is not its canonical form; raises as `mailbox`."""
        word = self._name(_MAILBOX, "a mailbox name")
        name = mailbox_name.canonical(mailbox_name.decode(word, utf8=self.utf8))
        if word.isascii() and b"&" not in word and name[:5] != mailbox_name.INBOX:
            return name, None
        written = mailbox_name.as_written(word, utf8=self.utf8)
        return name, None if written == name else written

    def reference(self) -> str | None:
        """Read LIST's reference, which need not be canonical, as `pattern` does."""
        return self._bounded(_MAILBOX, "a reference")

    def pattern(self) -> str | None:
        """Read a LIST pattern as text, None if it can match no name; raises `LimitReached`."""
        return self._bounded(_PATTERN, "a mailbox pattern")

    def flag_list(self) -> tuple[int, tuple[str, ...]]:
        """Read flags in parentheses; \\Recent is left out, as only the server sets it."""
        return to_flags([self._flag() for _ in self.members("flags")])

    def flags(self) -> tuple[int, tuple[str, ...]]:
        """Read flags with or without parentheses, to the end of the arguments (STORE)."""
        if self.peek() == b"(":
            return self.flag_list()
        words = [self._flag()]
        while not self.at_end:
            if len(words) == limits.IMAP_LIST_ITEMS_MAX:
                raise LimitReached(f"more than {limits.IMAP_LIST_ITEMS_MAX} flags")
            self.space()
            words.append(self._flag())
        return to_flags(words)

    def date(self) -> date:
        """Read a date: `1-Feb-2004`, quoted or not."""
        word = self.astring("a date")
        match = _DATE.match(word)
        if match is None:
            raise BadSyntax("a date is written 1-Feb-2004")
        try:
            return date(int(match[3]), _month(match[2]), int(match[1]))
        except ValueError:
            raise BadSyntax("there is no such date") from None

    def date_time(self) -> datetime:
        """Read a quoted date-time with its zone (RFC 3501 9, date-time)."""
        match = _DATE_TIME.match(self.string("a date and time"))
        if match is None:
            raise BadSyntax('a date and time is written "01-Feb-2004 10:20:30 +0100"')
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
        try:
            when = datetime(
                int(year),
                _month(month),
                int(day),
                int(hour),
                int(minute),
                min(int(second), 59),  # a leap second is the last second we have
                tzinfo=timezone(-offset if sign == b"-" else offset),
            )
            when.astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadSyntax("there is no such date and time") from None
        return when

    # ------------------------------------------------------------ inside

    def _match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        match = pattern.match(self._text, self._position)
        if match is None:
            raise BadSyntax(f"expected {what} {self._where()}")
        self._position = match.end()
        return match[0]

    def _name(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """Read a name; octets that are no UTF-8 are a mistake of syntax, not a name (RFC 6855 3, RFC 9051 4.3.1)."""
        word = self.string() if self.peek() in (b'"', b"{") else self._match(pattern, what)
        if not word.isascii():
            utf8(word, what)
        return word

    def _bounded(self, pattern: re.Pattern[bytes], what: str) -> str | None:
        word = self._name(pattern, what)
        if len(word) > limits.IMAP_PATTERN_MAX:
            raise LimitReached(f"{what} is longer than {limits.IMAP_PATTERN_MAX} octets")
        try:
            return mailbox_name.decode(word, utf8=self.utf8)
        except MailboxNameInvalid:
            return None

    def _flag(self) -> str:
        return self._match(_FLAG, "a flag").decode("ascii")

    def _where(self) -> str:
        if not self.peek():
            return "at the end"
        return f"at octet {sum(map(len, self._parts[: self._index])) + self._position + 1}"


def utf8(data: bytes, what: str) -> str:
    """Decode UTF-8 without NULs, or raise `BadSyntax`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadSyntax(f"{what} is not UTF-8") from None
    if "\0" in text:
        raise BadSyntax(f"{what} contains a NUL")
    return text


def to_set(word: bytes) -> UidSet:
    """Parse a sequence set; raises `BadSyntax`, `LimitReached`."""
    if word.count(b",") >= limits.IMAP_SET_RANGES_MAX:
        raise LimitReached(f"more than {limits.IMAP_SET_RANGES_MAX} ranges in one message set")
    try:
        return uidset.parse(word, limits.IMAP_SET_RANGES_MAX)
    except ValueError as error:
        raise BadSyntax(str(error)) from None


def to_flags(words: list[str]) -> tuple[int, tuple[str, ...]]:
    """Split flags into bits and keywords; raises `BadSyntax`, `LimitReached`."""
    try:
        bits, keywords = flags.split(word for word in words if word.lower() != "\\recent")
    except ValueError as error:
        raise BadSyntax(str(error)) from None
    if len(keywords) > limits.KEYWORDS_PER_MESSAGE_MAX:
        raise LimitReached(f"more than {limits.KEYWORDS_PER_MESSAGE_MAX} keywords")
    return bits, keywords


def _month(name: bytes) -> int:
    return _MONTHS.get(name.lower(), 0)
