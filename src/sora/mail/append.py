"""Turns raw bytes into a stored body: described, hashed, scoped, and put where an acknowledgement may rest on it.

Both ways in come through here: IMAP APPEND by `Appender.append`, deliveries by `examine`, `place` and
`settle`. Bodies up to `staging_max` travel inside the inserting transaction; larger ones are in the object
store before it begins, and their object is deleted again if the transaction certainly did not keep it.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import Final, Protocol, TypeVar

import attrs
from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from sora.core import limits
from sora.core.errors import CommitUnknown, MessageTooLarge, SoraError
from sora.core.ids import AccountId, MailboxId, ModSeq, Uid
from sora.mime.description import Described
from sora.store.interfaces import BodyReader, Mailboxes, Messages, ObjectStore
from sora.store.model import Actor, Inserted, Named, NewBody, NewMessage, Want

T = TypeVar("T")

INLINE_MAX: Final = 262_144
"""Octets up to which a body is described on the reactor's own time; larger ones are described in a thread."""
STAGED_TOGETHER_MAX: Final = 8_388_608
"""Octets of bodies that one APPEND of several messages stages; what is more goes to the object store first, so that
no statement is very large."""
WITNESS_MODSEQS: Final = 256
"""How many of a mailbox's latest changes are read when the answer to an APPEND's COMMIT was lost."""


class DedupScope(Enum):
    """Among whose messages equal bodies are kept once."""

    ACCOUNT = "account"
    DOMAIN = "domain"
    GLOBAL = "global"


class Background(Protocol):
    """Runs a function in a bounded pool of threads: `partial(aio.in_thread, reactor, pool)`."""

    def __call__(self, function: Callable[[bytes], T], argument: bytes, /) -> "Deferred[T]":
        """Return a Deferred of `function(argument)`."""


@attrs.define
class Examined:
    """A body's bytes with all that depends on nothing but them."""

    raw: bytes
    hash: bytes
    described: Described


@attrs.define
class NewMail:
    """A message as a client gives it to be stored."""

    raw: bytes
    flags: int = attrs.field(kw_only=True, default=0)
    keywords: tuple[str, ...] = attrs.field(kw_only=True, default=())
    internal_date: datetime | None = attrs.field(kw_only=True, default=None)
    """None: now."""


def _examine(raw: bytes) -> Examined:
    from sora.mime.describe import describe

    return Examined(raw, blake3(raw).digest(), describe(raw))


