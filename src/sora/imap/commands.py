"""The only place for what each IMAP command says: one class per command, arguments parsed and decoded.

`imap/parse` makes them of `framer.Command`; `front/imap` carries them out. Names are canonical (`imap/mailbox_name`).
"""

from datetime import datetime
from enum import Enum

import attrs

from sora.core.criteria import Criteria
from sora.core.flags import Change
from sora.core.uidset import UidSet
from sora.imap.fetch_items import FetchItem

# ------------------------------------------------------------ any state


@attrs.frozen
class Capability:
    """CAPABILITY (RFC 3501 6.1.1)."""


@attrs.frozen
class Noop:
    """NOOP (RFC 3501 6.1.2)."""


@attrs.frozen
class Logout:
    """LOGOUT (RFC 3501 6.1.3)."""


@attrs.frozen
class Id:
    """ID (RFC 2971); `fields` is None for NIL and for a bare ID."""

    fields: tuple[tuple[str, str | None], ...] | None


# ------------------------------------------------------------ not authenticated


@attrs.frozen
class StartTls:
    """STARTTLS (RFC 3501 6.2.1)."""


@attrs.frozen
class Login:
    """LOGIN (RFC 3501 6.2.3)."""

    user: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class Authenticate:
    """AUTHENTICATE (RFC 3501 6.2.2); `initial` is the decoded initial response (RFC 4959), None if absent."""

    mechanism: str
    """Upper-cased."""
    initial: bytes | None = attrs.field(repr=False)


# ------------------------------------------------------------ authenticated


@attrs.frozen
class Enable:
    """ENABLE (RFC 5161); names upper-cased."""

    names: tuple[str, ...]


@attrs.frozen
class Select:
    """SELECT, or EXAMINE if `read_only` (RFC 3501 6.3.1); `condstore` is the parameter of RFC 7162 3.1.8."""

    mailbox: str
    read_only: bool = attrs.field(kw_only=True)
    condstore: bool = attrs.field(kw_only=True, default=False)


@attrs.frozen
class Create:
    """CREATE (RFC 3501 6.3.3); `special_use` as written with USE (RFC 6154), canonical spelling."""

    mailbox: str
    """Without the separator at its end."""
    special_use: tuple[str, ...] = ()


@attrs.frozen
class Delete:
    """DELETE (RFC 3501 6.3.4)."""

    mailbox: str


@attrs.frozen
class Rename:
    """RENAME (RFC 3501 6.3.5)."""

    old: str
    new: str


@attrs.frozen
class Subscribe:
    """SUBSCRIBE (RFC 3501 6.3.6)."""

    mailbox: str


@attrs.frozen
class Unsubscribe:
    """UNSUBSCRIBE (RFC 3501 6.3.7)."""

    mailbox: str


