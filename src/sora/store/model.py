"""The rows and requests that cross the store's interfaces: values only, no behaviour that does I/O."""

from array import array
from collections.abc import Sequence
from datetime import datetime
from enum import Enum, Flag, auto
from typing import Final

import attrs

from sora.core.flags import Change
from sora.core.ids import AccountId, BodyId, EmailId, MailboxId, ModSeq, ThreadId, Uid
from sora.core.quota import Filled
from sora.core.rights import ALL, Rights
from sora.mime.description import Described

# ---------------------------------------------------------------- accounts


class AccountStatus(Enum):
    """Whether an account may be used; mail for a suspended one is still taken."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@attrs.frozen
class Credential:
    """One secret that opens an account: its hash, never the secret."""

    id: int
    hash: str


@attrs.frozen
class Login:
    """What signing in needs to know of an account."""

    account: AccountId
    address: str
    """The account's primary address."""
    status: AccountStatus
    credentials: tuple[Credential, ...]
    bare: bool = False
    """Whether it has no mailbox besides INBOX, as before its first sign-in."""


@attrs.frozen
class Recipient:
    """Where mail for one address goes."""

    account: AccountId
    address: str
    """The account's primary address."""
    status: AccountStatus
    inbox: MailboxId


@attrs.frozen
class AccountRow:
    """An account as the administrator sees it."""

    id: AccountId
    address: str
    aliases: tuple[str, ...]
    status: AccountStatus
    created_at: datetime
    mailboxes: int
    messages: int
    size: int
    """Octets of all messages."""


# ---------------------------------------------------------------- mailboxes


@attrs.frozen
class NewMailbox:
    """A mailbox to create with an account, or by CREATE."""

    name: str
    special_use: str | None = None
    """`\\Sent` and so on (RFC 6154), with the backslash."""
    subscribed: bool = False


@attrs.frozen
class MailboxRow:
    """A mailbox with its counters; counters equal a recount at any time."""

    id: MailboxId
    name: str
    special_use: str | None
    uid_validity: int
    uid_next: int
    highest_modseq: ModSeq
    messages: int
    unseen: int
    deleted: int
    size: int
    deleted_size: int
    recent: int
    """Messages no session was told are \\Recent yet."""
    keywords: tuple[str, ...]
    subscribed: bool
    rights: Rights = ALL
    """What whoever asked may do in it."""


@attrs.frozen
class Named:
    """A mailbox by its name, found by the very statement that uses it."""

    account: AccountId
    name: str


@attrs.frozen
class Listing:
    """All that LIST, LSUB and STATUS need, read at once."""

    mailboxes: tuple[MailboxRow, ...]
    """Ascending by name."""
    subscriptions: tuple[str, ...]
    """Names, also of mailboxes that do not exist (RFC 3501 6.3.6)."""


@attrs.frozen
class Columns:
    """The messages of a mailbox as packed columns, ascending by UID, all of one length."""

    uids: "array[int]"
    """typecode `I`"""
    flags: "array[int]"
    """typecode `B`: bits of `core.flags`"""
    modseqs: "array[int]"
    """typecode `Q`"""
    keywords: dict[int, tuple[str, ...]]
    """Only the UIDs that have keywords."""


@attrs.frozen
class Reach:
    """How far back a mailbox can tell what happened to it."""

    forgotten: int = 0
    """The greatest modseq among departures that are forgotten."""
    lost_from: int = 0
    lost_to: int = 0
    """Modseqs between the two were perhaps given to changes that a crash took back."""

    def tells_changes(self, since: int) -> bool:
        """Tell whether modseqs show all that changed for one who knows the mailbox at `since`."""
        return not self.lost_from < since < self.lost_to

    def tells_departures(self, since: int) -> bool:
        """Tell whether all that vanished after `since` is remembered, and nothing that it knows came back."""
        return since >= self.forgotten and self.tells_changes(since)


