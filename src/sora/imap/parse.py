"""The only place that turns a framed command into a command class (RFC 3501 6 and its extensions).

One small reader per command. Whatever the octets, the outcome is a class or one of the documented errors.
"""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from typing import Final

from sora.core import limits
from sora.core.errors import LimitReached
from sora.core.flags import Change
from sora.imap import acl_parse, fetch_parse, framer, mailbox_name, metadata_parse, quota_parse, session_parse
from sora.imap import commands as c
from sora.imap.append_parse import parse_append, parse_replace
from sora.imap.fetch_items import Attribute, FetchItem, FetchModifiers
from sora.imap.list_parse import parse_list, parse_lsub, parse_xlist, status_items
from sora.imap.search_parse import (
    parse_cancel_update,
    parse_multi_search,
    parse_search,
    parse_sort,
    parse_thread,
)
from sora.imap.select_parse import parse_select
from sora.imap.session_commands import Unauthenticate
from sora.imap.tokens import MODSEQ_MAX, BadSyntax, Cursor

_ID_FIELDS_MAX: Final = 30
"""RFC 2971 3.3."""
_SPECIAL_USES: Final = {
    use.lower(): use for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")
}
"""RFC 6154 2."""
_STORE_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?\Z")
_CHANGES: Final = {b"": Change.REPLACE, b"+": Change.ADD, b"-": Change.REMOVE}


def parse(command: framer.Command, *, utf8: bool = False, one_charset: bool = False) -> c.Command:
    """Read a command's arguments; `utf8`: the client has enabled UTF-8 (RFC 6855, RFC 9051).

    `one_charset`: and may name no other charset in SEARCH (RFC 6855 3).

    Raises `BadSyntax` (BAD), and `LimitReached`, `CharsetUnknown`, `MailboxNameInvalid` (NO).
    """
    name = command.name
    simple = _SIMPLE.get(name)
    if simple is not None:
        if command.parts != _NOTHING:
            Cursor(command.parts).finish()
        return simple
    reader = _READERS.get(name)
    if reader is None:
        return c.UnknownCommand(name)
    cursor = Cursor(command.parts, utf8=utf8, one_charset=one_charset)
    result = reader(cursor)
    cursor.finish()
    return result


# ------------------------------------------------------------ any state and not authenticated


def _id(cursor: Cursor) -> c.Command:
    if cursor.at_end:
        return c.Id(None)
    if cursor.peek() != b"(":
        cursor.nstring()
        return c.Id(None)
    fields: list[tuple[str, str | None]] = []
    for _ in cursor.members("ID fields", items_max=_ID_FIELDS_MAX):
        key = cursor.string("a field name")
        cursor.space()
        value = cursor.nstring()
        fields.append((key.decode("utf-8", "replace"), None if value is None else value.decode("utf-8", "replace")))
    return c.Id(tuple(fields))


def _login(cursor: Cursor) -> c.Command:
    user = cursor.text("the user name")
    cursor.space()
    return c.Login(user, cursor.text("the password"))


def _authenticate(cursor: Cursor) -> c.Command:
    mechanism = cursor.keyword("a mechanism").decode("ascii")
    if cursor.at_end:
        return c.Authenticate(mechanism, None)
    cursor.space()
    return c.Authenticate(mechanism, decode_sasl(cursor.astring("an initial response")))


def decode_sasl(line: bytes) -> bytes:
    """Decode base64 of a SASL response; a lone `=` is the empty response (RFC 4959 3). Raises `BadSyntax`."""
    if line == b"=":
        return b""
    try:
        return b64decode(line, validate=True)
    except (Error, ValueError):
        raise BadSyntax("the response is not base64") from None


# ------------------------------------------------------------ authenticated


def _enable(cursor: Cursor) -> c.Command:
    names = [cursor.keyword("a capability").decode("ascii")]
    while not cursor.at_end:
        if len(names) == limits.IMAP_LIST_ITEMS_MAX:
            raise LimitReached(f"more than {limits.IMAP_LIST_ITEMS_MAX} capabilities")
        cursor.space()
        names.append(cursor.keyword("a capability").decode("ascii"))
    return c.Enable(tuple(names))


def _create(cursor: Cursor) -> c.Command:
    name, written = cursor.named()
    if name.endswith(mailbox_name.SEPARATOR) and len(name) > 1:
        # RFC 3501 6.3.3: the client only says that it will create names below this one.
        name = name[:-1]
    uses: list[str] = []
    if not cursor.at_end:
        cursor.space()
        for _ in cursor.members("parameters", items_max=8):
            if cursor.keyword("a parameter") != b"USE" or uses:
                raise BadSyntax("unknown or repeated parameter of CREATE")
            cursor.space()
            uses.extend(_special_use(cursor) for _ in cursor.members("special uses", items_max=16))
    return c.Create(name, tuple(dict.fromkeys(uses)), written)


def _special_use(cursor: Cursor) -> str:
    cursor.expect(b"\\")
    use = "\\" + cursor.atom("a special use").decode("ascii")
    return _SPECIAL_USES.get(use.lower(), use)


def _named(make: Callable[[str], c.Command]) -> Callable[[Cursor], c.Command]:
    return lambda cursor: make(cursor.mailbox())


def _rename(cursor: Cursor) -> c.Command:
    old, old_written = cursor.named()
    cursor.space()
    new, new_written = cursor.named()
    written = None if old_written is None and new_written is None else old_written or old
    return c.Rename(old, new, written)


def _delete(cursor: Cursor) -> c.Command:
    return c.Delete(*cursor.named())


