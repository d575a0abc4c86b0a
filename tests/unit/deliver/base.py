"""A deliverer over the in-memory store, with parsing that costs nothing."""

from collections.abc import Callable, Coroutine
from typing import Any

from blake3 import blake3
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sora.core.ids import ThreadId
from sora.mail.append import Appender, DedupScope, Examined
from sora.mail.deliver import Deliverer, Envelope, Outcome, Target
from sora.mime.description import Described
from sora.store.memory import MemoryObjects, MemoryStore
from sora.store.model import FetchRow, NewMailbox, Want

ENVELOPE = Envelope("sender@example.net", "client.example.net", "192.0.2.7", "LMTP")
MAIL = b"Subject: hello\r\n\r\ntext\r\n"


def examine(raw: bytes) -> Examined:
    described = Described(
        envelope=b"()",
        structure=b"()",
        body=b"()",
        header=None,
        sent_at=None,
        sent_day=None,
        subject="",
        base_subject="",
        sort_from="",
        sort_to="",
        sort_cc="",
        display_from="",
        display_to="",
        message_id=None,
        in_reply_to=None,
        references=(),
        thread=ThreadId(1),
        fields={},
        header_text="",
        body_text="",
        text_complete=True,
        preview="",
    )
    return Examined(raw, blake3(raw).digest(), described)


def at_once(function: Callable[[bytes], Any], argument: bytes) -> "Deferred[Any]":
    """Stand in for a thread pool."""
    return maybeDeferred(function, argument)


class DeliverCase(SynchronousTestCase):
    """A store with the accounts asked for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = MemoryStore(self.clock)
        self.objects = MemoryObjects(self.clock)
        self.messages: Any = self.store.messages
        self.mailboxes: Any = self.store.mailboxes
        self.accounts: Any = self.store.accounts
        self.make()

    def make(self, *, scope: DedupScope = DedupScope.DOMAIN, staging_max: int = 1000, **options: Any) -> None:
        self.appender = Appender(
            self.messages,
            self.mailboxes,
            objects=self.objects,
            background=at_once,
            scope=scope,
            staging_max=staging_max,
            message_max=10_000,
            examine=examine,
        )
        self.deliverer = Deliverer(
            self.accounts,
            self.mailboxes,
            self.messages,
            appender=self.appender,
            hostname="mx.example.org",
            **options,
        )

    def run_now(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def account(self, address: str, *aliases: str) -> Any:
        return self.successResultOf(
            self.store.accounts.create(address, "x", [NewMailbox("INBOX", subscribed=True)], aliases=aliases)
        )

    def targets(self, *addresses: str) -> list[Target]:
        found = self.run_now(self.deliverer.resolve(addresses))
        assert all(isinstance(one, Target) for one in found), found
        return list(found)

    def deliver(self, *addresses: str, raw: bytes = MAIL) -> list[Outcome]:
        answers = self.run_now(self.deliverer.deliver(ENVELOPE, self.targets(*addresses), raw))
        return list(answers)

    def inbox(self, address: str) -> list[FetchRow]:
        account = self.successResultOf(self.store.accounts.row(address)).id
        opened = self.successResultOf(self.store.mailboxes.open(account, "INBOX", claim_recent=False))
        return list(
            self.successResultOf(
                self.store.messages.fetch(opened.mailbox.id, list(opened.columns.uids), Want.BYTES | Want.SIZE)
            )
        )
