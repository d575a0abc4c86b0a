"""The sections of servers: what listens, where, and how."""

# ruff: noqa: RUF009  the calls declare attrs fields

from pathlib import Path
from typing import Final

import attrs

from sora.core import limits
from sora.core.config.kinds import (
    BOOLEAN,
    DURATION,
    HOSTPORT,
    LISTEN,
    NETWORK,
    PATH,
    REGEX,
    SECRET,
    SIZE,
    TEXT,
    Network,
    SocketAddress,
    choice,
    integer,
    many,
    parse_listen,
    within,
)
from sora.core.config.secret import Secret
from sora.core.config.setting import setting, tables

METRICS: Final = "metrics"
BUILT: Final = frozenset({"imap", "lmtp", METRICS})
"""Server types that this version runs."""
MAIL: Final = ("imap", "pop3", "managesieve")
PROXIES: Final = ("imap_proxy", "pop3_proxy", "managesieve_proxy", "lmtp_proxy")
HTTP: Final = ("http_api", "http_user_api", "user_api_proxy", METRICS)
TYPES: Final = ("imap", "lmtp", "pop3", "managesieve", *PROXIES, *HTTP)
IMAP: Final = ("imap", "imap_proxy")


@attrs.frozen(kw_only=True)
class ClientFilter:
    """Capabilities that are hidden from certain clients; a filter applies when all its patterns fit."""

    client_name: str | None = setting(REGEX, None, "Pattern of the name the client gives with ID.", example="^Outlook")
    client_version: str | None = setting(REGEX, None, "Pattern of its version.", example="^16\\.")
    ja4_fingerprint: str | None = setting(REGEX, None, "Pattern of its TLS fingerprint.", example="^t13d1516h2_.*")
    disable_caps: tuple[str, ...] = setting(many(TEXT), (), "Capabilities to hide.", example=["IDLE"])
    reason: str = setting(TEXT, "", "Why, for those who come after you.", example="stalls in IDLE")


