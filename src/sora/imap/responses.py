"""The only place that writes what the server says: every IMAP response as octets, ready to be sent.

Whatever text comes in, no answer can be split or malformed by it (cases.md T7): human text is reduced to
printable ASCII, strings are quoted or literal, numbers are numbers. RFC 3501 7.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final, cast

from sora.core import flags as system_flags
from sora.core import limits
from sora.core.uidset import compact
from sora.imap import mailbox_name

HUMAN_TEXT_MAX: Final = 500
"""Characters of human-readable text in one response."""
QUOTED_MAX: Final = 1_000
"""Octets of a string that is still quoted; longer ones are literals."""

_MONTHS: Final = (b"", b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_SAFE = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*\Z")
_QUOTABLE = re.compile(rb"[\x20-\x7e]*\Z")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+\Z")

# ------------------------------------------------------------ strings


def human(text: str) -> bytes:
    """Reduce text to what a response line may carry: printable ASCII, not empty, not starting with `[`."""
    cleaned = _UNPRINTABLE.sub("?", text[:HUMAN_TEXT_MAX]).lstrip("[ ")
    return cleaned.encode("ascii") or b"-"


def string(data: bytes) -> bytes:
    """Write octets as a quoted string if they are short printable ASCII, else as a literal."""
    if len(data) <= QUOTED_MAX:
        if _SAFE.match(data):
            return b'"%b"' % data
        if _QUOTABLE.match(data):
            return b'"%b"' % data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return literal(data)


def nstring(data: bytes | None) -> bytes:
    """Write a string, or NIL for None."""
    return b"NIL" if data is None else string(data)


def astring(data: bytes) -> bytes:
    """Write an atom if the octets are one, else a string; never the atom NIL."""
    if _ATOM.match(data) and data.upper() != b"NIL":
        return data
    return string(data)


def literal(data: bytes) -> bytes:
    """Write octets as a literal."""
    return b"{%d}\r\n%b" % (len(data), data)


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """Write a mailbox name, quoted: modified UTF-7, or UTF-8 for whoever enabled it (RFC 6855 3, RFC 9051 5.1)."""
    return utf8_string(name) if utf8 else string(mailbox_name.encode(name))


def utf8_string(text: str) -> bytes:
    """Write text as a quoted string of UTF-8, or as a literal if it is long or has line ends (RFC 6855 3)."""
    data = text.encode("utf-8", "replace")
    if len(data) <= QUOTED_MAX and not _CONTROLS.search(data):
        return b'"%b"' % data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return literal(data)


def flag_text(bits: int, keywords: Iterable[str] = (), *, recent: bool = False) -> bytes:
    """Write flags as they stand between parentheses; what is no keyword is left out."""
    if not keywords:
        return _FLAGS[bits & system_flags.SYSTEM_MASK | (_RECENT if recent else 0)]
    words = [word.encode("ascii") for word in keywords if system_flags.is_keyword(word)]
    system = _FLAGS[bits & system_flags.SYSTEM_MASK | (_RECENT if recent else 0)]
    return b" ".join([system, *words] if system else words)


_RECENT: Final = system_flags.SYSTEM_MASK + 1
_FLAGS: Final = [
    " ".join(filter(None, (system_flags.join(bits), "\\Recent" if bits & _RECENT else ""))).encode("ascii")
    for bits in range(2 * _RECENT)
]


def internal_date(when: datetime) -> bytes:
    """Write a quoted date-time (RFC 3501 9); a time without zone is UTC."""
    if when.tzinfo is UTC:
        # As all stores give them; it is written once for each message of a listing.
        return b'"%02d-%b-%04d %02d:%02d:%02d +0000"' % (
            when.day,
            _MONTHS[when.month],
            when.year,
            when.hour,
            when.minute,
            when.second,
        )
    offset = when.utcoffset()
    if offset is None:
        when, minutes = when.replace(tzinfo=UTC), 0
    else:
        minutes = int(offset.total_seconds()) // 60
    sign = b"-" if minutes < 0 else b"+"
    hours, minutes = divmod(abs(minutes), 60)
    return b'"%02d-%b-%04d %02d:%02d:%02d %b%02d%02d"' % (
        when.day,
        _MONTHS[when.month],
        when.year,
        when.hour,
        when.minute,
        when.second,
        sign,
        hours,
        minutes,
    )


_MINUTES: Final = [b"%02d:%02d" % divmod(minute, 60) for minute in range(1440)]
_DAY_0: Final = date(1970, 1, 1).toordinal()


def internal_dates(moments: Iterable[int]) -> list[bytes]:
    """Write date-times in UTC, given in seconds since 1970, as `internal_date` does."""
    days = _Days()
    return [b'"%b %b:%02d +0000"' % (days[m // 86_400], _MINUTES[m % 86_400 // 60], m % 60) for m in moments]


class _Days(dict[int, bytes]):
    """Dates by days since 1970, each written once."""

    def __missing__(self, day: int) -> bytes:
        when = date.fromordinal(_DAY_0 + day)
        text = self[day] = b"%02d-%b-%04d" % (when.day, _MONTHS[when.month], when.year)
        return text


# ------------------------------------------------------------ status responses


def status_response(tag: bytes, condition: bytes, text: str, *, code: bytes = b"") -> bytes:
    """Write OK, NO, BAD, BYE or PREAUTH with an optional response code (without its brackets)."""
    if code:
        return b"%b %b [%b] %b\r\n" % (tag, condition, code, human(text))
    return b"%b %b %b\r\n" % (tag, condition, human(text))


def ok(tag: bytes, text: str = "done", *, code: bytes = b"") -> bytes:
    """Write a tagged OK."""
    return status_response(tag, b"OK", text, code=code)


def no(tag: bytes, text: str, *, code: bytes = b"") -> bytes:
    """Write a tagged NO."""
    return status_response(tag, b"NO", text, code=code)


def bad(tag: bytes, text: str, *, code: bytes = b"") -> bytes:
    """Write a tagged BAD; `tag` may be `*`."""
    return status_response(tag, b"BAD", text, code=code)


def untagged_ok(text: str, *, code: bytes = b"") -> bytes:
    """Write an untagged OK."""
    return status_response(b"*", b"OK", text, code=code)


def untagged_no(text: str, *, code: bytes = b"") -> bytes:
    """Write an untagged NO (a warning)."""
    return status_response(b"*", b"NO", text, code=code)


def bye(text: str, *, code: bytes = b"") -> bytes:
    """Write BYE."""
    return status_response(b"*", b"BYE", text, code=code)


def greeting(capabilities: bytes, text: str) -> bytes:
    """Write the greeting with the capability list in its code."""
    return status_response(b"*", b"OK", text, code=b"CAPABILITY " + capabilities)


def continuation(text: str = "OK") -> bytes:
    """Ask for more: a literal, or the lines of IDLE."""
    return b"+ %b\r\n" % human(text)


def challenge(data: bytes) -> bytes:
    """Send a SASL challenge, already base64 (RFC 3501 6.2.2)."""
    return b"+ %b\r\n" % data


# ------------------------------------------------------------ untagged data


def capability(capabilities: bytes) -> bytes:
    """Write CAPABILITY; `capabilities` is the list of `imap/states`."""
    return b"* CAPABILITY %b\r\n" % capabilities


def enabled(names: Iterable[str]) -> bytes:
    """Write ENABLED (RFC 5161), also when nothing was."""
    return b" ".join([b"* ENABLED", *(name.encode("ascii") for name in names)]) + b"\r\n"


def identification(fields: Sequence[tuple[str, str | None]] | None) -> bytes:
    """Write ID (RFC 2971); None is NIL."""
    if not fields:
        return b"* ID NIL\r\n"
    pairs = (b"%b %b" % (_utf8(key), b"NIL" if value is None else _utf8(value)) for key, value in fields)
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def language(tags: Iterable[str]) -> bytes:
    """Write LANGUAGE (RFC 5255 3.3)."""
    return b"* LANGUAGE (%b)\r\n" % b" ".join(string(tag.encode("ascii")) for tag in tags)


def list_line(
    kind: bytes,
    attributes: Iterable[str],
    name: str,
    *,
    child_info: Iterable[bytes] = (),
    old_name: str | None = None,
    separator: bytes = b'"/"',
    utf8: bool = False,
) -> bytes:
    """Write one LIST, LSUB or XLIST answer; `child_info` names the options of CHILDINFO (RFC 5258 4).

    `old_name` is what the mailbox was called before (RFC 5465 5.4, RFC 9051 6.3.9.7).
    """
    info = b" ".join(b'"%b"' % option for option in child_info)
    items = [b'"CHILDINFO" (%b)' % info] if info else []
    if old_name is not None:
        items.append(b'"OLDNAME" (%b)' % mailbox(old_name, utf8=utf8))
    tail = b" (%b)" % b" ".join(items) if items else b""
    words = " ".join(attributes).encode("ascii")
    return b"* %b (%b) %b %b%b\r\n" % (kind, words, separator, mailbox(name, utf8=utf8), tail)


def status(name: str, items: Iterable[bytes], *, utf8: bool = False) -> bytes:
    """Write STATUS; items are words ready to be sent: `MESSAGES 3`."""
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8=utf8), b" ".join(items))


def exists(count: int) -> bytes:
    """Write EXISTS."""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """Write RECENT."""
    return b"* %d RECENT\r\n" % count


def expunges(numbers: Iterable[int]) -> bytes:
    """Write many EXPUNGE answers at once; the numbers are as they are when each is read."""
    return b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers])


def vanished(ranges: Sequence[tuple[int, int]], *, earlier: bool = False) -> bytes:
    """Write VANISHED of ascending ranges of UIDs; nothing if there are none (RFC 7162 3.2.10)."""
    if not ranges:
        return b""
    words = ",".join([str(low) if low == high else f"{low}:{high}" for low, high in ranges]).encode("ascii")
    return b"* VANISHED %b%b\r\n" % (b"(EARLIER) " if earlier else b"", words)


def highest_modseq(modseq: int) -> bytes:
    """Write the HIGHESTMODSEQ code (RFC 7162 3.1.2.1)."""
    return b"HIGHESTMODSEQ %d" % modseq


def flags(keywords: Iterable[str] = ()) -> bytes:
    """Write FLAGS: the system flags and the keywords in use in the mailbox."""
    return b"* FLAGS (%b)\r\n" % flag_text(system_flags.SYSTEM_MASK, keywords)


def permanent_flags(keywords: Collection[str] = (), *, settable: bool = True) -> bytes:
    """Write the PERMANENTFLAGS code; new keywords are allowed where flags can be set at all, and there is room."""
    if not settable:
        return untagged_ok("no permanent flags permitted", code=b"PERMANENTFLAGS ()")
    words = flag_text(system_flags.SYSTEM_MASK, keywords)
    return untagged_ok("flags permitted", code=b"PERMANENTFLAGS (%b%b)" % (words, new_keywords(keywords)))


def new_keywords(keywords: Collection[str]) -> bytes:
    """Write what PERMANENTFLAGS ends with where other keywords than these can be set (RFC 9051 7.1)."""
    return b" \\*" if len(keywords) < limits.KEYWORDS_MAX else b""


# ------------------------------------------------------------ response codes


def append_uid(uid_validity: int, uids: Sequence[int]) -> bytes:
    """Write the APPENDUID code (RFC 4315 3)."""
    return b"APPENDUID %d %b" % (uid_validity, compact(uids).encode("ascii"))


def copy_uid(uid_validity: int, source: str, target: str) -> bytes:
    """Write the COPYUID code (RFC 4315 3) of UID sets; member n of `source` became member n of `target`."""
    return b"COPYUID %d %b %b" % (uid_validity, source.encode("ascii"), target.encode("ascii"))


def in_progress(tag: bytes, done: int, goal: int) -> bytes:
    """Write the INPROGRESS code (RFC 9585 4.1); no goal is one that is not known."""
    if not goal:
        return b"INPROGRESS (%b NIL NIL)" % string(tag)
    return b"INPROGRESS (%b %d %d)" % (string(tag), min(done, goal), goal)


def modified(numbers: Sequence[int]) -> bytes:
    """Write the MODIFIED code (RFC 7162 3.1.3)."""
    return b"MODIFIED " + compact(numbers).encode("ascii")


def bad_charset(charsets: Iterable[bytes]) -> bytes:
    """Write the BADCHARSET code with the charsets that are known."""
    return b"BADCHARSET (%b)" % b" ".join(map(astring, charsets))


# ------------------------------------------------------------ FETCH


FETCH: Final = b"FETCH"
UIDFETCH: Final = b"UIDFETCH"
"""Instead of FETCH where messages are named by UIDs alone (RFC 9586)."""


def fetch(number: int, pieces: Iterable[bytes], *, word: bytes = FETCH) -> bytes:
    """Write one FETCH answer of ready pieces (`piece_*`); after UIDFETCH's `word` the number is a UID."""
    return b"* %d %b (%b)\r\n" % (number, word, b" ".join(pieces))


