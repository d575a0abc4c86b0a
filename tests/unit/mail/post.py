"""A memory store with one account, for the tests of the mail use cases."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sora.aio import start
from sora.core.ids import MailboxId
from sora.mail.live import Live
from sora.mail.mailboxes import DEFAULTS
from sora.store.memory import MemoryObjects, MemoryStore, PlainReader
from sora.store.model import Actor
from tests.contract.mail import new_message


class Held:
    """Passes calls on to a store; counts them, and holds back the answers of the methods named in `holding`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: list[str] = []
        self.holding: set[str] = set()
        self.waiting: list[Deferred[Any]] = []
        self.failing: dict[str, Exception] = {}
        """Errors raised once a method has done its work: the answer was lost."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            answer = getattr(self._inner, name)(*args, **kwargs)
            if name in self.failing:
                error = self.failing.pop(name)
                answer.addCallback(lambda _: (_ for _ in ()).throw(error))
            if name in self.holding:
                gate: Deferred[Any] = Deferred()
                self.waiting.append(gate)
                return gate.addCallback(lambda _: answer)
            return answer

        return call

    def release(self) -> None:
        """Let one held answer go."""
        self.waiting.pop(0).callback(None)


class Post:
    """The store, its use cases' parts, and short cuts."""

    def __init__(self, test: Any, **live: Any) -> None:
        self.test = test
        clock = Clock()
        self.store = MemoryStore(clock)
        self.objects = MemoryObjects(clock)
        self.reader = PlainReader(self.store.bodies, self.objects)
        self.mailboxes = Held(self.store.mailboxes)
        self.messages = Held(self.store.messages)
        self.live = Live(self.mailboxes, self.store.feed, **live)
        self.account = self.done(self.store.accounts.create("alice@example.org", "x", DEFAULTS))
        self.actor = Actor(self.account, "alice@example.org", "imap", "s1")

    def done(self, work: Any) -> Any:
        """Return the result of what must have ended already."""
        return self.test.successResultOf(start(work))

    def id(self, name: str) -> MailboxId:
        return self.done(self.store.mailboxes.find(self.account, name)).id

    def deliver(self, *raws: bytes | None, name: str = "INBOX", **around: Any) -> list[int]:
        mailbox = self.id(name)
        new = [new_message(mailbox, raw, **around) for raw in raws or (None,)]
        return [one.uid for one in self.done(self.store.messages.insert(new))]

    def open(self, name: str = "INBOX", *, claim_recent: bool = True) -> Any:
        return self.done(self.live.open(self.account, name, claim_recent=claim_recent))
