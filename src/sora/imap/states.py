"""The only place for session states: which command is allowed in which, and what each state advertises.

RFC 3501 3 and 6. One constant list of capabilities per state, so that greeting, CAPABILITY and login agree.
"""

from enum import Enum
from typing import Final

from sora.imap import commands as c


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

ALLOWED: Final[dict[type, frozenset[State]]] = {
    **dict.fromkeys((c.Capability, c.Noop, c.Logout, c.Id, c.UnknownCommand), _ANY),
    **dict.fromkeys((c.StartTls, c.Login, c.Authenticate), _BEFORE),
    **dict.fromkeys((c.Enable, c.Select, c.Create, c.Delete, c.Rename, c.Subscribe, c.Unsubscribe), _AFTER),
    **dict.fromkeys((c.ListMailboxes, c.Namespace, c.Status, c.Append, c.Idle), _AFTER),
    **dict.fromkeys((c.Check, c.Close, c.Unselect, c.Expunge, c.Search, c.Fetch, c.Store, c.Copy, c.Move), _INSIDE),
}
"""In which states each command class is allowed; otherwise it is answered BAD."""


def allowed(command: c.Command, state: State) -> bool:
    """Tell whether the command may be carried out in the state."""
    return state in ALLOWED[type(command)]


_BASE: Final = b"IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE"

PERMITTED: Final = _BASE + b" AUTH=PLAIN"
"""Before login, where a password may be sent."""
REFUSED: Final = _BASE + b" LOGINDISABLED"
"""Before login, where it may not (RFC 3501 6.2.3)."""
REFUSED_STARTTLS: Final = _BASE + b" STARTTLS LOGINDISABLED"
PERMITTED_STARTTLS: Final = _BASE + b" STARTTLS AUTH=PLAIN"
AUTHENTICATED: Final = (
    b"IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE CONDSTORE"
    b" SPECIAL-USE CREATE-SPECIAL-USE BINARY XLIST"
)
"""After login."""

ENABLEABLE: Final = frozenset(("CONDSTORE",))
"""What ENABLE turns on (RFC 5161 3.1); other names are ignored."""


def capabilities(state: State, *, plaintext_permitted: bool, starttls: bool = False) -> bytes:
    """Return the capability list of a state; `plaintext_permitted`: a password may be sent on this connection."""
    if state is not State.NOT_AUTHENTICATED:
        return AUTHENTICATED
    if plaintext_permitted:
        return PERMITTED_STARTTLS if starttls else PERMITTED
    return REFUSED_STARTTLS if starttls else REFUSED