def fetch_lines(
    shape: Sequence[bytes], columns: Sequence[Sequence[bytes] | Sequence[int]], *, word: bytes = FETCH
) -> bytes:
    """Write many FETCH answers of one shape (`SHAPE_*`); the first column is the sequence numbers, or UIDs.

    What is short goes through a format, line by line; long texts are only joined.
    """
    line, values = b"* %%d %b (" % word, [columns[0]]
    parts: list[Sequence[bytes]] = []
    for number, (one, column) in enumerate(zip(shape, columns[1:], strict=True)):
        line += b" " + one if number else one
        if one in _LONG:
            parts += [_formatted(line[:-2], values, len(columns[0])), cast("Sequence[bytes]", column)]
            line, values = b"", []
        else:
            values.append(column)
    parts.append(_formatted(line + b")\r\n", values, len(columns[0])))
    pieces = [b""] * (len(parts) * len(columns[0]))
    for number, part in enumerate(parts):
        pieces[number :: len(parts)] = part
    return b"".join(pieces)


def _formatted(line: bytes, columns: list[Sequence[bytes] | Sequence[int]], count: int) -> list[bytes]:
    return [line % row for row in zip(*columns, strict=True)] if columns else [line] * count


SHAPE_UID: Final = b"UID %d"
SHAPE_FLAGS: Final = b"FLAGS (%b)"
SHAPE_MODSEQ: Final = b"MODSEQ (%d)"
SHAPE_INTERNAL_DATE: Final = b"INTERNALDATE %b"
SHAPE_SIZE: Final = b"RFC822.SIZE %d"
SHAPE_ENVELOPE: Final = b"ENVELOPE %b"
SHAPE_BODY: Final = b"BODY %b"
SHAPE_STRUCTURE: Final = b"BODYSTRUCTURE %b"
SHAPE_SAVE_DATE: Final = b"SAVEDATE %b"
SHAPE_PREVIEW: Final = b"PREVIEW %b"
_LONG: Final = frozenset((SHAPE_ENVELOPE, SHAPE_BODY, SHAPE_STRUCTURE, SHAPE_PREVIEW))