@attrs.frozen
class Opened:
    """The answer to opening a mailbox: its row and its messages, of one moment."""

    mailbox: MailboxRow
    columns: Columns
    recent_from: Uid
    """UIDs from here on are \\Recent in this session (RFC 3501 2.3.2)."""
    reach: Reach = Reach()
    earlier: "array[int] | None" = None
    """Asked for with `vanished_since`: UIDs that left after it, ascending, as far as `reach` tells."""


@attrs.frozen
class Changes:
    """What happened in a mailbox after a modseq, up to `mailbox.highest_modseq`."""

    mailbox: MailboxRow
    columns: Columns
    """Messages that are new or changed, as they are now."""
    vanished: "array[int]"
    """UIDs expunged since, ascending; some may never have been seen by the asker."""
    recent_from: Uid
    """UIDs from here on were never shown as \\Recent."""
    whole: bool = False
    """Whether `columns` are all messages there are: `reach` does not go back to what the asker knows."""
    reach: Reach = Reach()
    earlier: "array[int] | None" = None
    """As of `Opened`."""


# ---------------------------------------------------------------- bodies and messages


@attrs.frozen
class BodyRef:
    """Enough to find a body's bytes, wherever they are."""

    id: BodyId
    hash: bytes
    """BLAKE3, 32 octets, of the bytes as received."""
    size: int
    object_key: str
    """The object store's key: scope, hash and a nonce, never used twice."""
    staged: bool
    """Whether the bytes may still lie in PostgreSQL (and perhaps nowhere else)."""


@attrs.define
class NewBody:
    """A body on its way in."""

    scope: str
    """Dedup scope: `account/7`, `domain/example.org` or `global`."""
    hash: bytes
    size: int
    object_key: str
    data: bytes | None
    """The bytes to stage; None when the object store has them already."""
    described: Described


TRACE_FIELDS: Final = frozenset(("return-path", "delivered-to", "received"))
"""The fields of trace headers, in small letters: whoever seeks another need not look into them."""


@attrs.define
class NewMessage:
    """A message to insert: which body, where, with what around it."""

    mailbox: MailboxId | Named
    body: NewBody
    """Messages of one batch that share a `NewBody` object share one stored body."""
    trace: bytes = b""
    """The per-copy trace header, whole lines with CRLF, prepended on reading; of `TRACE_FIELDS` only."""
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internal_date: datetime | None = None
    """None: now."""
    seen_by: AccountId | None = None
    """Who has seen it already, of those with a \\Seen of their own there; that is not in `flags`."""
    suppress: tuple[str, float] | None = None
    """(recipient line of the trace, window in seconds): if a message with the same body and that very
    line came to the same account within the window, this one is a retry and is not stored again."""


@attrs.frozen
class Inserted:
    """Where a message went."""

    uid_validity: int
    uid: Uid
    modseq: ModSeq
    duplicate: bool = False
    """The message was there already; the numbers are those of the earlier copy, or 0 if it has moved on."""
    body: BodyRef | None = None
    """Where the body is, so that the writer can fill caches."""
    filled: Filled | None = None
    """How full it made the account, if that has a quota."""
    secret: bool = False
    """Whether its UID is not to be told to who put it there, who may not read the mailbox (RFC 9051 6.3.12)."""


class Want(Flag):
    """Which columns a fetch reads; UID, flags and modseq come from the view and need no reading."""

    INTERNAL_DATE = auto()
    SAVE_DATE = auto()
    DATES = INTERNAL_DATE | SAVE_DATE
    EMAIL = auto()
    THREAD = auto()
    SIZE = auto()
    ENVELOPE = auto()
    STRUCTURE = auto()
    BODY = auto()
    HEADER = auto()
    """trace and stored header block"""
    BYTES = auto()
    """trace and body reference"""
    PREVIEW = auto()
    LISTED = INTERNAL_DATE | SAVE_DATE | EMAIL | THREAD | SIZE | ENVELOPE | STRUCTURE | BODY | PREVIEW
    """What a listing may ask for."""


