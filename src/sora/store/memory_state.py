"""The only place for what the in-memory store remembers: plain records, and the rules they keep among themselves.

Everything is one moment: an operation runs to its end before the next begins, so there are no locks,
and an operation that may fail checks everything before it changes anything.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import attrs
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime

from sora.core import limits
from sora.core.errors import LimitReached, NoSuchAccount, NoSuchMailbox
from sora.core.events import FeedLost, MailboxChanged
from sora.core.flags import DELETED, SEEN
from sora.core.ids import UID_MAX, AccountId, BodyId, EmailId, MailboxId, ModSeq
from sora.core.quota import NO_LIMITS, Limits
from sora.mime.description import Described
from sora.store.model import AccountStatus, Actor, BodyRef, Columns, Credential, MailboxRow, Reach

T = TypeVar("T")
P = ParamSpec("P")
EVERY: Final = MailboxId(0)
"""No mailbox's id: whoever listens to it hears of all of them."""
Listener = Callable[[MailboxChanged | FeedLost], None]


def fired(function: Callable[P, T]) -> "Callable[P, Deferred[T]]":
    """Make a function answer with a Deferred that has already fired, or failed."""

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        return execute(function, *args, **kwargs)

    return answer


@attrs.define(eq=False)
class StoredBody:
    """A body within its dedup scope, and where its bytes are."""

    id: BodyId
    scope: str
    hash: bytes
    size: int
    object_key: str
    described: Described
    staged: bytes | None
    staged_at: float
    due_at: float
    leased_until: float = 0.0
    attempts: int = 0
    last_error: str = ""
    condemned_at: float | None = None

    @property
    def ref(self) -> BodyRef:
        """The body as readers know it."""
        return BodyRef(self.id, self.hash, self.size, self.object_key, self.staged is not None)


@attrs.define(eq=False)
class StoredMessage:
    """A message in a mailbox."""

    uid: int
    modseq: int
    flags: int
    keywords: tuple[str, ...]
    internal_date: datetime
    save_date: datetime
    body: StoredBody
    trace: bytes
    email: EmailId

    @property
    def size(self) -> int:
        """Octets of trace and body."""
        return len(self.trace) + self.body.size


@attrs.define(eq=False)
class Tombstone:
    """A message that is gone: kept until its grace ends."""

    mailbox: MailboxId
    message: StoredMessage
    modseq: int
    gone_at: float
    actor: Actor


@attrs.define(eq=False)
class StoredMailbox:
    """A mailbox; `messages` is ascending by UID because UIDs only grow."""

    id: MailboxId
    account: AccountId
    name: str
    special_use: str | None
    uid_validity: int
    uid_next: int = 1
    highest_modseq: int = 1
    recent_from: int = 1
    keywords: dict[str, str] = attrs.Factory(dict)
    messages: dict[int, StoredMessage] = attrs.Factory(dict)
    vanished: list[tuple[int, int]] = attrs.Factory(list)
    """(modseq, UID) in the order of departure."""
    reach: Reach = attrs.Factory(Reach)
    private: dict[AccountId, dict[int, tuple[int, int]]] = attrs.Factory(dict)
    """Of each reader with a \\Seen of his own: UID to (`SEEN` or 0, modseq), of messages that are here."""

    def seen_as(self, message: StoredMessage, reader: AccountId | None) -> StoredMessage:
        """Return a message with the \\Seen and the modseq that it has for a reader (None: for its owner)."""
        if reader is None:
            return message
        seen, modseq = self.private.get(reader, {}).get(message.uid, (0, 0))
        return attrs.evolve(message, flags=message.flags & ~SEEN | seen, modseq=max(message.modseq, modseq))

    def departed(self, since: int | None) -> "array[int] | None":
        """Return the UIDs that left after a modseq, ascending."""
        return None if since is None else array("I", sorted(uid for modseq, uid in self.vanished if modseq > since))

    def forget(self, modseq: int) -> None:
        """Remember no departures up to a modseq."""
        if modseq > self.reach.forgotten:
            self.reach = attrs.evolve(self.reach, forgotten=modseq)
            self.vanished = [departure for departure in self.vanished if departure[0] > modseq]

    def advance(self) -> int:
        """Begin a change: return its modseq."""
        self.highest_modseq += 1
        return self.highest_modseq

    def present(self, uids: Iterable[int]) -> list[StoredMessage]:
        """Return the named messages that exist, ascending, each once."""
        return [self.messages[uid] for uid in sorted(set(uids)) if uid in self.messages]

    def spell(self, keywords: Sequence[str]) -> tuple[str, ...]:
        """Return keywords in the spelling first used here, each once. Raises `LimitReached`, changing nothing."""
        spelled: dict[str, str] = {}
        for word in keywords:
            spelled.setdefault(word.lower(), self.keywords.get(word.lower(), word))
        if len(spelled) > limits.KEYWORDS_PER_MESSAGE_MAX:
            raise LimitReached(f"more than {limits.KEYWORDS_PER_MESSAGE_MAX} keywords on one message")
        if len(self.keywords.keys() | spelled.keys()) > limits.KEYWORDS_MAX:
            raise LimitReached(f"more than {limits.KEYWORDS_MAX} keywords in one mailbox")
        return tuple(spelled.values())

    def learn(self, keywords: Iterable[str]) -> None:
        """Remember spellings; the first of each stays."""
        for word in keywords:
            self.keywords.setdefault(word.lower(), word)

    def columns(self, messages: Iterable[StoredMessage], reader: AccountId | None = None) -> Columns:
        """Pack messages as columns."""
        chosen = [self.seen_as(message, reader) for message in messages]
        return Columns(
            uids=array("I", [m.uid for m in chosen]),
            flags=array("B", [m.flags for m in chosen]),
            modseqs=array("Q", [m.modseq for m in chosen]),
            keywords={m.uid: m.keywords for m in chosen if m.keywords},
        )

    def room_for(self, count: int) -> bool:
        """Tell whether `count` UIDs are left."""
        return self.uid_next + count - 1 <= UID_MAX