def _status(cursor: Cursor) -> c.Command:
    mailbox = cursor.mailbox()
    cursor.space()
    return c.Status(mailbox, status_items(cursor))


# ------------------------------------------------------------ selected


def _uid_expunge(cursor: Cursor) -> c.Command:
    return c.Expunge(cursor.sequence_set())


def _fetch(cursor: Cursor) -> c.Command:
    numbers = cursor.sequence_set()
    cursor.space()
    items, modifiers = fetch_parse.parse(cursor)
    if modifiers.partial is not None or modifiers.vanished:
        raise BadSyntax("PARTIAL and VANISHED belong to UID FETCH")
    return c.Fetch(numbers, _with_modseq(items, modifiers), by_uid=False, modifiers=modifiers)


def _uid_fetch(cursor: Cursor) -> c.Command:
    numbers = cursor.sequence_set()
    cursor.space()
    items, modifiers = fetch_parse.parse(cursor)
    if modifiers.vanished and modifiers.changed_since is None:
        raise BadSyntax("VANISHED goes with CHANGEDSINCE")
    implied = Attribute.UID not in items
    if implied:
        items = (Attribute.UID, *items)
    return c.Fetch(numbers, _with_modseq(items, modifiers), by_uid=True, uid_implied=implied, modifiers=modifiers)


def _with_modseq(items: tuple[FetchItem, ...], modifiers: FetchModifiers) -> tuple[FetchItem, ...]:
    """Add MODSEQ, which CHANGEDSINCE implies (RFC 7162 3.1.4.1)."""
    if modifiers.changed_since is None or Attribute.MODSEQ in items:
        return items
    return (*items, Attribute.MODSEQ)


def _store(*, by_uid: bool) -> Callable[[Cursor], c.Command]:
    def read(cursor: Cursor) -> c.Command:
        numbers = cursor.sequence_set()
        cursor.space()
        unchanged_since = None
        if cursor.peek() == b"(":
            for _ in cursor.members("modifiers", items_max=8):
                if cursor.keyword("a modifier") != b"UNCHANGEDSINCE" or unchanged_since is not None:
                    raise BadSyntax("unknown or repeated STORE modifier")
                cursor.space()
                unchanged_since = cursor.number(MODSEQ_MAX)
            cursor.space()
        item = _STORE_ITEM.match(cursor.keyword("FLAGS"))
        if item is None:
            raise BadSyntax("STORE changes FLAGS, +FLAGS or -FLAGS")
        cursor.space()
        bits, keywords = cursor.flags()
        return c.Store(
            numbers,
            _CHANGES[item[1]],
            flags=bits,
            keywords=keywords,
            silent=item[2] is not None,
            unchanged_since=unchanged_since,
            by_uid=by_uid,
        )

    return read


def _to_mailbox(make: type[c.Copy] | type[c.Move], *, by_uid: bool) -> Callable[[Cursor], c.Command]:
    def read(cursor: Cursor) -> c.Command:
        numbers = cursor.sequence_set()
        cursor.space()
        return make(numbers, cursor.mailbox(), by_uid=by_uid)

    return read


_NOTHING: Final = (b"",)
_SIMPLE: Final[dict[bytes, c.Command]] = {
    b"CAPABILITY": c.Capability(),
    b"NOOP": c.Noop(),
    b"LOGOUT": c.Logout(),
    b"STARTTLS": c.StartTls(),
    b"NAMESPACE": c.Namespace(),
    b"UNAUTHENTICATE": Unauthenticate(),
    b"IDLE": c.Idle(),
    b"CHECK": c.Check(),
    b"CLOSE": c.Close(),
    b"UNSELECT": c.Unselect(),
    b"EXPUNGE": c.Expunge(),
}
_READERS: Final[dict[bytes, Callable[[Cursor], c.Command]]] = {
    **session_parse.READERS,
    b"ID": _id,
    b"LOGIN": _login,
    b"AUTHENTICATE": _authenticate,
    b"ENABLE": _enable,
    b"SELECT": parse_select(read_only=False),
    b"EXAMINE": parse_select(read_only=True),
    b"CREATE": _create,
    b"DELETE": _delete,
    b"RENAME": _rename,
    b"SUBSCRIBE": _named(c.Subscribe),
    b"UNSUBSCRIBE": _named(c.Unsubscribe),
    b"LIST": parse_list,
    b"LSUB": parse_lsub,
    b"XLIST": parse_xlist,
    b"STATUS": _status,
    b"APPEND": parse_append,
    b"REPLACE": parse_replace(by_uid=False),
    b"UID REPLACE": parse_replace(by_uid=True),
    b"UID EXPUNGE": _uid_expunge,
    **quota_parse.READERS,
    **acl_parse.READERS,
    **metadata_parse.READERS,
    b"SEARCH": parse_search(by_uid=False),
    b"UID SEARCH": parse_search(by_uid=True),
    b"SORT": parse_sort(by_uid=False),
    b"UID SORT": parse_sort(by_uid=True),
    b"THREAD": parse_thread(by_uid=False),
    b"UID THREAD": parse_thread(by_uid=True),
    b"ESEARCH": parse_multi_search,
    b"CANCELUPDATE": parse_cancel_update,
    b"FETCH": _fetch,
    b"UID FETCH": _uid_fetch,
    b"STORE": _store(by_uid=False),
    b"UID STORE": _store(by_uid=True),
    b"COPY": _to_mailbox(c.Copy, by_uid=False),
    b"UID COPY": _to_mailbox(c.Copy, by_uid=True),
    b"MOVE": _to_mailbox(c.Move, by_uid=False),
    b"UID MOVE": _to_mailbox(c.Move, by_uid=True),
}
