"""Builds the use cases and the servers of a configuration on open storage: the one place that joins them."""

import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from sora import __version__, aio
from sora.auth.build import authenticator
from sora.auth.privacy import permits_plaintext
from sora.auth.throttle import News
from sora.core import limits, rights
from sora.core.config.model import Configuration
from sora.core.config.servers import METRICS, Server
from sora.core.errors import ConfigurationInvalid
from sora.front.imap.factory import ImapFactory
from sora.front.imap.filters import Filter, in_capitals
from sora.front.imap.services import ImapServices
from sora.front.lmtp import PRIVATE_NETWORKS, LmtpFactory, LmtpServices, Room
from sora.imap import acl_parse, states
from sora.mail.append import Appender, DedupScope
from sora.mail.change import Changer
from sora.mail.deliver import Deliverer
from sora.mail.live import Live
from sora.mail.mailboxes import MailboxUseCases
from sora.mail.metadata import MetadataUseCases
from sora.mail.quota import QuotaUseCases, QuotaWatch
from sora.mail.read import MessageReader
from sora.mail.search import Searcher
from sora.mail.search_order import Orders
from sora.mail.search_texts import SoughtTexts
from sora.mail.shared_store import Shared, shared
from sora.mail.sharing import Settings as SharingSettings
from sora.net import lean_reactor
from sora.net.listeners import Listener, TcpAddress, parse_address
from sora.net.tls import Certificates, self_signed
from sora.net.wheel import Wheel
from sora.postgres.store import PostgresStore
from sora.service import share
from sora.service.storage import Storage


