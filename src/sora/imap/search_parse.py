"""The only place that reads the arguments of SEARCH, SORT, THREAD, ESEARCH and CANCELUPDATE but for the keys.

RFC 4466 2.6, RFC 5256 5, RFC 5267 5, RFC 7377 4, RFC 9394 4. The keys are read by `imap/criteria`.
"""

from collections.abc import Callable
from typing import Final

from sora.core import limits
from sora.core.criteria import And, Criteria, Not
from sora.core.errors import LimitReached, SoraError
from sora.core.ordering import SortKey
from sora.imap import criteria
from sora.imap.fetch_items import FetchItem
from sora.imap.fetch_parse import listed, partial_range
from sora.imap.search_commands import (
    EVERYTHING,
    Algorithm,
    CancelUpdate,
    MultiSearch,
    Returns,
    Search,
    SearchReturn,
    Sort,
    Source,
    Thread,
)
from sora.imap.tokens import BadSyntax, Cursor

_OPTIONS_MAX: Final = 16
_SORT_KEYS: Final = {key.name.encode(): key for key in SortKey}
_NAMED: Final = frozenset((Source.SUBTREE, Source.SUBTREE_ONE, Source.MAILBOXES))


def parse_search(*, by_uid: bool) -> Callable[[Cursor], Search]:
    """Return the reader of SEARCH or UID SEARCH."""

    def read(cursor: Cursor) -> Search:
        returns = _returns(cursor)
        found, modseq, refusal = _program(cursor, returns, _charset(cursor))
        return Search(found, by_uid=by_uid, modseq=modseq, returns=returns, refusal=refusal)

    return read


def parse_sort(*, by_uid: bool) -> Callable[[Cursor], Sort]:
    """Return the reader of SORT or UID SORT, whose charset is mandatory."""

    def read(cursor: Cursor) -> Sort:
        returns = _returns(cursor)
        keys = tuple(_sort_key(cursor) for _ in cursor.members("sort keys", items_max=limits.IMAP_SORT_KEYS_MAX))
        if not keys:
            raise BadSyntax("SORT needs a key")
        cursor.space()
        charset = cursor.astring("a charset")
        cursor.space()
        scored = any(key is SortKey.RELEVANCY for key, _ in keys)
        found, modseq, refusal = _program(cursor, returns, charset, scored=scored)
        return Sort(keys, found, by_uid=by_uid, modseq=modseq, returns=returns, refusal=refusal)

    return read


def parse_thread(*, by_uid: bool) -> Callable[[Cursor], Thread]:
    """Return the reader of THREAD or UID THREAD."""

    def read(cursor: Cursor) -> Thread:
        try:
            algorithm = Algorithm(cursor.keyword("a threading algorithm"))
        except ValueError:
            raise BadSyntax("unknown threading algorithm") from None
        cursor.space()
        charset = cursor.astring("a charset")
        cursor.space()
        found, _ = criteria.parse(cursor, charset)
        return Thread(algorithm, found, by_uid=by_uid)

    return read


def parse_multi_search(cursor: Cursor) -> MultiSearch:
    """Read ESEARCH."""
    sources: tuple[tuple[Source, tuple[str, ...]], ...] = ((Source.SELECTED, ()),)
    if cursor.accept(b"IN "):
        sources = tuple(_source(cursor) for _ in cursor.members("mailboxes to search", items_max=_OPTIONS_MAX))
        if not sources:
            raise BadSyntax("ESEARCH IN needs mailboxes")
        cursor.space()
    returns = _returns(cursor)
    if returns is not None and returns.saves and any(source is not Source.SELECTED for source, _ in sources):
        raise BadSyntax("SAVE is for the selected mailbox alone")
    found, modseq, refusal = _program(cursor, returns, _charset(cursor))
    return MultiSearch(sources, found, modseq=modseq, returns=returns or EVERYTHING, refusal=refusal)


def parse_cancel_update(cursor: Cursor) -> CancelUpdate:
    """Read CANCELUPDATE."""
    tags = [cursor.string("a tag")]
    while not cursor.at_end:
        if len(tags) == limits.IMAP_LIST_ITEMS_MAX:
            raise LimitReached(f"more than {limits.IMAP_LIST_ITEMS_MAX} tags")
        cursor.space()
        tags.append(cursor.string("a tag"))
    return CancelUpdate(tuple(tags))


_NONE: Final = Criteria((And(0), Not()))


def _charset(cursor: Cursor) -> bytes:
    if cursor.one_charset and cursor.accept(b"CHARSET "):
        raise BadSyntax("UTF8=ACCEPT is enabled: no charset is named")
    if not cursor.accept(b"CHARSET "):
        return b"UTF-8"
    charset = cursor.astring("a charset")
    cursor.space()
    return charset


def _program(
    cursor: Cursor, returns: Returns | None, charset: bytes, *, scored: bool = False
) -> tuple[Criteria, bool, SoraError | None]:
    """Read the keys; what would be answered NO is handed on if SAVE was asked for, as it then has an effect."""
    try:
        found, modseq = criteria.parse(cursor, charset)
    except BadSyntax:
        raise
    except SoraError as error:
        if returns is None or not returns.saves:
            raise
        cursor.abandon()
        return _NONE, False, error
    scored = scored or (returns is not None and SearchReturn.RELEVANCY in returns)
    if scored and not found.fuzzy:
        raise BadSyntax("RELEVANCY belongs to FUZZY (RFC 6203 4)")
    return found, modseq, None


def _returns(cursor: Cursor) -> Returns | None:
    """Read result options; an empty list asks for ALL."""
    if not cursor.accept(b"RETURN "):
        return None
    options: set[SearchReturn] = set()
    items: tuple[FetchItem, ...] = ()
    partial = None
    for _ in cursor.members("result options", items_max=_OPTIONS_MAX):
        name = cursor.keyword("a result option")
        if name == b"PARTIAL" and partial is None:
            cursor.space()
            partial = partial_range(cursor)
            continue
        try:
            options.add(SearchReturn(name))
        except ValueError:
            raise BadSyntax("unknown or repeated result option") from None
        if name == b"UPDATE" and cursor.accept(b" ("):
            items = listed(cursor)
    if partial is not None and SearchReturn.ALL in options:
        raise BadSyntax("PARTIAL and ALL exclude each other")
    cursor.space()
    return Returns(frozenset(options), partial, items) if options or partial is not None else EVERYTHING


def _sort_key(cursor: Cursor) -> tuple[SortKey, bool]:
    name = cursor.keyword("a sort key")
    backwards = name == b"REVERSE"
    if backwards:
        cursor.space()
        name = cursor.keyword("a sort key")
    key = _SORT_KEYS.get(name)
    if key is None:
        raise BadSyntax("unknown sort key")
    return key, backwards


def _source(cursor: Cursor) -> tuple[Source, tuple[str, ...]]:
    try:
        source = Source(cursor.keyword("which mailboxes"))
    except ValueError:
        raise BadSyntax("unknown choice of mailboxes") from None
    if source not in _NAMED:
        return source, ()
    cursor.space()
    if cursor.peek() != b"(":
        return source, (cursor.mailbox(),)
    names = tuple(cursor.mailbox() for _ in cursor.members("mailboxes", items_max=limits.IMAP_LIST_ITEMS_MAX))
    if not names:
        raise BadSyntax("mailboxes are named")
    return source, names
