"""The only place for session states: which command is allowed in which, and what each state advertises.

RFC 3501 3 and 6. One constant list of capabilities per state, so that greeting, CAPABILITY and login agree.
"""

from enum import Enum
from functools import cache
from typing import Final

from sora.imap import acl_parse as acl
from sora.imap import commands as c
from sora.imap import metadata_parse as m
from sora.imap import quota_parse as q
from sora.imap import search_commands as sc
from sora.imap import session_commands as s


class State(Enum):
    """Where a session is."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_ANY: Final = frozenset((State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED))
_BEFORE: Final = frozenset((State.NOT_AUTHENTICATED,))
_AFTER: Final = frozenset((State.AUTHENTICATED, State.SELECTED))
_INSIDE: Final = frozenset((State.SELECTED,))
_ACL: Final = (acl.SetAcl, acl.DeleteAcl, acl.GetAcl, acl.ListRights, acl.MyRights)

ALLOWED: Final[dict[type, frozenset[State]]] = {
    **dict.fromkeys((c.Capability, c.Noop, c.Logout, c.Id, c.UnknownCommand), _ANY),
    **dict.fromkeys((c.StartTls, c.Login, c.Authenticate), _BEFORE),
    **dict.fromkeys((c.Enable, c.Select, c.Create, c.Delete, c.Rename, c.Subscribe, c.Unsubscribe), _AFTER),
    **dict.fromkeys((q.GetQuota, q.GetQuotaRoot, q.SetQuota), _AFTER),
    **dict.fromkeys(_ACL, _AFTER),
    **dict.fromkeys((m.GetMetadata, m.SetMetadata), _AFTER),
    **dict.fromkeys((c.ListMailboxes, c.Namespace, c.Status, c.Append, c.Idle), _AFTER),
    **dict.fromkeys((s.Compress, s.Unauthenticate, s.Notify), _AFTER),
    s.Language: _ANY,
    **dict.fromkeys((c.Check, c.Close, c.Unselect, c.Expunge, sc.Search, c.Fetch, c.Store, c.Copy, c.Move), _INSIDE),
    c.Replace: _INSIDE,
    **dict.fromkeys((sc.Sort, sc.Thread, sc.CancelUpdate), _INSIDE),
    sc.MultiSearch: _AFTER,
}
"""In which states each command class is allowed; otherwise it is answered BAD."""


def allowed(command: c.Command, state: State) -> bool:
    """Tell whether the command may be carried out in the state."""
    return state in ALLOWED[type(command)]


_EVERYWHERE: Final = (b"IMAP4rev1", b"IMAP4rev2", b"LITERAL+", b"ID", b"ENABLE", b"IDLE", b"LANGUAGE")
"""In every state."""
_SIGNING_IN: Final = (*_EVERYWHERE, b"SASL-IR")

PERMITTED: Final = (*_SIGNING_IN, b"AUTH=PLAIN")
"""Before login, where a password may be sent."""
REFUSED: Final = (*_SIGNING_IN, b"LOGINDISABLED")
"""Before login, where it may not (RFC 3501 6.2.3)."""
PERMITTED_STARTTLS: Final = (*_SIGNING_IN, b"STARTTLS", b"AUTH=PLAIN")
"""The same where TLS can be begun (RFC 3501 6.2.1)."""
REFUSED_STARTTLS: Final = (*_SIGNING_IN, b"STARTTLS", b"LOGINDISABLED")
AUTHENTICATED: Final = (
    *_EVERYWHERE,
    b"NAMESPACE",
    b"CHILDREN",
    b"UNSELECT",
    b"UIDPLUS",
    b"MOVE",
    b"CONDSTORE",
    b"QRESYNC",
    b"UIDONLY",
    b"SPECIAL-USE",
    b"CREATE-SPECIAL-USE",
    b"BINARY",
    b"APPENDLIMIT",
    b"CATENATE",
    b"LIST-EXTENDED",
    b"LIST-STATUS",
    b"MULTIAPPEND",
    b"OBJECTID",
    b"PARTIAL",
    b"PREVIEW",
    b"REPLACE",
    b"SAVEDATE",
    b"STATUS=SIZE",
    b"COMPRESS=DEFLATE",
    b"UNAUTHENTICATE",
    b"I18NLEVEL=1",
    b"INPROGRESS",
    b"UTF8=ACCEPT",
    b"NOTIFY",
    b"XLIST",
    b"CONTEXT=SEARCH",
    b"CONTEXT=SORT",
    b"ESEARCH",
    b"ESORT",
    b"FILTERS",
    b"MULTISEARCH",
    b"SEARCH=FUZZY",
    b"SEARCHRES",
    b"SORT",
    b"SORT=DISPLAY",
    b"THREAD=ORDEREDSUBJECT",
    b"THREAD=REFERENCES",
    b"THREAD=REFS",
    b"WITHIN",
    b"QUOTA",
    b"QUOTA=RES-STORAGE",
    b"QUOTA=RES-MESSAGE",
    b"QUOTA=RES-MAILBOX",
    b"QUOTASET",
    b"ACL",
    b"RIGHTS=kxte",
    b"LIST-MYRIGHTS",
    b"METADATA",
    b"METADATA-SERVER",
    b"LIST-METADATA",
)
"""After login: one line each, in no order that means anything."""

ENABLEABLE: Final = frozenset(("CONDSTORE", "QRESYNC", "UIDONLY", "IMAP4REV2", "UTF8=ACCEPT"))
"""What ENABLE turns on (RFC 5161 3.1), in capitals; other names are ignored."""

KNOWN: Final = frozenset(name.upper() for name in (*PERMITTED_STARTTLS, *REFUSED, *AUTHENTICATED))
"""Everything that is advertised anywhere, in capitals."""

NEEDED: Final[dict[type, bytes]] = {
    c.Id: b"ID",
    c.Enable: b"ENABLE",
    c.Idle: b"IDLE",
    q.GetQuota: b"QUOTA",
    q.GetQuotaRoot: b"QUOTA",
    q.SetQuota: b"QUOTASET",
    **dict.fromkeys(_ACL, b"ACL"),
    **dict.fromkeys((m.GetMetadata, m.SetMetadata), b"METADATA"),
    c.Namespace: b"NAMESPACE",
    c.Unselect: b"UNSELECT",
    c.Move: b"MOVE",
    sc.Sort: b"SORT",
    sc.Thread: b"THREAD=REFERENCES",
    sc.MultiSearch: b"MULTISEARCH",
    sc.CancelUpdate: b"CONTEXT=SEARCH",
    s.Compress: b"COMPRESS=DEFLATE",
    s.Unauthenticate: b"UNAUTHENTICATE",
    s.Language: b"LANGUAGE",
    s.Notify: b"NOTIFY",
    c.Replace: b"REPLACE",
}
"""The capability that a command belongs to: where that is hidden the command is not known."""


def advertised(state: State, *, plaintext_permitted: bool, starttls: bool = False) -> tuple[bytes, ...]:
    """Return the constant of a state; `plaintext_permitted`: a password may be sent on this connection."""
    if state is not State.NOT_AUTHENTICATED:
        return AUTHENTICATED
    if plaintext_permitted:
        return PERMITTED_STARTTLS if starttls else PERMITTED
    return REFUSED_STARTTLS if starttls else REFUSED


@cache
def offers(name: bytes, shown: bytes) -> bool:
    """Tell whether a capability, in capitals, is in a list that `capabilities` made."""
    return name in shown.upper().split()


@cache
def capabilities(
    state: State,
    *,
    plaintext_permitted: bool,
    starttls: bool = False,
    hidden: frozenset[bytes] = frozenset(),
    append_max: int | None = None,
) -> bytes:
    """Return the capability list of a state without the `hidden` ones, which are in capitals.

    LITERAL- stands in for a hidden LITERAL+ (RFC 7888 5: never both). `append_max` is the limit of all mailboxes
    (RFC 7889 2), which is not said if it is None.
    """
    names = advertised(state, plaintext_permitted=plaintext_permitted, starttls=starttls)
    shown = [b"LITERAL-" if name == b"LITERAL+" and b"LITERAL+" in hidden else name for name in names]
    shown = [name for name in shown if name.upper() not in hidden]
    if append_max is not None:
        shown = [b"APPENDLIMIT=%d" % append_max if name == b"APPENDLIMIT" else name for name in shown]
    return b" ".join(shown)