class StatusItem(Enum):
    """What STATUS may ask (RFC 3501 6.3.10, RFC 7162 3.1.7, RFC 8438, RFC 9051 6.3.11)."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    SIZE = b"SIZE"
    DELETED = b"DELETED"


class ListKind(Enum):
    """Which command asked, and so the word its answers start with."""

    LIST = b"LIST"
    LSUB = b"LSUB"
    XLIST = b"XLIST"


class Selection(Enum):
    """Selection options of LIST (RFC 5258 3.1, RFC 6154 2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class Return(Enum):
    """Return options of LIST (RFC 5258 3.2, RFC 6154 2); STATUS is `ListMailboxes.status`."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"


@attrs.frozen
class ListMailboxes:
    """LIST, LSUB and XLIST (RFC 3501 6.3.8, RFC 5258, RFC 5819); patterns are decoded text with wildcards."""

    kind: ListKind
    reference: str
    patterns: tuple[str, ...] = attrs.field(kw_only=True)
    selection: frozenset[Selection] = attrs.field(kw_only=True, default=frozenset())
    returns: frozenset[Return] = attrs.field(kw_only=True, default=frozenset())
    status: tuple[StatusItem, ...] = attrs.field(kw_only=True, default=())
    extended: bool = attrs.field(kw_only=True, default=False)
    """Whether any syntax of RFC 5258 was used; then an empty pattern has no special meaning."""


@attrs.frozen
class Namespace:
    """NAMESPACE (RFC 2342)."""


@attrs.frozen
class Status:
    """STATUS; items in the order asked, each once."""

    mailbox: str
    items: tuple[StatusItem, ...]


@attrs.frozen
class Append:
    """APPEND (RFC 3501 6.3.11); `binary` if the message came as `~{n}` (RFC 3516)."""

    mailbox: str
    message: bytes = attrs.field(repr=False)
    flags: int = attrs.field(kw_only=True, default=0)
    keywords: tuple[str, ...] = attrs.field(kw_only=True, default=())
    internal_date: datetime | None = attrs.field(kw_only=True, default=None)
    binary: bool = attrs.field(kw_only=True, default=False)


@attrs.frozen
class Idle:
    """IDLE (RFC 2177)."""


# ------------------------------------------------------------ selected


@attrs.frozen
class Check:
    """CHECK (RFC 3501 6.4.1)."""


@attrs.frozen
class Close:
    """CLOSE (RFC 3501 6.4.2)."""


@attrs.frozen
class Unselect:
    """UNSELECT (RFC 3691)."""


@attrs.frozen
class Expunge:
    """EXPUNGE, or UID EXPUNGE (RFC 4315 2.1) of `uids`."""

    uids: UidSet | None = None


class SearchReturn(Enum):
    """Result options of SEARCH (RFC 4731)."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"


@attrs.frozen
class Search:
    """SEARCH and UID SEARCH (RFC 3501 6.4.4); `returns` is None without RETURN (RFC 4731)."""

    criteria: Criteria
    by_uid: bool = attrs.field(kw_only=True)
    modseq: bool = attrs.field(kw_only=True, default=False)
    """Whether MODSEQ was a key: the answer then carries the highest (RFC 7162 3.1.5)."""
    returns: frozenset[SearchReturn] | None = attrs.field(kw_only=True, default=None)


@attrs.define
class Fetch:
    """FETCH and UID FETCH (RFC 3501 6.4.5); UID is among the items of every UID FETCH."""

    numbers: UidSet
    items: tuple[FetchItem, ...]
    by_uid: bool = attrs.field(kw_only=True)
    changed_since: int | None = attrs.field(kw_only=True, default=None)


@attrs.define
class Store:
    """STORE and UID STORE (RFC 3501 6.4.6, RFC 7162 3.1.3)."""

    numbers: UidSet
    change: Change
    flags: int = attrs.field(kw_only=True)
    keywords: tuple[str, ...] = attrs.field(kw_only=True)
    silent: bool = attrs.field(kw_only=True)
    unchanged_since: int | None = attrs.field(kw_only=True, default=None)
    by_uid: bool = attrs.field(kw_only=True)


@attrs.frozen
class Copy:
    """COPY and UID COPY (RFC 3501 6.4.7)."""

    numbers: UidSet
    mailbox: str
    by_uid: bool = attrs.field(kw_only=True)


@attrs.frozen
class Move:
    """MOVE and UID MOVE (RFC 6851)."""

    numbers: UidSet
    mailbox: str
    by_uid: bool = attrs.field(kw_only=True)


@attrs.frozen
class UnknownCommand:
    """A command whose name means nothing to sora."""

    name: bytes


Command = (
    Capability
    | Noop
    | Logout
    | Id
    | StartTls
    | Login
    | Authenticate
    | Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | ListMailboxes
    | Namespace
    | Status
    | Append
    | Idle
    | Check
    | Close
    | Unselect
    | Expunge
    | Search
    | Fetch
    | Store
    | Copy
    | Move
    | UnknownCommand
)
