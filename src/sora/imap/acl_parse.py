"""The only place for what SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS say, and how their answers are written.

RFC 4314 3; beside them NAMESPACE with others' mailboxes (RFC 2342) and PERMANENTFLAGS by rights (RFC 4314 5.1.1).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from sora.core import rights
from sora.core.rights import Edit, Rights
from sora.imap import responses
from sora.imap.tokens import BadSyntax, Cursor

CAPABILITIES: Final = frozenset((b"ACL", b"RIGHTS=KXTE", b"LIST-MYRIGHTS"))
"""In capitals: to be hidden where no mailboxes are shared."""
IDENTIFIER_MAX: Final = 600
"""Octets of an identifier: an address (`core.address.ADDRESS_MAX`) and its signs."""
_RIGHTS_MAX: Final = 64
"""Letters of one list of rights: each several times over."""


@attrs.frozen
class SetAcl:
    """SETACL (RFC 4314 3.1)."""

    mailbox: str
    identifier: str
    """Without its minus."""
    edit: Edit
    rights: Rights
    negative: bool = False


@attrs.frozen
class DeleteAcl:
    """DELETEACL (RFC 4314 3.2)."""

    mailbox: str
    identifier: str
    negative: bool = False


@attrs.frozen
class GetAcl:
    """GETACL (RFC 4314 3.3)."""

    mailbox: str


@attrs.frozen
class ListRights:
    """LISTRIGHTS (RFC 4314 3.4)."""

    mailbox: str
    identifier: str
    """As the client wrote it."""


@attrs.frozen
class MyRights:
    """MYRIGHTS (RFC 4314 3.5)."""

    mailbox: str


AclCommand = SetAcl | DeleteAcl | GetAcl | ListRights | MyRights


def _identifier(cursor: Cursor) -> str:
    text = cursor.text("an identifier")
    if not text.removeprefix("-") or len(text.encode()) > IDENTIFIER_MAX:
        raise BadSyntax("the identifier is empty or too long")
    if not text.isprintable():
        raise BadSyntax("the identifier contains control characters")
    return text


def _rights(cursor: Cursor) -> tuple[Edit, Rights]:
    text = cursor.text("rights")
    edit = Edit(text[0]) if text[:1] in ("+", "-") else Edit.REPLACE
    letters = text.removeprefix(edit.value)
    if len(letters) > _RIGHTS_MAX:
        raise BadSyntax("too many rights")
    try:
        return edit, rights.parse(letters)
    except ValueError as error:
        raise BadSyntax(str(error)) from None


def _set_acl(cursor: Cursor) -> AclCommand:
    mailbox = cursor.mailbox()
    cursor.space()
    identifier = _identifier(cursor)
    cursor.space()
    edit, given = _rights(cursor)
    return SetAcl(mailbox, identifier.removeprefix("-"), edit, given, identifier.startswith("-"))


def _delete_acl(cursor: Cursor) -> AclCommand:
    mailbox = cursor.mailbox()
    cursor.space()
    identifier = _identifier(cursor)
    return DeleteAcl(mailbox, identifier.removeprefix("-"), identifier.startswith("-"))


def _list_rights(cursor: Cursor) -> AclCommand:
    mailbox = cursor.mailbox()
    cursor.space()
    return ListRights(mailbox, _identifier(cursor))


READERS: Final[dict[bytes, Callable[[Cursor], AclCommand]]] = {
    b"SETACL": _set_acl,
    b"DELETEACL": _delete_acl,
    b"GETACL": lambda cursor: GetAcl(cursor.mailbox()),
    b"LISTRIGHTS": _list_rights,
    b"MYRIGHTS": lambda cursor: MyRights(cursor.mailbox()),
}


# ------------------------------------------------------------ answers


def acl(mailbox: bytes, entries: Iterable[tuple[str, Rights]]) -> bytes:
    """Write ACL (RFC 4314 3.6); the mailbox's name is written already, negative identifiers have their minus."""
    words = [mailbox]
    for identifier, given in entries:
        words += [_text(identifier), _text(rights.shown(given))]
    return b"* ACL %b\r\n" % b" ".join(words)


def list_rights(mailbox: bytes, identifier: str, *, owner: bool) -> bytes:
    """Write LISTRIGHTS (RFC 4314 3.7): an owner has all rights, everyone else can be given each by itself."""
    words = [rights.shown(rights.ALL)] if owner else ["", *rights.shown(rights.ALL)]
    return b"* LISTRIGHTS %b\r\n" % b" ".join([mailbox, _text(identifier), *map(_text, words)])


def my_rights(mailbox: bytes, mine: Rights) -> bytes:
    """Write MYRIGHTS (RFC 4314 3.8)."""
    return b"* MYRIGHTS %b %b\r\n" % (mailbox, _text(rights.shown(mine)))


def _text(text: str) -> bytes:
    return responses.astring(text.encode()) if text else b'""'


def namespace(others: Sequence[str], shared: Sequence[str], *, utf8: bool = False) -> bytes:
    """Write NAMESPACE (RFC 2342 5): one's own without a prefix, and the prefixes of the other two."""
    lists = [
        b"(%b)" % b"".join(b'(%b "/")' % responses.mailbox(prefix, utf8=utf8) for prefix in prefixes)
        if prefixes
        else b"NIL"
        for prefixes in (("",), others, shared)
    ]
    return b"* NAMESPACE %b\r\n" % b" ".join(lists)


def permanent_flags(keywords: Sequence[str], mine: Rights, *, settable: bool) -> bytes:
    """Write PERMANENTFLAGS as far as rights let flags be set (RFC 4314 5.1.1)."""
    bits = rights.settable(mine)
    if not settable or bits == rights.settable(rights.ALL) or not bits:
        return responses.permanent_flags(keywords, settable=settable and bool(bits))
    words = responses.flag_text(bits, keywords if "w" in mine else ())
    new = responses.new_keywords(keywords) if "w" in mine else b""
    return responses.untagged_ok("flags permitted", code=b"PERMANENTFLAGS (%b%b)" % (words, new))