def piece_uid(uid: int) -> bytes:
    """Write UID."""
    return b"UID %d" % uid


def piece_flags(words: bytes) -> bytes:
    """Write FLAGS; `words` comes from `flag_text`."""
    return b"FLAGS (%b)" % words


def piece_modseq(modseq: int) -> bytes:
    """Write MODSEQ (RFC 7162 3.1.4)."""
    return b"MODSEQ (%d)" % modseq


def piece_internal_date(when: datetime) -> bytes:
    """Write INTERNALDATE."""
    return b"INTERNALDATE " + internal_date(when)


def piece_size(octets: int) -> bytes:
    """Write RFC822.SIZE."""
    return b"RFC822.SIZE %d" % octets


def piece_raw(name: bytes, value: bytes) -> bytes:
    """Write an item whose value is wire text already: ENVELOPE, BODY, BODYSTRUCTURE."""
    return b"%b %b" % (name, value)


def preview(text: bytes) -> bytes:
    """Write the text of PREVIEW, which is UTF-8 (RFC 8970 3.3)."""
    return string(text.replace(b"\0", b""))


def piece_section(name: bytes, data: bytes | None) -> bytes:
    """Write a section as a literal (NIL for None); `name` comes from the fetch item."""
    return b"%b NIL" % name if data is None else b"%b {%d}\r\n%b" % (name, len(data), data)


def piece_binary(name: bytes, data: bytes | None) -> bytes:
    """Write a BINARY section, as a literal8 if it has NULs (RFC 3516 4.2)."""
    if data is None:
        return b"%b NIL" % name
    tilde = b"~" if b"\0" in data else b""
    return b"%b %b{%d}\r\n%b" % (name, tilde, len(data), data)


def piece_number(name: bytes, number: int) -> bytes:
    """Write an item that is a number: BINARY.SIZE."""
    return b"%b %d" % (name, number)


def _utf8(text: str) -> bytes:
    return string(text.encode("utf-8", "replace"))
