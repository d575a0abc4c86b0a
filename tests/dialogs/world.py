"""Servers for the dialogs: the scene set up in a store, and a client's way to the front end over it."""

from typing import Any, cast

import attrs
import bcrypt
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from sora.auth.login import Authenticator
from sora.auth.pool import Hashing, HashingPool
from sora.core import flags, limits
from sora.core.ids import AccountId, MailboxId
from sora.front.imap.factory import ImapFactory
from sora.front.imap.services import ImapServices
from sora.front.lmtp import LmtpFactory, LmtpServices
from sora.imap import acl_parse
from sora.mail.append import Appender
from sora.mail.change import Changer
from sora.mail.deliver import Deliverer
from sora.mail.live import Live
from sora.mail.mailboxes import DEFAULTS, MailboxUseCases
from sora.mail.metadata import MetadataUseCases
from sora.mail.quota import QuotaUseCases, QuotaWatch
from sora.mail.read import MessageReader
from sora.mail.search import Searcher
from sora.mail.search_order import Orders
from sora.mail.search_texts import SoughtTexts
from sora.mail.shared_store import shared
from sora.mail.sharing import Settings as SharingSettings
from sora.net.tls import Certificates
from sora.net.wheel import Wheel
from sora.store.interfaces import ObjectStore, Store
from sora.store.memory import MemoryObjects, MemoryStore, PlainReader
from sora.store.model import NewMailbox, NewMessage, Want
from tests.dialogs.connections import MemoryClient, TcpClient
from tests.dialogs.script import Account, Dialog

HOSTNAME = "mx.example.org"
EPOCH = 1_800_000_000
SECOND = 1.0
COST = 4


@attrs.define
class Settings:
    """What `# setting` may change."""

    plaintext: bool = True
    recent: bool = False
    """Whether the messages of the scene are still \\Recent."""
    append_max: int = limits.MESSAGE_MAX
    session_memory: int = limits.SESSION_MEMORY
    connections_per_user_max: int = limits.USER_CONNECTIONS_MAX
    message_max: int = limits.MESSAGE_MAX
    recipients_max: int = limits.LMTP_RECIPIENTS_MAX
    starttls: bool = False
    """Whether STARTTLS is offered (nobody says a word of TLS)."""
    defaults: bool = False
    """Whether an account without mailboxes gets the default ones."""
    hidden: str = ""
    """Capabilities that are hidden from everyone."""
    quota_final: bool = False
    """Whether mail for a full account is refused for good."""
    sharing: bool = False
    """Whether mailboxes can be shared, also with everyone, and users may create some of their domain's."""
    seen_per_user: bool = False
    """Whether each user has a \\Seen of his own in mailboxes of others."""
    folders: int = 0
    """Mailboxes `many/f1` ... of the first account."""

    @classmethod
    def of(cls, dialog: Dialog) -> "Settings":
        """Read a dialog's settings."""
        words = {"no": False, "yes": True, "kept": True}
        texts = {"hidden"}
        return cls(
            **{
                name: text if name in texts else words[text] if text in words else int(text)
                for name, text in dialog.settings.items()
            }
        )