class Servers:
    """All listeners of one process that serve mail."""

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        storage: Storage,
        reactor: Any,
        *,
        only: str | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
        threads: int | None = None,
        octets: int = limits.LMTP_TRANSACTION_OCTETS_MAX,
        wake_uploader: Callable[[], None] = lambda: None,
        tell_sign_in: News | None = None,
    ) -> None:
        """Build everything; nothing listens before `start`. Raises `ConfigurationInvalid`.

        `only` is a type of servers; `sockets` are those that a parent has bound, by the names of servers: no others
        are served then. `threads` describe large messages; `octets` is the room for messages being delivered.
        `tell_sign_in` is called with what the throttles of other processes are to hear.
        """
        self.configuration = configuration
        self.storage = storage
        self._reactor = reactor
        self._sockets = sockets
        self._octets = octets
        self._lean = lean_reactor.prepare(reactor, lean=configuration.process.transport == "lean")
        self._known: dict[str, Certificates] = {}
        self._wake_uploader = wake_uploader
        self.hostname = configuration.process.hostname or socket.getfqdn()
        self.wheel = Wheel(reactor)
        self._threads = ThreadPool(1, threads or share.threads(1), name="describe")
        store = storage.store
        background = partial(aio.in_thread, reactor, self._threads)
        self.shared = _shared(configuration, store)
        self.searcher = Searcher(store.messages, storage.bodies, SoughtTexts(store.text_indexes), background=background)
        self.orders = Orders(store.messages, background=background)
        self.appender = Appender(
            self.shared.messages,
            self.shared.mailboxes,
            objects=storage.objects,
            background=background,
            reader=storage.bodies,
            scope=DedupScope(configuration.storage.dedup_scope),
            staging_max=configuration.storage.staging_max,
            message_max=configuration.limits.message_max,
        )
        self.watch = QuotaWatch(configuration.quota.warn_at)
        self.live = Live(store.mailboxes, store.feed, sharing=self.shared.sharing)
        self.authenticator = authenticator(configuration.auth, store.accounts, reactor, tell=tell_sign_in)
        self.listeners: dict[str, Listener] = {}
        self.imap: list[ImapFactory] = []
        self.lmtp: list[LmtpFactory] = []
        for server in configuration.started(only):
            if server.type != METRICS and (sockets is None or server.name in sockets):
                build = {"imap": self._imap, "lmtp": self._lmtp}[server.type]
                self.listeners[server.name] = build(server)

    def plain_address(self, type: str) -> TcpAddress | None:
        """Return where the first started server of a type listens without TLS, if it is on TCP."""
        for server in self.configuration.started(type):
            listener = self.listeners.get(server.name)
            if listener is not None and not server.tls and isinstance(listener.bound, TcpAddress):
                return listener.bound
        return None

    async def start(self) -> None:
        """Listen. Raises `ConfigurationInvalid` if an address cannot be had."""
        self._threads.start()
        self.authenticator.start()
        complaints = []
        for listener in self.listeners.values():
            try:
                listener.startService()
            except ConfigurationInvalid as error:
                complaints += error.complaints
        if complaints:
            raise ConfigurationInvalid(complaints)

    async def stop(self) -> None:
        """Stop listening, let conversations end within the limit, stop the threads."""
        deadline = self._reactor.seconds() + self.configuration.process.shutdown_timeout
        stopping = [listener.stopService() for listener in self.listeners.values() if listener.running]
        for wait in stopping:
            try:
                await aio.timeout(wait, max(0.0, deadline - self._reactor.seconds()), self._reactor, TimeoutError)
            except TimeoutError:
                self.log.warn("some conversations did not end in time")
        self.wheel.stop()
        await self.live.stop()
        await self.authenticator.stop()
        if self._threads.started:
            self._threads.stop()

    # ------------------------------------------------------------ one server each

    def _imap(self, server: Server) -> Listener:
        configuration, store = self.configuration, self.storage.store
        name = server.hostname or self.hostname
        filters = (*configuration.server.client_filters, *server.client_filters)
        services = ImapServices(
            authenticator=self.authenticator,
            mailboxes=MailboxUseCases(self.shared.mailboxes),
            live=self.live,
            reader=MessageReader(store.messages, self.storage.bodies),
            changer=Changer(self.shared.messages),
            searcher=self.searcher,
            orders=self.orders,
            appender=self.appender,
            sharing=self.shared.sharing,
            metadata=MetadataUseCases(
                store.annotations,
                store.mailboxes,
                self.shared.sharing,
                server={
                    "/shared/comment": configuration.metadata.comment,
                    "/shared/admin": configuration.metadata.admin,
                },
            ),
            quotas=QuotaUseCases(store.quotas, store.accounts, admins=configuration.quota.admins),
            watch=self.watch,
            wheel=self.wheel,
            permits_plaintext=partial(
                permits_plaintext,
                insecure_auth=configuration.insecure_auth(server),
                trusted_networks=configuration.auth.trusted_networks,
            ),
            wake_uploader=self._wake_uploader,
            append_max=configuration.append_limit(server),
            idle_timeout=server.idle_timeout + 60.0,
            connections_max=configuration.max_connections(server),
            connections_per_ip_max=server.max_connections_per_ip,
            connections_per_user_max=server.max_connections_per_user,
            session_memory=configuration.limits.session_memory,
            command_timeout=server.command_timeout,
            certificates=self._certificates(server) if server.tls_use_starttls else None,
            hidden=in_capitals(server.disabled_caps) | self._pointless(),
            filters=[Filter.of(one) for one in filters],
            overhears=self._lean and any(one.ja4_fingerprint is not None for one in filters),
            greeting=f"{name} ready",
            identity=(("name", "sora"), ("version", __version__)),
        )
        self._warn_of_filters(server, services)
        factory = ImapFactory(services, secure=server.tls)
        self.imap.append(factory)
        return self._listener(server, factory, factory.drain)

    def _pointless(self) -> frozenset[bytes]:
        """Return capabilities that mean nothing as this server is configured."""
        return frozenset() if self.shared.sharing.settings is not None else acl_parse.CAPABILITIES

    def _warn_of_filters(self, server: Server, services: ImapServices) -> None:
        """Say what of the hidden capabilities will have no effect."""
        hidden = services.hidden.union(*(one.hidden for one in services.filters))
        for name in sorted(hidden - states.KNOWN):
            self.log.warn("servers.{name}: there is no capability {cap}", name=server.name, cap=name.decode())
        if any(one.ja4 is not None for one in services.filters) and not services.overhears:
            self.log.warn("servers.{name}: filters by ja4_fingerprint need lean transports", name=server.name)

    def _lmtp(self, server: Server) -> Listener:
        configuration, store = self.configuration, self.storage.store
        name = server.hostname or self.hostname
        deliverer = Deliverer(
            store.accounts,
            store.mailboxes,
            store.messages,
            appender=self.appender,
            hostname=name,
            suppress_window=server.duplicate_window,
            watch=self.watch,
            refuses_for_good=configuration.quota.refusal == "permanent",
        )
        services = LmtpServices(
            deliveries=deliverer,
            hostname=name,
            wheel=self.wheel,
            room=Room(self._octets),
            trusted_networks=server.trusted_networks or configuration.server.trusted_networks or PRIVATE_NETWORKS,
            connections_max=configuration.max_connections(server),
            connections_per_ip_max=server.max_connections_per_ip,
            certificates=self._certificates(server) if server.tls_use_starttls else None,
            message_max=configuration.max_message_size(server),
        )
        factory = LmtpFactory(services)
        self.lmtp.append(factory)
        return self._listener(server, factory, factory.drain)

    def _listener(self, server: Server, factory: Any, drain: Any) -> Listener:
        return Listener(
            factory,
            parse_address(server.addr),
            reactor=self._reactor,
            tls=self._certificates(server) if server.tls else None,
            backlog=server.listen_backlog,
            drain=drain,
            listening=self._sockets[server.name] if self._sockets is not None else None,
            lean=self._lean,
        )

    def _certificates(self, server: Server) -> Certificates:
        found = self._known.get(server.name)
        if found is None:
            found = self._known[server.name] = certificates(self.configuration, server, self.hostname)
        return found

    def reload_certificates(self) -> None:
        """Look at the certificates' files now rather than at the next connection."""
        for one in self._known.values():
            one.reload()


def _shared(configuration: Configuration, store: PostgresStore) -> Shared:
    section = configuration.shared_mailboxes
    settings = None
    if section.enabled:
        settings = SharingSettings(
            shared_prefix=section.namespace_prefix,
            users_prefix=section.users_prefix,
            users_create=section.allow_user_create,
            creator_rights=rights.parse(section.default_rights),
            anyone=section.allow_anyone_identifier,
            seen_per_user=section.seen_per_user,
        )
    return shared(store.grants, store.mailboxes, store.messages, settings)


def certificates(configuration: Configuration, server: Server, hostname: str) -> Certificates:
    """Return the certificates of a server with TLS: its own, the common ones, or one that we make."""
    shared = configuration.tls
    cert_file, key_file = server.tls_cert_file, server.tls_key_file
    if cert_file is None and shared.enabled:
        cert_file, key_file = shared.cert_file, shared.key_file
    if cert_file is None or key_file is None:
        cert_file, key_file = own_certificate(configuration, hostname)
    return Certificates(cert_file, key_file)


def own_certificate(configuration: Configuration, hostname: str) -> tuple[Path, Path]:
    """Return the files of the certificate that we make for ourselves when there is none."""
    directory = configuration.embedded.state / "tls"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return self_signed(directory, hostname)
