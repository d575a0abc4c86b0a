"""Reads what an IMAP server says by the formal syntax of the RFCs: the only place that knows it from the client's side.

RFC 9051 9 with RFC 3501 9 (SEARCH, RECENT, LSUB), RFC 2971, 4314, 4466, 5161, 5255, 5256, 5267, 5464, 5465, 5466, 6203,
7162, 7377, 7889, 8474, 8514, 8970, 9208, 9394, 9585, 9586. Nothing of sora is used here.
"""

import re
from collections.abc import Callable
from typing import Final

_ATOM: Final = rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+"
_ASTRING: Final = rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+"
_TAG: Final = rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+"
_QUOTED: Final = rb'"(?:[^"\\\r\n\x00]|\\["\\])*"'
_FLAG: Final = rb"(?:\\\*|\\?" + _ATOM + rb")"
_SET: Final = rb"[1-9]\d*(?::[1-9]\d*)?(?:,[1-9]\d*(?::[1-9]\d*)?)*"
_OBJECT: Final = rb"\([A-Za-z0-9_-]{1,255}\)"
_DATE_TIME: Final = rb'"[ \d]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}"'
_CODES: Final = {
    b"CAPABILITY": rb"(?: " + _ATOM + rb")+",
    b"PERMANENTFLAGS": rb" \((?:" + _FLAG + rb"(?: " + _FLAG + rb")*)?\)",
    b"APPENDUID": rb" [1-9]\d* " + _SET,
    b"COPYUID": rb" [1-9]\d* " + _SET + rb" " + _SET,
    b"MODIFIED": rb" " + _SET,
    b"BADCHARSET": rb" \([^)]+\)",
    b"BADEVENT": rb" \([A-Za-z]+(?: [A-Za-z]+)*\)",
    b"BADURL": rb" [^\]\r\n]+",
    b"MAILBOXID": rb" " + _OBJECT,
    b"METADATA": rb" (?:LONGENTRIES \d+|MAXSIZE \d+|TOOMANY|NOPRIVATE)",
    b"INPROGRESS": rb"(?: \((?:NIL|" + _QUOTED + rb") (?:\d+|NIL) (?:[1-9]\d*|NIL)\))?",
    b"NOUPDATE": rb" " + _QUOTED,
    b"UNDEFINED-FILTER": rb" " + _ATOM,
    **dict.fromkeys((b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN", b"HIGHESTMODSEQ"), rb" [1-9]\d*"),
}
"""What follows the name of a response code; nothing after the others."""
_PLAIN: Final = {
    b"CAPABILITY": rb"(?: " + _ATOM + rb")+",
    b"ENABLED": rb"(?: " + _ATOM + rb")*",
    b"SEARCH": rb"(?: [1-9]\d*)*(?: \(MODSEQ \d+\))?",
    b"SORT": rb"(?: [1-9]\d*)*(?: \(MODSEQ \d+\))?",
    b"VANISHED": rb"(?: \(EARLIER\))? " + _SET,
    b"NAMESPACE": rb"(?: (?:NIL|\((?:\(" + _QUOTED + rb' "/"\))+\))){3}',
}
"""Answers without literals or nesting, behind their names."""
_VALUES: Final = {
    b"UID": rb" [1-9]\d*",
    b"RFC822.SIZE": rb" \d+",
    b"MODSEQ": rb" \([1-9]\d*\)",
    b"INTERNALDATE": rb" " + _DATE_TIME,
    b"SAVEDATE": rb" (?:NIL|" + _DATE_TIME + rb")",
    b"EMAILID": rb" " + _OBJECT,
    b"THREADID": rb" (?:NIL|" + _OBJECT + rb")",
    b"BINARY.SIZE": rb"\[[\d.]*\] \d+",
}
"""The simple ones of FETCH's items."""
_FOUND: Final = {
    **dict.fromkeys((b"MIN", b"MAX", b"COUNT", b"MODSEQ"), rb"\d+"),
    b"ALL": _SET,
    **dict.fromkeys((b"ADDTO", b"REMOVEFROM"), rb"\(\d+ " + _SET + rb"(?: \d+ " + _SET + rb")*\)"),
    b"PARTIAL": rb"\(-?\d+:-?\d+ (?:NIL|" + _SET + rb")\)",
    b"RELEVANCY": rb"\((?:\d+(?: \d+)*)?\)",
}
"""What ESEARCH returns."""


class Malformed(Exception):
    """What was said is not what the formal syntax allows."""


def check(said: bytes) -> int:
    """Read all that a server said and return how many answers that was. Raises `Malformed`."""
    reader = Reader(said)
    count = 0
    while not reader.at_end:
        reader.answer()
        count += 1
    return count


class Reader:
    """A position in what was said; every method reads one thing and raises `Malformed`."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether all has been read."""
        return self._at == len(self._said)

    def _next(self, octets: bytes) -> bool:
        return self._said.startswith(octets, self._at)

    def _accept(self, pattern: bytes) -> bytes | None:
        match = re.compile(pattern, re.DOTALL).match(self._said, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _read(self, pattern: bytes) -> bytes:
        read = self._accept(pattern)
        if read is None:
            line = self._said[self._said.rfind(b"\r\n", 0, self._at) + 2 :][:300]
            raise Malformed(f"expected {pattern!r}, not {self._said[self._at :][:60]!r}, in {line!r}")
        return read

    # ------------------------------------------------------------ strings and lists

    def _literal(self, *, binary: bool) -> None:
        head = self._read(rb"~?\{\d+\}\r\n" if binary else rb"\{\d+\}\r\n")
        size = int(head.strip(b"~{}\r\n"))
        data = self._said[self._at : self._at + size]
        if len(data) < size or (b"\0" in data and not head.startswith(b"~")):
            raise Malformed(f"a literal is too short, or has a NUL: {data[:60]!r}")
        self._at += size

    def _string(self, *, binary: bool = False) -> None:
        if self._accept(_QUOTED) is None:
            self._literal(binary=binary)

    def _nstring(self, *, binary: bool = False) -> None:
        if self._accept(rb"NIL(?=[ )\r])") is None:
            self._string(binary=binary)

    def _astring(self) -> None:
        if self._accept(_ASTRING) is None:
            self._string()

    def _list(self, member: Callable[[], object], *, empty: bool = True) -> None:
        self._read(rb"\(")
        if empty and self._accept(rb"\)"):
            return
        member()
        while not self._accept(rb"\)"):
            self._read(rb" ")
            member()

    def _run(self, *members: Callable[[], object]) -> None:
        """Read things with one space before each."""
        for member in members:
            self._read(rb" ")
            member()

    def _rest(self, *members: Callable[[], object]) -> None:
        """Read the same things again and again, while there is a space."""
        while self._next(b" "):
            self._run(*members)

    # ------------------------------------------------------------ answers

    def answer(self) -> None:
        """Read one answer with its line end."""
        if self._accept(rb"\+ "):
            self._read(rb"[\x20-\x7e]*")
        elif self._accept(rb"\* (?:OK|NO|BAD|BYE|PREAUTH) ") or self._accept(_TAG + rb" (?:OK|NO|BAD) "):
            self._condition()
        elif self._accept(rb"\* \d+ (?:EXISTS|RECENT|EXPUNGE)(?=\r)") is None:
            if self._accept(rb"\* [1-9]\d* (?:UID)?FETCH "):
                self._list(self._item, empty=False)
            else:
                self._data()
        self._read(rb"\r\n")

    def _condition(self) -> None:
        if self._accept(rb"\["):
            self._read(_CODES.get(self._read(rb"[A-Z0-9-]+"), rb""))
            self._read(rb"\] ")
        self._read(rb"[\x20-\x5a\x5c-\x7e][\x20-\x7e]*")

    def _data(self) -> None:
        name = self._read(rb"\* [A-Z]+")[2:]
        if name in _PLAIN:
            self._read(_PLAIN[name])
            return
        kinds: dict[bytes, Callable[[], None]] = {
            **dict.fromkeys((b"LIST", b"LSUB", b"XLIST"), self._mailbox),
            b"FLAGS": lambda: self._run(lambda: self._list(self._flag)),
            b"STATUS": lambda: self._run(self._astring, lambda: self._list(self._counter)),
            b"ESEARCH": self._esearch,
            b"THREAD": lambda: self._rest(self._threads),
            b"ID": lambda: self._run(self._identity),
            b"LANGUAGE": lambda: self._run(lambda: self._list(self._astring, empty=False)),
            b"QUOTA": lambda: self._run(self._astring, lambda: self._list(lambda: self._read(rb"[A-Z-]+ \d+ \d+"))),
            b"METADATA": lambda: self._run(self._astring, self._annotations),
            b"ACL": self._rights,
            **dict.fromkeys((b"QUOTAROOT", b"LISTRIGHTS", b"MYRIGHTS"), lambda: self._rest(self._astring)),
        }
        if name not in kinds:
            raise Malformed(f"there is no {name!r}")
        kinds[name]()

    def _flag(self) -> None:
        self._read(rb"\\?" + _ATOM)

    def _mailbox(self) -> None:
        self._run(lambda: self._list(lambda: self._read(rb"\\[A-Za-z]+")), lambda: self._read(rb'"/"'), self._astring)
        self._rest(lambda: self._list(self._more_of_mailbox, empty=False))

    def _more_of_mailbox(self) -> None:
        if self._accept(rb'"CHILDINFO" \("[A-Z-]+"(?: "[A-Z-]+")*\)') is None:
            self._read(rb'"OLDNAME"')
            self._run(lambda: self._list(self._astring, empty=False))

    def _rights(self) -> None:
        self._run(self._astring)
        self._rest(self._astring, self._astring)

    def _counter(self) -> None:
        counters = rb"MESSAGES|RECENT|UIDNEXT|UIDVALIDITY|UNSEEN|HIGHESTMODSEQ|SIZE|DELETED|DELETED-STORAGE"
        self._read(rb"(?:" + counters + rb") \d+|APPENDLIMIT (?:\d+|NIL)|MAILBOXID " + _OBJECT)

    def _esearch(self) -> None:
        if self._accept(rb" \(TAG "):
            self._string()
            if self._accept(rb" MAILBOX "):
                self._astring()
                self._read(rb" UIDVALIDITY [1-9]\d*")
            self._read(rb"\)")
        self._accept(rb" UID(?=[ \r])")
        self._rest(lambda: self._read(_FOUND.get(self._read(rb"[A-Z]+ ")[:-1], rb"(?!)")))

    def _threads(self) -> None:
        depth = 0
        while self._next(b"(") or depth:
            piece = self._read(rb"\((?=[(\d])|\)|[1-9]\d*(?: [1-9]\d*)*(?: (?=\())?")
            depth += {b"(": 1, b")": -1}.get(piece, 0)

    def _identity(self) -> None:
        if self._accept(rb"NIL") is None:
            self._list(lambda: (self._string(), self._run(self._nstring)), empty=False)

    def _annotations(self) -> None:
        if self._next(b"("):
            self._list(lambda: (self._astring(), self._run(lambda: self._nstring(binary=True))), empty=False)
        else:
            self._astring()
            self._rest(self._astring)

    # ------------------------------------------------------------ FETCH

    def _item(self) -> None:
        name = self._read(rb"[A-Z0-9.]+")
        if name in _VALUES:
            self._read(_VALUES[name])
        elif name == b"FLAGS":
            self._run(lambda: self._list(self._flag))
        elif name == b"ENVELOPE":
            self._run(self._envelope)
        elif name == b"BODYSTRUCTURE":
            self._run(lambda: self._structure(extended=True))
        elif name == b"BODY" and self._next(b" "):
            self._run(lambda: self._structure(extended=False))
        elif name in (b"BODY", b"BINARY"):
            self._read(rb"\[[\d.]*(?:HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME)?")
            if self._next(b" "):
                self._run(lambda: self._list(self._astring, empty=False))
            self._read(rb"\](?:<\d+>)?")
            self._run(lambda: self._nstring(binary=name == b"BINARY"))
        elif name in (b"RFC822", b"RFC822.HEADER", b"RFC822.TEXT", b"PREVIEW"):
            self._run(self._nstring)
        else:
            raise Malformed(f"there is no item {name!r}")

    def _envelope(self) -> None:
        self._read(rb"\(")
        self._nstring()
        self._run(self._nstring, *[self._addresses] * 6, self._nstring, self._nstring)
        self._read(rb"\)")

    def _addresses(self) -> None:
        if self._accept(rb"NIL"):
            return
        self._read(rb"\((?!\))")
        while not self._accept(rb"\)"):
            self._read(rb"\(")
            self._nstring()
            self._run(self._nstring, self._nstring, self._nstring)
            self._read(rb"\)")

    def _structure(self, *, extended: bool) -> None:
        self._read(rb"\(")
        if self._next(b"("):
            while self._next(b"("):
                self._structure(extended=extended)
            self._run(self._string)
            if extended:
                self._run(self._parameters)
        else:
            start = self._at
            self._string()
            self._run(self._string)
            kind = self._said[start : self._at].upper()
            self._run(self._parameters, self._nstring, self._nstring, self._string, lambda: self._read(rb"\d+"))
            if kind in (b'"MESSAGE" "RFC822"', b'"MESSAGE" "GLOBAL"'):
                self._run(self._envelope, lambda: self._structure(extended=extended), lambda: self._read(rb"\d+"))
            elif kind.startswith(b'"TEXT" '):
                self._run(lambda: self._read(rb"\d+"))
            if extended:
                self._run(self._nstring)
        if extended:
            self._run(self._disposition, self._languages, self._nstring)
        self._read(rb"\)")

    def _parameters(self) -> None:
        if self._accept(rb"NIL") is None:
            self._list(lambda: (self._string(), self._run(self._string)), empty=False)

    def _disposition(self) -> None:
        if self._accept(rb"NIL") is None:
            self._read(rb"\(")
            self._string()
            self._run(self._parameters)
            self._read(rb"\)")

    def _languages(self) -> None:
        if self._next(b"("):
            self._list(self._string, empty=False)
        else:
            self._nstring()
