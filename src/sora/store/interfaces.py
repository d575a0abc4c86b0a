"""What the use cases ask of storage. Each method is one operation and, in PostgreSQL, one round trip.

All methods return Deferreds. All may fail with `DatabaseUnavailable` or `Busy`; methods that change
something may fail with `CommitUnknown`. Other errors are named. Names of mailboxes are already canonical
(`INBOX` in capitals, Unicode NFC, "/" between levels). Implementations: `postgres`, `store.memory`.

`reader` is an account that has a \\Seen of its own in mailboxes of others: it sees its own where the messages have
their owner's, the later of two modseqs where its own has changed, and its own number of unseen messages. None: as the
owner.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from sora.core.criteria import Criteria
from sora.core.events import FeedLost, MailboxChanged
from sora.core.ids import AccountId, BodyId, MailboxId, ModSeq, Uid
from sora.core.ordering import Order
from sora.store.annotations import Annotations
from sora.store.columns import Fields, Name, Numbers
from sora.store.grants import Grants
from sora.store.model import (
    AccountRow,
    AccountStatus,
    Actor,
    BodyRef,
    Changes,
    Copied,
    FetchRow,
    Finding,
    FlagChange,
    FlagsStored,
    Found,
    Inserted,
    Listed,
    Listing,
    Login,
    MailboxRow,
    Named,
    NewMailbox,
    NewMessage,
    Opened,
    Recipient,
    Sight,
    Slice,
    Upload,
    Want,
)
from sora.store.quotas import Quotas
from sora.store.text_index import TextIndexes
from sora.store.threads import ThreadRows

CLAIM_OCTETS: Final = 8_388_608
"""Octets that one claim of uploads brings at most: they come as text of twice the length."""


class Accounts(Protocol):
    """Accounts, their addresses and credentials. Addresses are canonical text (`core.address`)."""

    def login(self, address: str) -> "Deferred[Login | None]":
        """Find the account that an address opens, with its credentials; deleted accounts included."""

    def recipients(self, addresses: Sequence[str]) -> "Deferred[dict[str, Recipient]]":
        """Resolve addresses (aliases too); unknown and deleted ones are absent from the answer."""

    def create(
        self, address: str, password_hash: str, mailboxes: Sequence[NewMailbox], *, aliases: Sequence[str] = ()
    ) -> "Deferred[AccountId]":
        """Create an account with its first mailboxes. Raises `AccountExists` if any address is taken."""

    def rows(self, *, after: str = "", limit: int = 1000, domain: str | None = None) -> "Deferred[list[AccountRow]]":
        """List accounts, ascending by address, those after `after`; deleted ones included."""

    def row(self, address: str) -> "Deferred[AccountRow]":
        """Read one account by any of its addresses. Raises `NoSuchAccount`."""

    def set_password(self, account: AccountId, password_hash: str) -> "Deferred[None]":
        """Replace all credentials of the account by one."""

    def replace_hash(self, credential: int, old_hash: str, new_hash: str) -> "Deferred[None]":
        """Store a stronger hash of the same secret, unless it changed meanwhile."""

    def add_alias(self, account: AccountId, address: str) -> "Deferred[None]":
        """Give the account another address. Raises `AccountExists`."""

    def remove_alias(self, account: AccountId, address: str) -> "Deferred[None]":
        """Take an address that is not the primary one away. Raises `NoSuchAccount`."""

    def set_status(self, account: AccountId, status: AccountStatus) -> "Deferred[None]":
        """Suspend, reactivate or delete; deletion is completed by the collector after the grace."""


class Mailboxes(Protocol):
    """An account's mailboxes and subscriptions."""

    def listing(self, account: AccountId) -> "Deferred[Listing]":
        """Read all mailboxes with counters, and all subscriptions."""

    def find(self, account: AccountId, name: str, *, reader: AccountId | None = None) -> "Deferred[MailboxRow]":
        """Read one mailbox. Raises `NoSuchMailbox`."""

    def create(self, account: AccountId, mailbox: NewMailbox) -> "Deferred[MailboxRow]":
        """Create a mailbox and its missing parents. Raises `MailboxExists`, `SpecialUseTaken`, `LimitReached`."""

    def furnish(self, account: AccountId, mailboxes: Sequence[NewMailbox]) -> "Deferred[None]":
        """Create mailboxes of one level, unless the account has any besides INBOX; what is there stays as it is."""

    def set_special_use(self, mailbox: MailboxId, use: str | None) -> "Deferred[None]":
        """Give a mailbox a special use, or take it away. Raises `NoSuchMailbox`, `SpecialUseTaken`."""

    def delete(self, account: AccountId, name: str, actor: Actor) -> "Deferred[MailboxId]":
        """Delete a mailbox; its messages become tombstones. Raises `NoSuchMailbox`, `MailboxHasChildren`.

        Announced with modseq 0: sessions that have it selected must end it.
        """

    def rename(self, account: AccountId, old: str, new: str) -> "Deferred[None]":
        """Rename a mailbox and all below it; missing parents of `new` are created; subscriptions stay by name.

        Raises `NoSuchMailbox`, `MailboxExists`, `MailboxNameInvalid` (`new` lies below `old`). INBOX: `rename_inbox`.
        """

    def rename_inbox(self, account: AccountId, new: str, actor: Actor) -> "Deferred[None]":
        """Create `new` and move all messages of INBOX into it (RFC 3501 6.3.5)."""

    def subscribe(self, account: AccountId, name: str) -> "Deferred[None]":
        """Subscribe to a name, whether or not it exists. Raises `LimitReached`."""

    def unsubscribe(self, account: AccountId, name: str) -> "Deferred[None]":
        """Unsubscribe from a name; harmless if not subscribed."""

    def open(
        self,
        account: AccountId,
        name: str,
        *,
        claim_recent: bool,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> "Deferred[Opened]":
        """Read a mailbox with all its messages' UIDs and flags. Raises `NoSuchMailbox`.

        `claim_recent` (SELECT, not EXAMINE): later sessions will not be told that these are \\Recent.
        `vanished_since`: read also which UIDs left after this modseq (QRESYNC, RFC 7162 3.2.5).
        """

    def changes(
        self,
        mailbox: MailboxId,
        since: ModSeq,
        *,
        claim_recent: bool = False,
        vanished_since: ModSeq | None = None,
        reader: AccountId | None = None,
    ) -> "Deferred[Changes]":
        """Read what changed after `since`, or everything if that is not known any more.

        Raises `NoSuchMailbox` if the mailbox was deleted. The others as for `open`.
        """


class Messages(Protocol):
    """The messages in mailboxes."""

    def insert(self, messages: Sequence[NewMessage]) -> "Deferred[list[Inserted | Exception]]":
        """Insert messages: deliveries of many senders at once, or one APPEND.

        All that can be stored are committed together; a member that cannot (its mailbox is gone:
        `NoSuchMailbox`; `UidsExhausted`; `OverQuota`; `LimitReached`) has its error in its place, without
        harm to the others. The Deferred fails only if none could be stored.
        """

    def insert_whole(self, messages: Sequence[NewMessage]) -> "Deferred[list[Inserted]]":
        """Insert messages in one transaction, all or none, under consecutive UIDs if they go to one mailbox.

        Raises why one of them cannot be, as `insert` says it in its place.
        """

    def replace(self, source: MailboxId, uid: int, message: NewMessage, actor: Actor) -> "Deferred[Inserted]":
        """Insert a message and turn another one into a tombstone, both or neither; a quota sees the difference.

        Raises as `insert_whole`, and `NoSuchMessage`.
        """

    def fetch(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> "Deferred[list[FetchRow]]":
        """Read columns of messages, ascending by UID; messages that are gone are absent."""

    def listing(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> "Deferred[Listed]":
        """Read as `fetch` does what is within `Want.LISTED`, as columns: much cheaper for many messages."""

    def store(
        self, mailbox: MailboxId, changes: Sequence[FlagChange], *, reader: AccountId | None = None
    ) -> "Deferred[list[FlagsStored]]":
        """Change flags; several changes are applied in their order, atomically. A `reader` changes his own \\Seen.

        Raises `NoSuchMailbox`, `LimitReached` (too many keywords).
        """

    def copy(
        self, source: MailboxId, uids: Sequence[int], target: MailboxId | Named, *, sight: Sight | None = None
    ) -> "Deferred[Copied]":
        """Copy messages, all or none; UIDs that are gone are left out.

        With a `sight` the copies are \\Seen for its reader if he has seen the messages; for an owner of the target who
        does not own the source as well they are not.

        Raises `NoSuchMailbox`, `UidsExhausted`, `OverQuota`, `LimitReached`.
        """

    def move(
        self,
        source: MailboxId,
        uids: Sequence[int],
        target: MailboxId | Named,
        actor: Actor,
        *,
        sight: Sight | None = None,
    ) -> "Deferred[Copied]":
        """Move messages atomically; also within one mailbox (new UIDs). Raises as `copy`."""

    def expunge(
        self, mailbox: MailboxId, uids: Sequence[int] | None, actor: Actor
    ) -> "Deferred[tuple[ModSeq, array[int]]]":
        """Turn messages that are \\Deleted (of those named, or all) into tombstones; returns modseq and their UIDs."""

    def search(
        self,
        mailbox: MailboxId,
        criteria: Criteria,
        *,
        recent_from: Uid,
        uid_max: int,
        reader: AccountId | None = None,
        among: Sequence[int] | None = None,
    ) -> "Deferred[Found]":
        """Evaluate criteria exactly over messages with UID up to `uid_max`; `Numbers` were replaced by `Uids`.

        `among`: only over those, whose cost it then is.

        Raises `NoSuchMailbox`, `LimitReached` if it takes too long.
        """

    def search_many(
        self, mailboxes: Sequence[MailboxId], criteria: Criteria, *, reader: AccountId | None = None
    ) -> "Deferred[dict[MailboxId, Found]]":
        """Evaluate criteria over all messages of each mailbox; `Numbers` and `*` are those of each.

        A `reader` may own some of the mailboxes: there he is their owner.
        Mailboxes that are gone are absent, and so are those where nothing matches. Raises `LimitReached`.
        """

    def column(
        self, mailbox: MailboxId, name: Name, *, after: int, uid_max: int, limit: int
    ) -> "Deferred[Fields | Numbers]":
        """Read what never changes of the first `limit` messages above `after`: a header field, or a number."""

    def order(
        self, mailbox: MailboxId, order: Order, uids: Sequence[int] | None, *, uid_max: int
    ) -> "Deferred[array[int]]":
        """Return UIDs up to `uid_max`, of those named or all, in an order without RELEVANCY; the gone are left out."""

    def threading(
        self, mailbox: MailboxId, uids: Sequence[int] | None, *, after: int, uid_max: int, limit: int
    ) -> "Deferred[ThreadRows]":
        """Read what threads are made of: of the first `limit` messages above `after`, all or those named."""


class Bodies(Protocol):
    """Where bodies are: staging, upload and collection."""

    def staged(self, bodies: Sequence[BodyId]) -> "Deferred[dict[BodyId, bytes]]":
        """Read staged bytes; a body that was uploaded meanwhile is absent."""

    def claim_uploads(
        self, limit: int, lease: float, *, octets_max: int = CLAIM_OCTETS, uploaded: Sequence[BodyId] = ()
    ) -> "Deferred[list[Upload]]":
        """Record bodies as `uploaded`, then claim staged ones whose turn has come, for `lease` seconds.

        At most `limit` and `octets_max` octets, one at least; no two claimants get the same one.
        """

    def uploaded(self, bodies: Sequence[BodyId]) -> "Deferred[None]":
        """Record that the object store verifiably has the bodies, and drop the staged bytes."""

    def upload_failed(self, body: BodyId, reason: str, retry_after: float) -> "Deferred[None]":
        """Record a failed attempt; the body is due again after `retry_after` seconds."""

    def upload_backlog(self) -> "Deferred[tuple[int, int, float]]":
        """Return how many bodies are staged, their octets, and the age of the oldest in seconds."""

    def collect(self, *, grace: float, generation: float, limit: int) -> "Deferred[list[str]]":
        """Do one bounded step of collection and return object keys that may be deleted now.

        Tombstones older than `grace` go; a body nobody refers to is condemned, and removed if it is
        still unreferenced `generation` seconds later. Keys stay listed until `discarded`.
        """

    def discarded(self, keys: Sequence[str]) -> "Deferred[None]":
        """Record that the objects are gone from the object store."""


class Audit(Protocol):
    """What `sora-admin check` reads, and how it mends what can be mended."""

    def next_slice(self, done: Slice | None) -> "Deferred[Slice | None]":
        """Return what to look at after a slice, or first; None at the end."""

    def findings(self, among: Slice | None = None) -> "Deferred[list[Finding]]":
        """Look for rows that contradict each other, among all or in a slice; at most 10,000 findings.

        All of one moment, so that work going on meanwhile is no contradiction.
        """

    def repair(self, finding: Finding) -> "Deferred[bool]":
        """Mend one thing that `findings` named, if it is still so and can be known; harmless when repeated.

        Returns whether it was mended. Nothing that anyone could still want is thrown away.
        """

    def references(self, *, after: BodyId, limit: int) -> "Deferred[list[BodyRef]]":
        """List bodies ascending by id."""

    def keyed(self, *, after: str, upto: str | None, limit: int) -> "Deferred[list[BodyRef]]":
        """List bodies with object keys above `after` and up to `upto`, ascending by the octets of the key."""

    def known_keys(self, keys: Sequence[str]) -> "Deferred[set[str]]":
        """Return which object keys some body, or the list of keys to discard, names."""

    def settle(self, body: BodyId, *, stored: bool) -> "Deferred[None]":
        """Record whether the object store verifiably has a body; if so its staged bytes are dropped."""

    def discard(self, keys: Sequence[str]) -> "Deferred[None]":
        """List object keys that no body names among those that the collector deletes."""


class Feed(Protocol):
    """Push: committed changes of all processes, as they happen. One connection per process."""

    def subscribe(
        self, mailbox: MailboxId, listener: Callable[[MailboxChanged | FeedLost], None]
    ) -> Callable[[], None]:
        """Call `listener` on each change of the mailbox, and on loss of the feed; returns the cancellation."""

    def follow(self, listener: Callable[[MailboxChanged | FeedLost], None]) -> Callable[[], None]:
        """Call `listener` on each change of any mailbox, and on loss of the feed; returns the cancellation."""


class Store(Protocol):
    """Everything of one database."""

    accounts: Accounts
    mailboxes: Mailboxes
    messages: Messages
    bodies: Bodies
    audit: Audit
    feed: Feed
    quotas: Quotas
    grants: Grants
    annotations: Annotations
    text_indexes: TextIndexes


class ObjectStore(Protocol):
    """Immutable objects by key: S3 or a directory. Fails with `ObjectStoreUnavailable`."""

    def put(self, key: str, data: bytes) -> "Deferred[None]":
        """Store an object durably; done means the store confirmed length and checksum."""

    def get(self, key: str) -> "Deferred[bytes | None]":
        """Read an object; None if there is none."""

    def get_range(self, key: str, start: int, length: int) -> "Deferred[bytes | None]":
        """Read part of an object (shorter at its end); None if there is none."""

    def size(self, key: str) -> "Deferred[int | None]":
        """Return an object's length in octets as stored, or None."""

    def delete(self, keys: Iterable[str]) -> "Deferred[None]":
        """Delete objects; absent ones are no error."""

    def keys(self, *, prefix: str = "", after: str = "", limit: int = 1000) -> "Deferred[list[tuple[str, int, float]]]":
        """List (key, octets as stored, modification time in epoch seconds) ascending by key."""


class BodyReader(Protocol):
    """Reads bodies wherever they are: cache, staging or object store."""

    def read(self, refs: Sequence[BodyRef]) -> "Deferred[dict[BodyId, bytes | Exception]]":
        """Return each body's bytes, verified, or why it cannot be read now (`BodyUnavailable`, `Corrupt`)."""

    def written(self, ref: BodyRef, data: bytes) -> None:
        """Offer bytes just written to the caches."""
