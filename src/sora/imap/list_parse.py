"""The only place that reads LIST, LSUB, XLIST and the items of STATUS.

RFC 3501 6.3.8-6.3.10, RFC 5258 (LIST-EXTENDED), RFC 5819 (LIST-STATUS), RFC 6154 (SPECIAL-USE).
"""

from collections.abc import Callable
from typing import Final

import attrs

from sora.core import limits
from sora.core.errors import LimitReached
from sora.imap.commands import ListKind, ListMailboxes, Return, Selection, StatusItem
from sora.imap.tokens import BadSyntax, Cursor

_PATTERNS_MAX: Final = 32
"""Patterns of one LIST: each is compared with every mailbox."""
_OPTIONS_MAX: Final = 16
ARGUMENTS: Final[dict[Return, Callable[[Cursor], object]]] = {}
"""How what follows a return option is read, of those that take something; their families put it here."""


def status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    """Read the items of STATUS, each once, in the order asked; raises `BadSyntax`, `LimitReached`."""
    items = tuple(dict.fromkeys(_status_item(cursor) for _ in cursor.members("status items")))
    if not items:
        raise BadSyntax("STATUS asks for nothing")
    return items


def _status_item(cursor: Cursor) -> StatusItem:
    try:
        return StatusItem(cursor.keyword("a status item"))
    except ValueError:
        raise BadSyntax("unknown status item") from None


def parse_list(cursor: Cursor) -> ListMailboxes:
    """Read LIST with all its options; raises `BadSyntax`, `LimitReached`."""
    selection: frozenset[Selection] = frozenset()
    extended = cursor.peek() == b"("
    if extended:
        selection = frozenset(_selection(cursor) for _ in cursor.members("selection options", items_max=_OPTIONS_MAX))
        if Selection.RECURSIVEMATCH in selection and not selection - {Selection.RECURSIVEMATCH, Selection.REMOTE}:
            raise BadSyntax("RECURSIVEMATCH needs another selection option")
        cursor.space()
    reference = cursor.reference()
    cursor.space()
    if cursor.peek() == b"(":
        extended = True
        read = [cursor.pattern() for _ in cursor.members("patterns", items_max=_PATTERNS_MAX)]
        if not read:
            raise BadSyntax("LIST has no pattern")
        patterns = _possible(reference, read)
        if sum(map(len, patterns)) > limits.IMAP_PATTERN_MAX:
            raise LimitReached(f"the patterns have more than {limits.IMAP_PATTERN_MAX} characters in all")
    else:
        patterns = _possible(reference, [cursor.pattern()])
    command = ListMailboxes(ListKind.LIST, reference or "", patterns=patterns, selection=selection, extended=extended)
    if not cursor.at_end:
        cursor.space()
        cursor.expect(b"RETURN ")
        command = _returns(cursor, command)
    return command


def parse_lsub(cursor: Cursor) -> ListMailboxes:
    """Read LSUB; raises as `parse_list`."""
    return _plain(ListKind.LSUB, cursor)


def parse_xlist(cursor: Cursor) -> ListMailboxes:
    """Read XLIST, which older Outlooks send; raises as `parse_list`."""
    return _plain(ListKind.XLIST, cursor)


def _plain(kind: ListKind, cursor: Cursor) -> ListMailboxes:
    reference = cursor.reference()
    cursor.space()
    return ListMailboxes(kind, reference or "", patterns=_possible(reference, [cursor.pattern()]))


def _possible(reference: str | None, patterns: list[str | None]) -> tuple[str, ...]:
    """Leave out what no name can match, silently (RFC 9051 6.3.9, RFC 5258 3)."""
    return () if reference is None else tuple(pattern for pattern in patterns if pattern is not None)


def _selection(cursor: Cursor) -> Selection:
    try:
        return Selection(cursor.keyword("a selection option"))
    except ValueError:
        raise BadSyntax("unknown selection option of LIST") from None


def _returns(cursor: Cursor, command: ListMailboxes) -> ListMailboxes:
    returns: set[Return] = set()
    arguments: dict[Return, object] = {}
    status: tuple[StatusItem, ...] = ()
    for _ in cursor.members("return options", items_max=_OPTIONS_MAX):
        name = cursor.keyword("a return option")
        if name == b"STATUS":
            cursor.space()
            status = status_items(cursor)
            continue
        try:
            option = Return(name)
        except ValueError:
            raise BadSyntax("unknown return option of LIST") from None
        returns.add(option)
        if option in ARGUMENTS:
            cursor.space()
            arguments[option] = ARGUMENTS[option](cursor)
    return attrs.evolve(command, returns=frozenset(returns), arguments=arguments, status=status, extended=True)
