"""The only place for what each IMAP command says: one class per command, arguments parsed and decoded.

`imap/parse` makes them of `framer.Command`; `front/imap` carries them out. Names are canonical (`imap/mailbox_name`).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import attrs

from sora.core.flags import Change
from sora.core.uidset import UidSet
from sora.imap.acl_parse import AclCommand
from sora.imap.fetch_items import FetchItem, FetchModifiers
from sora.imap.metadata_parse import MetadataCommand
from sora.imap.quota_parse import QuotaCommand
from sora.imap.resync import Resync
from sora.imap.search_commands import CancelUpdate, MultiSearch, Search, Sort, Thread
from sora.imap.session_commands import SessionCommand

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
    resync: Resync | None = attrs.field(kw_only=True, default=None)
    """QRESYNC (RFC 7162 3.2.5)."""
    written: str | None = attrs.field(kw_only=True, default=None)
    """The name as the client wrote it, if that is not the canonical one (RFC 9051 6.3.9.7)."""


@attrs.frozen
class Create:
    """CREATE (RFC 3501 6.3.3); `special_use` as written with USE (RFC 6154), canonical spelling."""

    mailbox: str
    """Without the separator at its end."""
    special_use: tuple[str, ...] = ()
    written: str | None = None
    """As in `Select`."""


@attrs.frozen
class Delete:
    """DELETE (RFC 3501 6.3.4)."""

    mailbox: str
    written: str | None = None
    """As in `Select`."""


@attrs.frozen
class Rename:
    """RENAME (RFC 3501 6.3.5)."""

    old: str
    new: str
    written: str | None = None
    """The old name as the client wrote it, if either was not written canonically."""


@attrs.frozen
class Subscribe:
    """SUBSCRIBE (RFC 3501 6.3.6)."""

    mailbox: str


@attrs.frozen
class Unsubscribe:
    """UNSUBSCRIBE (RFC 3501 6.3.7)."""

    mailbox: str


class StatusItem(Enum):
    """What STATUS may ask (RFC 3501 6.3.10, RFC 7162 3.1.7, RFC 7889, RFC 8438, RFC 8474 4.3, RFC 9208 4.1.4)."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    SIZE = b"SIZE"
    DELETED = b"DELETED"
    DELETED_STORAGE = b"DELETED-STORAGE"
    APPENDLIMIT = b"APPENDLIMIT"
    MAILBOXID = b"MAILBOXID"


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
    """Return options of LIST (RFC 5258 3.2, RFC 6154 2, RFC 8440, RFC 9590); STATUS is `ListMailboxes.status`."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"
    MYRIGHTS = b"MYRIGHTS"
    METADATA = b"METADATA"


@attrs.frozen
class ListMailboxes:
    """LIST, LSUB and XLIST (RFC 3501 6.3.8, RFC 5258, RFC 5819); patterns are decoded text with wildcards."""

    kind: ListKind
    reference: str
    patterns: tuple[str, ...] = attrs.field(kw_only=True)
    selection: frozenset[Selection] = attrs.field(kw_only=True, default=frozenset())
    returns: frozenset[Return] = attrs.field(kw_only=True, default=frozenset())
    arguments: Mapping[Return, object] = attrs.field(kw_only=True, factory=dict)
    """What was said with a return option that takes something: as its reader in `list_parse.ARGUMENTS` gave it."""
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
class MessageUrl:
    """A part that CATENATE takes from a stored message: an IMAP URL as the client wrote it (RFC 4469 3)."""

    text: bytes


@attrs.frozen
class NewText:
    """One message of APPEND or REPLACE (RFC 4466, append-message): the parts of its octets, and its attributes."""

    parts: tuple[bytes | MessageUrl, ...] = attrs.field(repr=False)
    flags: int = attrs.field(kw_only=True, default=0)
    keywords: tuple[str, ...] = attrs.field(kw_only=True, default=())
    internal_date: datetime | None = attrs.field(kw_only=True, default=None)
    utf8: bool = attrs.field(kw_only=True, default=False)
    """Whether UTF8 (RFC 6855 4) was said of any part."""


@attrs.frozen
class Append:
    """APPEND (RFC 3501 6.3.11) of one message or several (RFC 3502)."""

    mailbox: str
    messages: tuple[NewText, ...]
    written: str | None = None
    """As in `Select`."""


@attrs.frozen
class Replace:
    """REPLACE and UID REPLACE (RFC 8508): `message` comes, `number` (or UID, or the last of all: `STAR`) goes."""

    number: int
    mailbox: str
    message: NewText = attrs.field(kw_only=True)
    by_uid: bool = attrs.field(kw_only=True)


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


@attrs.define
class Fetch:
    """FETCH and UID FETCH (RFC 3501 6.4.5); UID is among the items of every UID FETCH."""

    numbers: UidSet
    items: tuple[FetchItem, ...]
    by_uid: bool = attrs.field(kw_only=True)
    uid_implied: bool = attrs.field(kw_only=True, default=False)
    """Whether the client did not ask for UID itself."""
    modifiers: FetchModifiers = attrs.field(kw_only=True, default=FetchModifiers())


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
    | SessionCommand
    | Status
    | Append
    | Replace
    | Idle
    | Check
    | Close
    | Unselect
    | Expunge
    | Search
    | Sort
    | Thread
    | MultiSearch
    | CancelUpdate
    | Fetch
    | Store
    | Copy
    | Move
    | AclCommand
    | MetadataCommand
    | QuotaCommand
    | UnknownCommand
)
