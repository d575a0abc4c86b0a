"""Delivers one message to its recipients: whose mailbox, which trace header, one stored body, one answer each.

Nothing here turns down mail for reasons of our own: whatever is not a plain fact about the recipient or
the message is temporary, so that the sender keeps the mail and tries again.
"""

import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from sora.core import address as addresses
from sora.core.errors import (
    AddressInvalid,
    NoSuchAccount,
    NoSuchMailbox,
    OverQuota,
    OverQuotaForGood,
    SoraError,
    Temporary,
)
from sora.core.ids import MailboxId
from sora.mail.append import Appender, Examined
from sora.mail.quota import QuotaWatch
from sora.store.interfaces import Accounts, Mailboxes, Messages
from sora.store.model import Inserted, NewBody, NewMailbox, NewMessage, Recipient

SUPPRESS_WINDOW: Final = 86_400.0
"""Seconds in which the same bytes for the same recipient are a retry: a day outlasts every MTA's longest pause
between two attempts (hours), and is short enough for an intended second copy to arrive on the next day."""

Outcome = Inserted | SoraError


@attrs.frozen
class Envelope:
    """What the sender's side said about one message."""

    sender: str
    """The envelope sender; empty for the null sender."""
    lhlo: str
    """The name the peer gave."""
    peer: str
    """The peer's IP address; empty on a unix socket."""
    protocol: str
    """The Received field's `with`: LMTP, LMTPS, UTF8LMTP, UTF8LMTPS (RFC 3848, RFC 6531 4.3)."""


@attrs.frozen
class Target:
    """A recipient that was found."""

    written: str
    """The address as the sender wrote it."""
    full: str
    """Its canonical form, with the detail."""
    detail: str | None
    recipient: Recipient

    @property
    def domain(self) -> str:
        """The domain of the account's primary address."""
        return self.recipient.address.rpartition("@")[2]


Filing = Callable[[Target, Envelope, Examined], Awaitable[MailboxId]]
"""Decides which mailbox a message goes to; where a Sieve script will be run."""


async def file_into_inbox(target: Target, envelope: Envelope, examined: Examined) -> MailboxId:
    """File everything into INBOX."""
    return target.recipient.inbox