class Appender:
    """Stores bodies, and whole messages for APPEND."""

    log = Logger()

    def __init__(
        self,
        messages: Messages,
        mailboxes: Mailboxes,
        *,
        objects: ObjectStore,
        background: Background,
        reader: BodyReader | None = None,
        scope: DedupScope = DedupScope.DOMAIN,
        staging_max: int = limits.STAGING_MAX,
        message_max: int = limits.MESSAGE_MAX,
        examine: Callable[[bytes], Examined] = _examine,
    ) -> None:
        self.message_max = message_max
        self._messages = messages
        self._mailboxes = mailboxes
        self._objects = objects
        self._background = background
        self._reader = reader
        self._scope = scope
        self._staging_max = staging_max
        self._examine = examine

    # ------------------------------------------------------------ bodies

    async def examine(self, raw: bytes, *, inline_max: int = INLINE_MAX) -> Examined:
        """Hash and describe bytes, those of more than `inline_max` octets in a thread. Raises `MessageTooLarge`."""
        if len(raw) > self.message_max:
            raise MessageTooLarge(f"the message is larger than {self.message_max} octets")
        if len(raw) <= inline_max:
            return self._examine(raw)
        return await self._background(self._examine, raw)

    def scope(self, *, account: AccountId, domain: str) -> str:
        """Return the dedup scope of an account's bodies; `domain` is that of its primary address."""
        if self._scope is DedupScope.ACCOUNT:
            return f"account/{account}"
        if self._scope is DedupScope.DOMAIN:
            return f"domain/{domain}"
        return "global"

    async def place(self, examined: Examined, scope: str, *, staged: bool = True) -> NewBody:
        """Make a body of a scope ready to insert; in the object store if it is large or not to be `staged`.

        Raises `ObjectStoreUnavailable`. Whoever calls this calls `settle` with the outcome of the insertion.
        """
        name = examined.hash.hex()
        key = f"{scope}/{name[:2]}/{name}.{secrets.token_hex(8)}"
        size = len(examined.raw)
        if staged and size <= self._staging_max:
            return NewBody(scope, examined.hash, size, key, examined.raw, examined.described)
        await self._objects.put(key, examined.raw)
        return NewBody(scope, examined.hash, size, key, None, examined.described)

    async def prepare(self, raw: bytes, *, account: AccountId, domain: str) -> NewBody:
        """Examine and place in one step. Raises `MessageTooLarge`, `ObjectStoreUnavailable`."""
        return await self.place(await self.examine(raw), self.scope(account=account, domain=domain))

    async def settle(self, body: NewBody, raw: bytes, outcome: Sequence[Inserted | Exception]) -> None:
        """Fill the caches after an insertion, and delete a large body's object if nothing can refer to it.

        The object stays when it is not certain that the transaction did not keep it (`CommitUnknown`, a
        bug, a cancellation): the collector finds out later.
        """
        if self._reader is not None:
            for ref in {one.body for one in outcome if isinstance(one, Inserted) and one.body is not None}:
                self._reader.written(ref, raw)
        if body.data is None and outcome and not any(_may_refer(body.object_key, one) for one in outcome):
            await self._discard([body.object_key])

    async def _discard(self, keys: Iterable[str]) -> None:
        try:
            await self._objects.delete(keys)
        except SoraError as error:
            self.log.warn("an unused object stays until it is collected: {error}", error=error)

    # ------------------------------------------------------------ messages

    async def append(
        self,
        mailbox: MailboxId | Named,
        raw: bytes,
        *,
        account: AccountId,
        domain: str,
        flags: int = 0,
        keywords: tuple[str, ...] = (),
        internal_date: datetime | None = None,
    ) -> Inserted:
        """Store one message as a client gave it (RFC 3501 6.3.11). Raises as `append_all`."""
        mail = NewMail(raw, flags=flags, keywords=keywords, internal_date=internal_date)
        return (await self.append_all(mailbox, [mail], account=account, domain=domain))[0]

    async def append_all(
        self, mailbox: MailboxId | Named, mails: Sequence[NewMail], *, account: AccountId, domain: str
    ) -> list[Inserted]:
        """Store messages in one transaction, all or none (RFC 3502); `domain` as for `scope`.

        Raises `MessageTooLarge`, `NoSuchMailbox`, `UidsExhausted`, `OverQuota`, `LimitReached`, and
        `CommitUnknown` only if reading back did not show the messages.
        """
        messages = await self._prepare_all(mailbox, mails, account=account, domain=domain)
        return await self._kept(messages, mails, lambda: self._inserted(messages))

    async def replace(
        self,
        source: MailboxId,
        uid: int,
        mailbox: MailboxId | Named,
        mail: NewMail,
        actor: Actor,
        *,
        account: AccountId,
        domain: str,
    ) -> Inserted:
        """Store a message and remove another one, both or neither (RFC 8508 3.4).

        Raises as `append_all`, and `NoSuchMessage` if the other one is gone already.
        """
        messages = await self._prepare_all(mailbox, [mail], account=account, domain=domain)

        async def insert() -> list[Inserted | Exception]:
            return [await self._messages.replace(source, uid, messages[0], actor)]

        return (await self._kept(messages, [mail], insert))[0]

    async def _prepare_all(
        self, mailbox: MailboxId | Named, mails: Sequence[NewMail], *, account: AccountId, domain: str
    ) -> list[NewMessage]:
        """Bring bodies where an acknowledgement may rest on them; if one cannot be, none is left.

        Of many messages each is described in a thread, so that others have their turn between.
        """
        messages: list[NewMessage] = []
        inline_max = INLINE_MAX if len(mails) == 1 else 0
        scope = self.scope(account=account, domain=domain)
        room = STAGED_TOGETHER_MAX
        try:
            for mail in mails:
                examined = await self.examine(mail.raw, inline_max=inline_max)
                body = await self.place(examined, scope, staged=len(mails) == 1 or len(mail.raw) <= room)
                room -= len(body.data or b"")
                messages.append(
                    NewMessage(
                        mailbox, body, flags=mail.flags, keywords=mail.keywords, internal_date=mail.internal_date
                    )
                )
        except SoraError:
            await self._discard([one.body.object_key for one in messages if one.body.data is None])
            raise
        return messages

    async def _inserted(self, messages: Sequence[NewMessage]) -> list[Inserted | Exception]:
        if len(messages) == 1:
            return await self._messages.insert(messages)
        return list(await self._messages.insert_whole(messages))

    async def _kept(
        self,
        messages: Sequence[NewMessage],
        mails: Sequence[NewMail],
        insert: Callable[[], Awaitable[list[Inserted | Exception]]],
    ) -> list[Inserted]:
        outcomes: list[Inserted | Exception]
        try:
            outcomes = await insert()
        except CancelledError:
            raise
        except CommitUnknown as error:
            outcomes = await self._witness(messages, error)
        except SoraError as error:
            outcomes = [error] * len(messages)
        if len(outcomes) == 1 and isinstance(outcomes[0], CommitUnknown):
            outcomes = await self._witness(messages, outcomes[0])
        for message, mail, outcome in zip(messages, mails, outcomes, strict=True):
            await self.settle(message.body, mail.raw, [outcome])
        return [_stored(outcome) for outcome in outcomes]

    async def _witness(self, messages: Sequence[NewMessage], unknown: CommitUnknown) -> list[Inserted | Exception]:
        """Look for messages whose COMMIT was not answered, by the nonces in their object keys.

        They were committed together, under consecutive UIDs: one of them tells of all. A body that was there
        before keeps its earlier key and so is no witness: if there is no other, that stays unknown.
        """
        target = messages[0].mailbox
        places = {message.body.object_key: place for place, message in enumerate(messages)}
        try:
            mailbox = target
            if isinstance(mailbox, Named):
                mailbox = (await self._mailboxes.find(mailbox.account, mailbox.name)).id
            row = (await self._mailboxes.changes(mailbox, ModSeq(2**62))).mailbox
            since = ModSeq(max(0, row.highest_modseq - WITNESS_MODSEQS))
            changes = await self._mailboxes.changes(mailbox, since)
            modseqs = dict(zip(changes.columns.uids, changes.columns.modseqs, strict=True))
            rows = {found.uid: found for found in await self._messages.fetch(mailbox, list(modseqs), Want.BYTES)}
            for found in rows.values():
                if found.ref is not None and found.ref.object_key in places:
                    first = found.uid - places[found.ref.object_key]
                    return [
                        Inserted(
                            row.uid_validity,
                            Uid(first + place),
                            ModSeq(modseqs[found.uid]),
                            body=rows[Uid(first + place)].ref if first + place in rows else None,
                        )
                        for place in range(len(messages))
                    ]
        except CancelledError:
            raise
        except SoraError as error:
            self.log.warn("reading back an append whose commit was not answered failed: {error}", error=error)
        return [unknown] * len(messages)


def _stored(outcome: Inserted | Exception) -> Inserted:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _may_refer(key: str, outcome: Inserted | Exception) -> bool:
    if isinstance(outcome, Inserted):
        if outcome.body is not None:
            return outcome.body.object_key == key
        return not outcome.duplicate
    return isinstance(outcome, CommitUnknown) or not isinstance(outcome, SoraError)