class AtOnce:
    """Hashes without threads: for dialogs in memory, where nothing may take time."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def run(self, function: Any, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        """Run a function now."""
        return execute(function, *args, **kwargs)


class Scene:
    """What a dialog begins with, in any store; and looks into it afterwards."""

    def __init__(self, store: Store, objects: ObjectStore, dialog: Dialog, clock: Any) -> None:
        self.store = store
        self.clock = clock
        self.dialog = dialog
        self.settings = Settings.of(dialog)
        self.reader = PlainReader(store.bodies, objects)
        self.shared = shared(
            store.grants,
            store.mailboxes,
            store.messages,
            SharingSettings(users_create=True, anyone=True, seen_per_user=self.settings.seen_per_user)
            if self.settings.sharing
            else None,
        )
        self.appender = Appender(
            self.shared.messages,
            self.shared.mailboxes,
            objects=objects,
            background=_at_once,
            reader=self.reader,
            message_max=self.settings.message_max,
        )
        self.ids: dict[str, AccountId] = {}
        self.wheel = Wheel(clock)
        self.authenticator: Authenticator | None = None

    def hashing(self) -> Hashing:
        """Return what hashes passwords."""
        return AtOnce()

    async def set_up(self) -> None:
        """Make the accounts, their mailboxes and messages."""
        for account in self.dialog.accounts:
            made = [NewMailbox("INBOX", subscribed=True)]
            made += [NewMailbox(name, use, subscribed) for name, use, subscribed in account.mailboxes]
            made += [NewMailbox(f"many/f{n}") for n in range(1, self.settings.folders + 1)]
            hashed = bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(COST)).decode()
            self.ids[account.address] = await self.store.accounts.create(
                account.address, hashed, made, aliases=account.aliases
            )
            if account.quota is not None:
                await self.store.quotas.limit(self.ids[account.address], account.quota)
            for mailbox, words, trace, raw in account.messages:
                await self._insert(account, mailbox, words, trace, raw)
            if not self.settings.recent:
                for name in {mailbox for mailbox, _, _, _ in account.messages}:
                    await self.store.mailboxes.open(self.ids[account.address], name, claim_recent=True)

    async def _insert(self, account: Account, mailbox: str, words: list[str], trace: bytes, raw: bytes) -> None:
        owner = self.ids[account.address]
        bits, keywords = flags.split(words)
        body = await self.appender.prepare(raw, account=owner, domain=account.address.partition("@")[2])
        row = await self.store.mailboxes.find(owner, mailbox)
        (done,) = await self.store.messages.insert([NewMessage(row.id, body, trace, bits, keywords)])
        if isinstance(done, Exception):
            raise done

    async def newest(self, account: str, mailbox: str) -> bytes:
        """Return the newest message of a mailbox, with its trace header."""
        opened = await self.store.mailboxes.open(self.ids[account], mailbox, claim_recent=False)
        if not opened.columns.uids:
            return b""
        (row,) = await self.store.messages.fetch(opened.mailbox.id, [opened.columns.uids[-1]], Want.BYTES)
        data = (await self.reader.read([row.ref]))[row.ref.id]
        if isinstance(data, Exception):
            raise data
        return row.trace + data

    async def count(self, account: str, mailbox: str) -> int:
        """Return how many messages a mailbox has."""
        return (await self.store.mailboxes.find(self.ids[account], mailbox)).messages

    def lmtp(self) -> LmtpFactory:
        """Return an LMTP server over the scene."""
        store = self.store
        deliverer = Deliverer(
            store.accounts,
            store.mailboxes,
            store.messages,
            appender=self.appender,
            hostname=HOSTNAME,
            refuses_for_good=self.settings.quota_final,
        )
        services = LmtpServices(
            deliverer,
            HOSTNAME,
            wheel=self.wheel,
            message_max=self.settings.message_max,
            recipients_max=self.settings.recipients_max,
            certificates=cast("Certificates", object()) if self.settings.starttls else None,
        )
        return LmtpFactory(services)

    def imap(self) -> ImapFactory:
        """Return an IMAP server over the scene."""
        store, settings = self.store, self.settings
        self.authenticator = Authenticator(store.accounts, self.clock, hashing=self.hashing(), bcrypt_cost=COST)
        self.authenticator.start()
        services = ImapServices(
            authenticator=self.authenticator,
            mailboxes=MailboxUseCases(self.shared.mailboxes, defaults=DEFAULTS if settings.defaults else ()),
            live=Live(store.mailboxes, store.feed, sharing=self.shared.sharing),
            reader=MessageReader(store.messages, self.reader),
            changer=Changer(self.shared.messages),
            searcher=Searcher(store.messages, self.reader, SoughtTexts(store.text_indexes)),
            orders=Orders(store.messages),
            appender=self.appender,
            sharing=self.shared.sharing,
            metadata=MetadataUseCases(
                store.annotations, store.mailboxes, self.shared.sharing, server={"/shared/comment": "A test server"}
            ),
            quotas=QuotaUseCases(store.quotas, store.accounts, admins=self.dialog.quota_admins),
            watch=QuotaWatch(),
            wheel=self.wheel,
            permits_plaintext=lambda secure, peer: settings.plaintext,
            append_max=settings.append_max,
            session_memory=settings.session_memory,
            connections_per_user_max=settings.connections_per_user_max,
            certificates=cast("Certificates", object()) if settings.starttls else None,
            hidden=frozenset(settings.hidden.upper().encode().split())
            | (frozenset() if settings.sharing else acl_parse.CAPABILITIES),
        )
        return ImapFactory(services, secure=False)


def _at_once(function: Any, argument: Any, /) -> "Deferred[Any]":
    return succeed(function(argument))


class MemoryWorld(Scene):
    """A server over the in-memory store; clients are transports in memory, time is ours."""

    def __init__(self, dialog: Dialog, *, piece: int | None = None) -> None:
        self._piece = piece
        clock = Clock()
        clock.advance(EPOCH)
        super().__init__(MemoryStore(clock), MemoryObjects(clock), dialog, clock)
        self.factory: Factory | None = None
        self.clients: list[MemoryClient] = []

    async def set_up(self) -> None:
        """Make the scene, and what only memory can do."""
        await super().set_up()
        for account in self.dialog.accounts:
            for name, number in account.next_uids:
                mailbox: MailboxId = (await self.store.mailboxes.find(self.ids[account.address], name)).id
                self.store.state.mailboxes[mailbox].uid_next = number

    async def connect(self) -> MemoryClient:
        """Connect a client."""
        self.clients.append(MemoryClient(self.factory, self.clock, self._piece))
        return self.clients[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass, second by second."""
        self.clock.pump([SECOND] * int(seconds))


class TcpWorld(Scene):
    """A server on a port of 127.0.0.1 over any store."""

    def __init__(self, store: Store, dialog: Dialog, reactor: Any) -> None:
        super().__init__(store, MemoryObjects(reactor), dialog, reactor)
        self._reactor = reactor
        self.port: Any = None

    def hashing(self) -> Hashing:
        """Return the real one, with a thread."""
        return HashingPool(self._reactor, threads=1)

    def listen(self, factory: Factory) -> None:
        """Start to listen."""
        self.port = self._reactor.listenTCP(0, factory, interface="127.0.0.1")

    async def connect(self) -> TcpClient:
        """Connect a client."""
        return await TcpClient.connect(self.port.getHost().port)

    def advance(self, seconds: float) -> None:
        """Fail: real time is not ours."""
        raise AssertionError("only dialogs in memory can move the clock")

    async def tear_down(self) -> None:
        """Stop listening and stop the threads."""
        await self.port.stopListening()
        self.wheel.stop()
        if self.authenticator is not None:
            await self.authenticator.stop()
