"""The only place that turns SEARCH keys into a search program.

RFC 3501 6.4.4, RFC 5032, RFC 5182, RFC 6203, RFC 7162 3.1.5, RFC 8474 6, RFC 8514 4.3.

An explicit stack of what is still incomplete stands for NOT, OR and parentheses, so that nesting is
bounded by `IMAP_NESTING_MAX` and never by Python's stack.
"""

from collections.abc import Callable
from typing import Final

import attrs

from sora.core import criteria as steps
from sora.core import flags, limits
from sora.core.criteria import And, Criteria, DateOf, Field, IdOf, Not, Or, Relation, Step
from sora.core.errors import CharsetUnknown, LimitReached
from sora.core.text import fold, spaced
from sora.imap import object_id
from sora.imap.tokens import MODSEQ_MAX, BadSyntax, Cursor

_CODECS: Final[dict[bytes, str]] = {
    b"US-ASCII": "utf-8",
    b"ASCII": "utf-8",
    b"UTF-8": "utf-8",
    b"UTF8": "utf-8",
    b"UTF-16": "utf-16",
    b"UTF-16BE": "utf-16-be",
    b"UTF-16LE": "utf-16-le",
    b"KOI8-R": "koi8-r",
    b"KOI8-U": "koi8-u",
    b"BIG5": "big5",
    b"GB2312": "gb2312",
    b"GBK": "gbk",
    b"GB18030": "gb18030",
    b"EUC-JP": "euc-jp",
    b"EUC-KR": "euc-kr",
    b"SHIFT_JIS": "shift-jis",
    b"ISO-2022-JP": "iso2022-jp",
    b"ISO-2022-KR": "iso2022-kr",
    b"TIS-620": "tis-620",
    **{b"ISO-8859-%d" % part: f"iso8859-{part}" for part in range(1, 17) if part != 12},
    **{b"WINDOWS-%d" % page: f"cp{page}" for page in (874, *range(1250, 1259))},
}
"""ASCII is read as UTF-8, as clients announce the one and send the other."""

KNOWN_CHARSETS: Final = (b"US-ASCII", b"UTF-8")
"""What BADCHARSET recommends; more are understood."""

_CONSTANT: Final[dict[bytes, tuple[Step, ...]]] = {
    b"ALL": (steps.All(),),
    b"RECENT": (steps.Recent(),),
    b"OLD": (steps.Recent(wanted=False),),
    b"SAVEDATESUPPORTED": (steps.All(),),
    b"NEW": (steps.Recent(), steps.Flag(flags.SEEN, wanted=False), And(2)),
    **{name[1:].upper().encode(): (steps.Flag(bit),) for bit, name in flags.NAMES.items()},
    **{b"UN" + name[1:].upper().encode(): (steps.Flag(bit, wanted=False),) for bit, name in flags.NAMES.items()},
}
_TEXTS: Final = {field.name.encode(): field for field in Field}
_BODIES: Final = frozenset((Field.BODY, Field.TEXT))
"""Where white space is as it was written: in header fields a run of it counts as a space."""
_DATES: Final = {
    prefix + name: (of, relation)
    for prefix, of in ((b"", DateOf.INTERNAL), (b"SENT", DateOf.SENT), (b"SAVED", DateOf.SAVED))
    for name, relation in ((b"BEFORE", Relation.BEFORE), (b"ON", Relation.ON), (b"SINCE", Relation.SINCE))
}
_SIZES: Final = {b"LARGER": Relation.LARGER, b"SMALLER": Relation.BEFORE}
_SIZE_MAX: Final = 2**63 - 1


@attrs.define
class _Open:
    """A NOT, an OR, a parenthesis or the whole, of which `got` operands are complete."""

    kind: bytes
    wanted: int
    """Operands it takes; 0: as many as there are until `)` or the end."""
    got: int = 0
    start: int = 0
    """How many steps there were before it."""


