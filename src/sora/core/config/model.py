"""The whole configuration: every section, and what follows from several of them."""

# ruff: noqa: RUF009  the calls declare attrs fields

from pathlib import Path

import attrs

from sora.core.config.access import Auth, Limits, Logging, Process, Tls
from sora.core.config.kinds import NETWORK, Network, many
from sora.core.config.later import Cluster, Relay, RelayQueue, Sieve
from sora.core.config.servers import BUILT, ClientFilter, Server, defaults
from sora.core.config.setting import setting, table, tables
from sora.core.config.sharing import Metadata, Quota, SharedMailboxes
from sora.core.config.storage import S3, Cleanup, Database, Embedded, LocalCache, Storage, Uploader
from sora.core.quota import Limits as QuotaLimits


@attrs.frozen(kw_only=True)
class EveryServer:
    """What holds for every server."""

    trusted_networks: tuple[Network, ...] = setting(
        many(NETWORK),
        (),
        "Networks that may deliver to LMTP servers which name none of their own.",
        example=["10.0.0.0/8"],
    )
    client_filters: tuple[ClientFilter, ...] = tables(ClientFilter)


@attrs.frozen(kw_only=True)
class Configuration:
    """Everything an operator can set, checked; sections that were left out have their defaults."""

    process: Process = table(Process)
    logging: Logging = table(Logging)
    database: Database | None = table(Database, optional=True)
    embedded: Embedded = table(Embedded)
    s3: S3 | None = table(S3, optional=True)
    storage: Storage = table(Storage)
    local_cache: LocalCache = table(LocalCache)
    uploader: Uploader = table(Uploader)
    cleanup: Cleanup = table(Cleanup)
    limits: Limits = table(Limits)
    auth: Auth = table(Auth)
    tls: Tls = table(Tls)
    server: EveryServer = table(EveryServer)
    servers: dict[str, Server] = attrs.field(factory=defaults)
    quota: Quota = table(Quota)
    shared_mailboxes: SharedMailboxes = table(SharedMailboxes)
    metadata: Metadata = table(Metadata)
    sieve: Sieve = table(Sieve)
    relay: Relay = table(Relay)
    relay_queue: RelayQueue = table(RelayQueue)
    cluster: Cluster = table(Cluster)

    def in_state(self, state: Path | None) -> "Configuration":
        """Return the same with an absolute state directory: the given one, or that of the configuration."""
        chosen = (state or self.embedded.state).absolute()
        return attrs.evolve(self, embedded=attrs.evolve(self.embedded, state=chosen))

    def started(self, type: str | None = None) -> list[Server]:
        """Return the servers that are to be started, of one type if it is given."""
        return [server for server in self.servers.values() if server.start and type in (None, server.type)]

    def insecure_auth(self, server: Server) -> bool:
        """Return whether a server lets passwords be sent without TLS from anywhere."""
        return self.auth.insecure_auth if server.insecure_auth is None else server.insecure_auth

    def append_limit(self, server: Server) -> int:
        """Return the largest message that APPEND takes, in octets."""
        return min(server.append_limit or self.limits.append_limit or self.limits.message_max, self.limits.message_max)

    def max_message_size(self, server: Server) -> int:
        """Return the largest message that LMTP takes, in octets."""
        return min(server.max_message_size or self.limits.message_max, self.limits.message_max)

    def max_connections(self, server: Server) -> int:
        """Return how many connections a server serves at once."""
        return server.max_connections or self.limits.max_connections

    def quota_defaults(self) -> QuotaLimits:
        """Return what an account may hold that has no quota of its own."""
        section = self.quota
        return QuotaLimits(storage=section.storage, messages=section.messages, mailboxes=section.mailboxes)

    def unsupported(self) -> list[str]:
        """Return a complaint for each thing that is asked for and that this version does not have."""
        asked = [
            (f"servers.{server.name}", f"a server of type {server.type}")
            for server in self.started()
            if server.type not in BUILT
        ]
        sections = (
            (self.cluster.enabled, "cluster", "clustering"),
            (bool(self.relay.type), "relay", "relaying outgoing mail"),
            (self.relay_queue.enabled, "relay_queue", "the relay queue"),
            (self.tls.provider == "letsencrypt", "tls.provider", "certificates from Let's Encrypt"),
        )
        asked += [(where, what) for wanted, where, what in sections if wanted]
        for server in self.started():
            filters = (*self.server.client_filters, *server.client_filters)
            by_tls = any(one.ja4_fingerprint is not None for one in filters)
            settings = (
                (
                    server.type == "imap" and by_tls and self.process.transport == "stock",
                    "client_filters",
                    'ja4_fingerprint with transport = "stock"',
                ),
            )
            asked += [(f"servers.{server.name}.{key}", what) for wanted, key, what in settings if wanted]
        return [f"{where}: {what} is not available in this version" for where, what in asked]