@attrs.define(eq=False)
class StoredAccount:
    """An account with its credentials, addresses and subscriptions."""

    id: AccountId
    address: str
    created_at: datetime
    credentials: tuple[Credential, ...]
    aliases: set[str]
    status: AccountStatus = AccountStatus.ACTIVE
    deleted_at: float | None = None
    subscriptions: set[str] = attrs.Factory(set)
    mailboxes: dict[str, StoredMailbox] = attrs.Factory(dict)
    quota: Limits | None = None
    """None: the defaults."""


@attrs.define(eq=False)
class Arrival:
    """A delivery remembered so that its repetition is known."""

    at: float
    mailbox: MailboxId
    uid: int


class State:
    """All records of one in-memory store, and the counters that number them."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.accounts: dict[AccountId, StoredAccount] = {}
        self.addresses: dict[str, StoredAccount] = {}
        self.mailboxes: dict[MailboxId, StoredMailbox] = {}
        self.bodies: dict[BodyId, StoredBody] = {}
        self.bodies_by_hash: dict[tuple[str, bytes], StoredBody] = {}
        self.tombstones: list[Tombstone] = []
        self.arrivals: dict[tuple[AccountId, BodyId, str], Arrival] = {}
        self.discarded: dict[str, None] = {}
        """Object keys to delete, oldest first."""
        self.listeners: dict[MailboxId, list[Listener]] = {}
        self.annotations: dict[tuple[MailboxId, AccountId], dict[str, bytes]] = {}
        """Of a mailbox (0: the server) and whose they are (0: everyone's), by entry."""
        self.quota = NO_LIMITS
        """What holds for accounts that have no quota of their own."""
        self.domain_quotas: dict[str, Limits] = {}
        self.inherit: Callable[[StoredMailbox], None] = lambda mailbox: None
        """Called with each new mailbox, for its rights."""
        self._numbers = {"account": 0, "credential": 0, "mailbox": 0, "body": 0, "email": 0, "uid_validity": 0}

    def number(self, of: str) -> int:
        """Return the next number of a growing series."""
        self._numbers[of] += 1
        return self._numbers[of]

    def uid_validity(self) -> int:
        """Return a UIDVALIDITY above every earlier one (RFC 3501 2.3.1.1)."""
        return self.number("uid_validity")

    def seconds(self) -> float:
        """The clock's seconds."""
        return float(self.clock.seconds())

    def now(self) -> datetime:
        """The clock's time."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def account(self, account: AccountId) -> StoredAccount:
        """Return an account. Raises `NoSuchAccount`."""
        try:
            return self.accounts[account]
        except KeyError:
            raise NoSuchAccount("no such account") from None

    def mailbox(self, mailbox: MailboxId) -> StoredMailbox:
        """Return a mailbox. Raises `NoSuchMailbox`."""
        try:
            return self.mailboxes[mailbox]
        except KeyError:
            raise NoSuchMailbox("no such mailbox") from None

    def named(self, account: AccountId, name: str) -> StoredMailbox:
        """Return an account's mailbox. Raises `NoSuchMailbox`."""
        owner = self.accounts.get(account)
        if owner is None or name not in owner.mailboxes:
            raise NoSuchMailbox("no such mailbox")
        return owner.mailboxes[name]

    def row(self, mailbox: StoredMailbox, reader: AccountId | None = None) -> MailboxRow:
        """Count a mailbox."""
        messages = [mailbox.seen_as(message, reader) for message in mailbox.messages.values()]
        deleted = [m.size for m in messages if m.flags & DELETED]
        return MailboxRow(
            id=mailbox.id,
            name=mailbox.name,
            special_use=mailbox.special_use,
            uid_validity=mailbox.uid_validity,
            uid_next=mailbox.uid_next,
            highest_modseq=ModSeq(mailbox.highest_modseq),
            messages=len(messages),
            unseen=sum(not m.flags & SEEN for m in messages),
            deleted=len(deleted),
            size=sum(m.size for m in messages),
            deleted_size=sum(deleted),
            recent=sum(m.uid >= mailbox.recent_from for m in messages),
            keywords=tuple(mailbox.keywords.values()),
            subscribed=mailbox.name in self.accounts[mailbox.account].subscriptions,
        )

    def bury(self, mailbox: StoredMailbox, messages: Iterable[StoredMessage], *, modseq: int, actor: Actor) -> None:
        """Turn messages into tombstones."""
        for message in list(messages):
            del mailbox.messages[message.uid]
            mailbox.vanished.append((modseq, message.uid))
            for known in mailbox.private.values():
                known.pop(message.uid, None)
            self.tombstones.append(Tombstone(mailbox.id, message, modseq, self.seconds(), actor))

    def announce(self, *changes: tuple[MailboxId, int], reader: AccountId | None = None) -> None:
        """Tell the listeners of mailboxes up to which modseq they may read; a `reader` if it is his alone."""
        for mailbox, modseq in changes:
            event = MailboxChanged(mailbox, ModSeq(modseq), reader)
            for listener in (*self.listeners.get(mailbox, ()), *self.listeners.get(EVERY, ())):
                listener(event)