class _Builder:
    def __init__(self, cursor: Cursor, codec: str) -> None:
        self.cursor = cursor
        self.codec = codec
        self.steps: list[Step] = []
        self.open = [_Open(b"", 0)]
        self.keys = 0
        self.modseq = False

    def build(self) -> None:
        cursor = self.cursor
        while True:
            if cursor.accept(b"("):
                self.push(_Open(b"(", 0))
                continue
            if self.key():
                cursor.space()
                continue
            self.complete()
            while cursor.peek() == b")" and self.open[-1].kind == b"(":
                cursor.expect(b")")
                self.close()
            if cursor.at_end:
                break
            cursor.space()
        if len(self.open) > 1:
            raise BadSyntax("the search ends too early")
        self.emit_and(self.open[0].got)

    def push(self, item: _Open) -> None:
        if len(self.open) > limits.IMAP_NESTING_MAX:
            raise LimitReached(f"search keys nested deeper than {limits.IMAP_NESTING_MAX}")
        item.start = len(self.steps)
        self.open.append(item)

    def complete(self) -> None:
        """Count a complete key to what it belongs to, and so on outwards."""
        while True:
            top = self.open[-1]
            top.got += 1
            if not top.wanted or top.got < top.wanted:
                return
            self.open.pop()
            if top.kind == b"FUZZY":
                self.steps[top.start :] = [steps.fuzzy(step) for step in self.steps[top.start :]]
            else:
                self.steps.append(Not() if top.kind == b"NOT" else Or(top.got))

    def close(self) -> None:
        self.emit_and(self.open.pop().got)
        self.complete()

    def emit_and(self, count: int) -> None:
        if count != 1:
            self.steps.append(And(count))

    def key(self) -> bool:
        """Read one key; tells whether it is an operator whose operands come next."""
        self.keys += 1
        if self.keys > limits.IMAP_SEARCH_KEYS_MAX:
            raise LimitReached(f"more than {limits.IMAP_SEARCH_KEYS_MAX} search keys")
        cursor = self.cursor
        first = cursor.peek()
        if first.isdigit() or first in (b"*", b"$"):
            named = cursor.sequence_set()
            # What was saved are messages, not numbers (RFC 5182 2.1, RFC 9586 3).
            self.steps.append(steps.Uids(named) if named.saved else steps.Numbers(named))
            return False
        name = cursor.keyword("a search key")
        constant = _CONSTANT.get(name)
        if constant is not None:
            self.steps.extend(constant)
            return False
        if name in (b"NOT", b"FUZZY"):
            self.push(_Open(name, 1))
            return True
        if name == b"OR":
            self.open_or()
            return True
        cursor.space()
        self.steps.append(self.with_argument(name))
        return False

    def open_or(self) -> None:
        top = self.open[-1]
        if top.kind == b"OR":
            # OR a OR b c, or OR OR a b c, as clients write long lists: one flat alternative, however many.
            top.wanted += 1
        else:
            self.push(_Open(b"OR", 2))

    def with_argument(self, name: bytes) -> Step:
        cursor = self.cursor
        if name in _TEXTS:
            field, needle = _TEXTS[name], self.needle()
            return steps.Text(field, needle if field in _BODIES else spaced(needle))
        if name in _DATES:
            of, relation = _DATES[name]
            return steps.Dated(of, relation, cursor.date())
        if name in _SIZES:
            return steps.Size(_SIZES[name], cursor.number(_SIZE_MAX))
        reader = _READERS.get(name)
        if reader is None:
            raise BadSyntax(f"unknown search key {name[:30].decode('ascii', 'replace')}")
        return reader(self)

    def needle(self) -> str:
        data = self.cursor.astring("a text to search for")
        if len(data) > limits.IMAP_SEARCH_TEXT_MAX:
            raise LimitReached(f"a text of more than {limits.IMAP_SEARCH_TEXT_MAX} octets to search for")
        try:
            return fold(data.decode(self.codec))
        except (UnicodeDecodeError, UnicodeError):
            raise BadSyntax("the text to search for is not in the charset") from None

    def header(self) -> Step:
        name = self.cursor.astring("a header field name")
        if not name.isascii():
            raise BadSyntax("a header field name is ASCII")
        self.cursor.space()
        return steps.Header(name.decode("ascii").lower(), spaced(self.needle()))

    def flag_keyword(self, *, wanted: bool) -> Step:
        name = self.cursor.atom("a keyword").decode("ascii")
        if not flags.is_keyword(name):
            raise BadSyntax("malformed keyword")
        return steps.Keyword(name.lower(), wanted)

    def modseq_key(self) -> Step:
        cursor = self.cursor
        if cursor.peek() == b'"':
            # The entry name and type: flags have no modseq of their own here, so the message's is compared.
            cursor.string("an entry name")
            cursor.space()
            if cursor.keyword("an entry type") not in (b"ALL", b"PRIV", b"SHARED"):
                raise BadSyntax("the entry type is all, priv or shared")
            cursor.space()
        self.modseq = True
        return steps.ModSeqAtLeast(cursor.number(MODSEQ_MAX))

    def filter_name(self) -> Step:
        name = self.cursor.atom("the name of a filter")
        if b"/" in name:
            raise BadSyntax("the name of a filter has no slash")
        return steps.Filter(name.decode("ascii").lower(), utf8=self.codec == "utf-8")

    def object_id(self, of: IdOf) -> Step:
        text = self.cursor.atom("an object id")
        return steps.Id(of, object_id.email_of(text) if of is IdOf.EMAIL else object_id.thread_of(text))


_INTERVAL_MAX: Final = 2**63 - 1
_READERS: Final[dict[bytes, Callable[[_Builder], Step]]] = {
    b"OLDER": lambda builder: steps.Within(builder.cursor.number(_INTERVAL_MAX, minimum=1), younger=False),
    b"YOUNGER": lambda builder: steps.Within(builder.cursor.number(_INTERVAL_MAX, minimum=1), younger=True),
    b"FILTER": _Builder.filter_name,
    b"EMAILID": lambda builder: builder.object_id(IdOf.EMAIL),
    b"THREADID": lambda builder: builder.object_id(IdOf.THREAD),
    b"HEADER": _Builder.header,
    b"KEYWORD": lambda builder: builder.flag_keyword(wanted=True),
    b"UNKEYWORD": lambda builder: builder.flag_keyword(wanted=False),
    b"UID": lambda builder: steps.Uids(builder.cursor.sequence_set()),
    b"MODSEQ": _Builder.modseq_key,
}


def codec_of(charset: bytes) -> str:
    """Return Python's name of a charset; raises `CharsetUnknown`."""
    codec = _CODECS.get(charset.upper())
    if codec is None:
        raise CharsetUnknown("the charset of the search is not known")
    return codec


def parse(cursor: Cursor, charset: bytes = b"UTF-8") -> tuple[Criteria, bool]:
    """Read search keys to the end of the arguments; tells too whether MODSEQ was one of them.

    Raises `BadSyntax`, `LimitReached`, `CharsetUnknown`.
    """
    builder = _Builder(cursor, codec_of(charset))
    builder.build()
    return Criteria(tuple(builder.steps)), builder.modseq