@attrs.define
class FetchRow:
    """What a fetch read of one message; what was not wanted is None."""

    uid: Uid
    internal_date: datetime | None = None
    save_date: datetime | None = None
    size: int | None = None
    """RFC822.SIZE: trace and body."""
    email: EmailId | None = None
    thread: ThreadId | None = None
    envelope: bytes | None = None
    structure: bytes | None = None
    body: bytes | None = None
    trace: bytes | None = None
    header: bytes | None = None
    """None also when too large to be stored apart: read the body."""
    ref: BodyRef | None = None
    preview: str | None = None


@attrs.define
class Listed:
    """What a listing read, as columns, ascending by UID and all of one length; what was not wanted is empty."""

    uids: "array[int]"
    """typecode `I`"""
    internal_dates: Sequence[int] = ()
    """Seconds since 1970, UTC."""
    sizes: Sequence[int] = ()
    """RFC822.SIZE: trace and body."""
    envelopes: Sequence[bytes] = ()
    structures: Sequence[bytes] = ()
    bodies: Sequence[bytes] = ()
    save_dates: Sequence[int] = ()
    """As `internal_dates`."""
    emails: Sequence[int] = ()
    threads: Sequence[int] = ()
    previews: Sequence[bytes] = ()
    """UTF-8."""


@attrs.frozen
class FlagChange:
    """A STORE: on which messages, what, and on which condition."""

    uids: tuple[int, ...]
    change: Change
    flags: int
    keywords: tuple[str, ...]
    unchanged_since: int | None = None


@attrs.frozen
class FlagsStored:
    """A STORE's outcome."""

    modseq: ModSeq
    """The mailbox's highest modseq after it."""
    columns: Columns
    """The named messages that exist and were not refused, as they are now (changed or not)."""
    changed: bool
    """Whether the operation changed anything; otherwise `modseq` is that of an earlier change, perhaps another's."""
    refused: tuple[int, ...]
    """UIDs changed after `unchanged_since` (RFC 7162 3.1.3, MODIFIED)."""


@attrs.frozen
class Copied:
    """A COPY's or MOVE's outcome; `source[i]` became `target[i]`."""

    uid_validity: int
    source: Sequence[int]
    """UIDs, ascending."""
    target: Sequence[int]
    mailbox: MailboxId
    """The target."""
    left: ModSeq | None = None
    """After a MOVE of anything: the modseq at which the source lost them."""
    secret: bool = False
    """As in `Inserted`."""


@attrs.frozen
class Sight:
    """Whose \\Seen a COPY or MOVE goes by, where one has a \\Seen of one's own in one of the two mailboxes."""

    reader: AccountId
    here: bool = False
    """Whether the reader has a \\Seen of his own in the source."""
    there: bool = False
    """Whether he has one in the target."""
    kept: bool = True
    """Whether he may set it there (the right `s`)."""


@attrs.frozen
class Found:
    """A search's outcome."""

    uids: "array[int]"
    """typecode `I`, ascending"""
    undecided: "array[int]"
    """UIDs whose stored text is incomplete and which only their bytes can decide."""


@attrs.frozen
class Actor:
    """Who does something, for tombstones and the audit trail."""

    account: AccountId | None
    address: str
    protocol: str
    session: str


# ---------------------------------------------------------------- upload and collection


@attrs.frozen
class Upload:
    """A staged body claimed by an uploader."""

    ref: BodyRef
    data: bytes
    attempts: int


@attrs.frozen
class Finding:
    """Something `check` found wrong: `kind` is a stable word, `where` names the rows."""

    kind: str
    where: str
    detail: str
    ids: tuple[int, ...] = ()
    """What `Audit.repair` needs: the ids of a mailbox and a message in it (its UID), of a body, or of an account."""


@attrs.frozen
class Slice:
    """Consecutive ids of one table, small enough to be looked at in one short transaction."""

    table: str
    after: int = 0
    upto: int | None = None
    """The last id; None: all that follow."""