class Deliverer:
    """Resolves recipients and stores what is for them."""

    log = Logger()

    def __init__(
        self,
        accounts: Accounts,
        mailboxes: Mailboxes,
        messages: Messages,
        *,
        appender: Appender,
        hostname: str,
        filing: Filing = file_into_inbox,
        suppress_window: float = SUPPRESS_WINDOW,
        watch: QuotaWatch | None = None,
        refuses_for_good: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`refuses_for_good`: whether senders of mail for a full account are to stop trying."""
        self._watch = watch or QuotaWatch()
        self._refuses_for_good = refuses_for_good
        self._accounts = accounts
        self._mailboxes = mailboxes
        self._messages = messages
        self._appender = appender
        self._hostname = hostname
        self._filing = filing
        self._suppress_window = suppress_window
        self._now = now
        # An id names a delivery in logs and trace headers: unlike all others, but no secret.
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._stamp: tuple[datetime, str] | None = None

    async def resolve(self, written: Sequence[str]) -> list[Target | SoraError]:
        """Find the recipients of several addresses in one query, each answer in its place.

        `NoSuchAccount` and `AddressInvalid` are final, anything else temporary.
        """
        parsed: list[addresses.Address | SoraError] = [_parse(text) for text in written]
        wanted = list({str(one): None for one in parsed if isinstance(one, addresses.Address)})
        try:
            found = await self._accounts.recipients(wanted) if wanted else {}
        except CancelledError:
            raise
        except SoraError as error:
            failure = error if error.temporary else Temporary("recipients cannot be looked up now")
            return [one if isinstance(one, SoraError) else failure for one in parsed]
        except Exception:  # noqa: BLE001  the boundary: a bug must not bounce mail
            self.log.failure("looking up recipients broke")
            failure = Temporary("internal error")
            return [one if isinstance(one, SoraError) else failure for one in parsed]
        return [_target(text, one, found) for text, one in zip(written, parsed, strict=True)]

    async def deliver(self, envelope: Envelope, targets: Sequence[Target], raw: bytes) -> list[Outcome]:
        """Store a message for each target; the answers stand in the order of the targets.

        Raises nothing but cancellation: a surprise is logged and is a temporary failure of all it may concern.
        """
        try:
            return await self._deliver(envelope, targets, raw)
        except CancelledError:
            raise
        except SoraError as error:
            return [error] * len(targets)
        except Exception:  # noqa: BLE001  the boundary: what arrives here is a bug, and the mail must be kept by its sender
            self.log.failure("a delivery broke")
            return [Temporary("internal error")] * len(targets)

    # ------------------------------------------------------------ inside

    async def _deliver(self, envelope: Envelope, targets: Sequence[Target], raw: bytes) -> list[Outcome]:
        examined = await self._appender.examine(raw)
        bodies: dict[str, NewBody | SoraError] = {}
        messages: dict[str, NewMessage] = {}
        failed: dict[str, SoraError] = {}
        for target in targets:
            if target.full in messages or target.full in failed:
                continue
            scope = self._appender.scope(account=target.recipient.account, domain=target.domain)
            if scope not in bodies:
                bodies[scope] = await self._place(examined, scope)
            body = bodies[scope]
            if isinstance(body, SoraError):
                failed[target.full] = body
                continue
            messages[target.full] = await self._message(target, envelope, examined, body)
        stored = await self._insert(list(messages.values()))
        outcome: dict[str, Inserted | Exception] = dict(zip(messages, stored, strict=True))
        await self._replace_missing(targets, messages, outcome)
        await self._settle(bodies, messages, outcome, raw)
        for target in targets:
            one = outcome.get(target.full)
            if type(one) is Inserted and one.filled is not None:
                self._watch.arrived(target.recipient.account, one.filled)
        answers: dict[str, Outcome] = {full: self._answer(one) for full, one in outcome.items()}
        answers.update(failed)
        return [answers[target.full] for target in targets]

    async def _place(self, examined: Examined, scope: str) -> NewBody | SoraError:
        try:
            return await self._appender.place(examined, scope)
        except CancelledError:
            raise
        except SoraError as error:
            return error

    async def _message(self, target: Target, envelope: Envelope, examined: Examined, body: NewBody) -> NewMessage:
        delivered_to = f"Delivered-To: {_clean(target.full)}"
        suppress = (delivered_to, self._suppress_window) if self._suppress_window > 0 else None
        try:
            mailbox = await self._filing(target, envelope, examined)
        except SoraError as error:
            self.log.warn("filing for {address} failed, into INBOX: {error}", address=target.full, error=error)
            mailbox = target.recipient.inbox
        return NewMessage(
            mailbox,
            body,
            trace=self._trace(target, envelope, delivered_to),
            suppress=suppress,
        )

    def _trace(self, target: Target, envelope: Envelope, delivered_to: str) -> bytes:
        """Write the lines RFC 5321 4.4 asks of the last hop; no value can start a line of its own."""
        peer = f" ([{_clean(envelope.peer)}])" if envelope.peer else ""
        lines = (
            f"Return-Path: <{_clean(envelope.sender)}>",
            delivered_to,
            f"Received: from {_clean(envelope.lhlo)}{peer}",
            f"\tby {_clean(self._hostname)} with {envelope.protocol} id {self._process}{next(self._numbers):x}",
            f"\tfor <{_clean(target.written)}>; {self._date()}",
            "",
        )
        return "\r\n".join(lines).encode("utf-8", "replace")

    def _date(self) -> str:
        """Write the date of now, once for all deliveries of a second."""
        now = self._now().replace(microsecond=0)
        if self._stamp is None or self._stamp[0] != now:
            self._stamp = now, format_datetime(now)
        return self._stamp[1]

    async def _insert(self, messages: list[NewMessage]) -> list[Inserted | Exception]:
        if not messages:
            return []
        try:
            return await self._messages.insert(messages)
        except CancelledError:
            raise
        except SoraError as error:
            return [error] * len(messages)
        except Exception as error:  # noqa: BLE001  a bug below may have committed: the bodies must be settled as unknown
            self.log.failure("inserting a delivery broke")
            return [error] * len(messages)

    async def _replace_missing(
        self, targets: Sequence[Target], messages: dict[str, NewMessage], outcome: dict[str, Inserted | Exception]
    ) -> None:
        """Try once more, into INBOX, what met no mailbox; an account that lost its INBOX gets a new one."""
        again: dict[str, NewMessage] = {}
        for target in targets:
            if isinstance(outcome.get(target.full), NoSuchMailbox) and target.full not in again:
                try:
                    inbox = await self._inbox(target)
                except SoraError:
                    continue
                again[target.full] = attrs.evolve(messages[target.full], mailbox=inbox)
        outcome.update(zip(again, await self._insert(list(again.values())), strict=True))

    async def _inbox(self, target: Target) -> MailboxId:
        account = target.recipient.account
        try:
            return (await self._mailboxes.find(account, "INBOX")).id
        except NoSuchMailbox:
            return (await self._mailboxes.create(account, NewMailbox("INBOX", subscribed=True))).id

    async def _settle(
        self,
        bodies: dict[str, NewBody | SoraError],
        messages: dict[str, NewMessage],
        outcome: dict[str, Inserted | Exception],
        raw: bytes,
    ) -> None:
        for body in bodies.values():
            if isinstance(body, NewBody):
                mine = [outcome[full] for full, message in messages.items() if message.body is body]
                await self._appender.settle(body, raw, mine)

    def _answer(self, outcome: Inserted | Exception) -> Outcome:
        if self._refuses_for_good and isinstance(outcome, OverQuota):
            return OverQuotaForGood(str(outcome))
        if isinstance(outcome, Inserted | SoraError):
            return outcome
        self.log.error("storing a delivery failed: {error!r}", error=outcome)
        return Temporary("internal error")


def _parse(text: str) -> addresses.Address | SoraError:
    try:
        return addresses.parse(text)
    except AddressInvalid as error:
        return error


def _target(written: str, parsed: addresses.Address | SoraError, found: dict[str, Recipient]) -> Target | SoraError:
    if isinstance(parsed, SoraError):
        return parsed
    recipient = found.get(str(parsed))
    if recipient is None:
        return NoSuchAccount("no such user here")
    return Target(written, parsed.full, parsed.detail, recipient)


def _clean(text: str) -> str:
    """Drop what could end a line, hide text or break a comment; protocol parsers let none of it through."""
    if text.isprintable() and "<" not in text and ">" not in text:
        return text
    return "".join(character for character in text if character.isprintable() and character not in "<>")