@attrs.frozen(kw_only=True)
class Server:
    """One server: a protocol on an address. The table's name is the server's; several may have one type."""

    name: str = ""
    type: str = setting(choice(*TYPES), "", "What it speaks; left out: the table's name.", example="imap")
    start: bool = setting(BOOLEAN, True, "Start it; false keeps its settings for later.")
    addr: str = setting(
        LISTEN, "", 'Where it listens: ":143", "127.0.0.1:1143", "[::1]:143" or "unix:/path".', example="127.0.0.1:1143"
    )
    listen_backlog: int = setting(integer(1, 65_535), 1_024, "Connections the system holds until they are accepted.")
    tls: bool = setting(BOOLEAN, False, "Speak TLS from the first octet.")
    tls_use_starttls: bool = setting(BOOLEAN, False, "Offer STARTTLS.")
    tls_cert_file: Path | None = setting(
        PATH, None, "PEM certificate with its chain; left out: that of [tls].", example="/etc/sora/imap.pem"
    )
    tls_key_file: Path | None = setting(PATH, None, "Its PEM private key.", example="/etc/sora/imap.key")
    max_connections: int | None = setting(
        integer(1, 1_000_000), None, "Connections at once, over all workers; left out: that of [limits].", example=1_000
    )
    max_connections_per_ip: int | None = setting(
        integer(1, 1_000_000),
        None,
        "Those from one address, divided over the workers; left out: no limit of its own.",
        example=100,
    )
    max_connections_per_user: int = setting(
        integer(1, 1_000_000),
        limits.USER_CONNECTIONS_MAX,
        "Those of one account, in each worker; phones keep one for each folder they watch: below 20 they look broken.",
        types=("imap",),
    )
    hostname: str | None = setting(
        TEXT, None, "Its name in greetings and Received fields; left out: that of [process].", example="mx1.example.org"
    )
    insecure_auth: bool | None = setting(
        BOOLEAN,
        None,
        "Let passwords be sent without TLS; left out: as [auth] says.",
        example=False,
        types=(*MAIL, *PROXIES),
    )
    append_limit: int | None = setting(
        within(SIZE, 1024, limits.IMAP_DRAIN_MAX),
        None,
        "The largest message by APPEND; left out: that of [limits].",
        example="25mb",
        types=("imap",),
    )
    disabled_caps: tuple[str, ...] = setting(
        many(TEXT), (), "Capabilities hidden from everyone.", example=["IDLE"], types=IMAP
    )
    client_filters: tuple[ClientFilter, ...] = tables(ClientFilter, types=IMAP)
    max_message_size: int | None = setting(
        within(SIZE, 1024, limits.IMAP_DRAIN_MAX),
        None,
        "The largest message; left out: message_max of [limits].",
        example="50mb",
        types=("lmtp", "lmtp_proxy"),
    )
    duplicate_window: float = setting(
        DURATION,
        86_400.0,
        "The same bytes to the same recipient within this time are one delivery that was tried again; 0: never.",
        types=("lmtp",),
    )
    trusted_networks: tuple[Network, ...] = setting(
        many(NETWORK),
        (),
        "Who may deliver; none named: loopback and private networks.",
        example=["127.0.0.0/8", "10.0.0.0/8"],
        types=("lmtp", "lmtp_proxy"),
    )
    idle_timeout: float = setting(
        within(DURATION, 60),
        1_800.0,
        "Silence after which a signed-in client is disconnected; RFC 3501 5.4 asks for 30 minutes at least.",
        types=MAIL,
    )
    command_timeout: float = setting(
        within(DURATION, 1),
        limits.COMMAND_TIME_MAX,
        "How long one command may take that searches, sorts, copies or changes; each statement of it has "
        "database.query_timeout. FETCH takes as long as its client reads.",
        types=("imap",),
    )
    max_script_size: int | None = setting(
        SIZE, None, "The largest script; left out: that of [sieve].", example="16kb", types=("managesieve",)
    )
    remote_addrs: tuple[str, ...] = setting(
        many(HOSTPORT), (), "The servers behind it.", example=["backend1:143", "backend2:143"], types=PROXIES
    )
    remote_port: int | None = setting(
        integer(1, 65_535), None, "The port of those that name none.", example=143, types=PROXIES
    )
    remote_tls: bool = setting(BOOLEAN, False, "Speak TLS to them.", types=PROXIES)
    remote_tls_use_starttls: bool = setting(BOOLEAN, False, "Begin it by STARTTLS.", types=PROXIES)
    remote_tls_verify: bool = setting(BOOLEAN, True, "Check their certificates.", types=PROXIES)
    remote_use_proxy_protocol: bool = setting(BOOLEAN, False, "Tell them the client's address.", types=PROXIES)
    connect_timeout: float = setting(within(DURATION, 0.1), 30.0, "How long connecting may take.", types=PROXIES)
    enable_affinity: bool = setting(BOOLEAN, False, "Keep a user on one of them.", types=PROXIES)
    api_key: Secret | None = setting(
        SECRET, None, "What callers must present.", example="env:SORA_API_KEY", types=("http_api", "metrics")
    )
    allowed_hosts: tuple[Network, ...] = setting(
        many(NETWORK), (), "Who may call; none named: loopback.", example=["127.0.0.1", "10.0.0.0/8"], types=HTTP
    )
    jwt_secret: Secret | None = setting(
        SECRET,
        None,
        "Signs the tokens of users.",
        example="env:SORA_JWT_SECRET",
        types=("http_user_api", "user_api_proxy"),
    )

    @property
    def address(self) -> SocketAddress:
        """Where it listens. Raises `ValueError` without `addr`."""
        return parse_listen(self.addr)


def defaults() -> dict[str, Server]:
    """Return the servers of a configuration that names none."""
    return {
        "imap": Server(name="imap", type="imap", addr="127.0.0.1:1143"),
        "imaps": Server(name="imaps", type="imap", addr="127.0.0.1:1993", tls=True),
        "lmtp": Server(name="lmtp", type="lmtp", addr="127.0.0.1:2003"),
    }
