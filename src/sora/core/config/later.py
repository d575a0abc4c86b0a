"""The sections of features that this version reads and checks but does not have yet."""

# ruff: noqa: RUF009  the calls declare attrs fields

from pathlib import Path

import attrs

from sora.core.config.kinds import BOOLEAN, DURATION, HOSTPORT, PATH, SECRET, SIZE, TEXT, choice, integer, many, within
from sora.core.config.secret import Secret
from sora.core.config.setting import setting


@attrs.frozen(kw_only=True)
class Cluster:
    """Several nodes that tell each other what they do."""

    enabled: bool = setting(BOOLEAN, False, "Take part.")
    bind_addr: str = setting(TEXT, "0.0.0.0", "The address to speak from.")  # noqa: S104  a choice of the operator
    bind_port: int = setting(integer(1, 65_535), 7946, "Its port.")
    node_id: str | None = setting(TEXT, None, "This node's name; left out: the host's.", example="node-1")
    peers: tuple[str, ...] = setting(many(HOSTPORT), (), "Some other nodes.", example=["node-2:7946"])
    secret_key: Secret | None = setting(
        SECRET, None, "32 octets in base64, the same on all nodes.", example="env:SORA_CLUSTER_KEY"
    )


@attrs.frozen(kw_only=True)
class Relay:
    """Where outgoing mail (forwarded, automatic replies) is handed to."""

    type: str = setting(choice("", "smtp", "http"), "", "How: empty for not at all.")
    smtp_host: str | None = setting(HOSTPORT, None, "The SMTP server.", example="smtp.example.org:587")
    smtp_tls: bool = setting(BOOLEAN, True, "Use TLS.")
    smtp_tls_verify: bool = setting(BOOLEAN, True, "Check its certificate.")
    smtp_use_starttls: bool = setting(BOOLEAN, True, "Begin TLS by STARTTLS.")
    smtp_username: str | None = setting(TEXT, None, "Who signs in there.", example="sora")
    smtp_password: Secret | None = setting(SECRET, None, "With this password.", example="env:SORA_RELAY_PASSWORD")
    http_url: str | None = setting(TEXT, None, "The HTTP endpoint.", example="https://relay.example.org/send")
    auth_token: Secret | None = setting(SECRET, None, "Its bearer token.", example="env:SORA_RELAY_TOKEN")


@attrs.frozen(kw_only=True)
class RelayQueue:
    """The queue of outgoing mail."""

    enabled: bool = setting(BOOLEAN, False, "Keep one.")
    path: Path = setting(PATH, Path("/var/spool/sora/relay"), "Its directory.")
    worker_interval: float = setting(within(DURATION, 0.1), 60.0, "How often to look for mail that is due.")
    batch_size: int = setting(integer(1, 100_000), 100, "Messages taken at once.")
    max_attempts: int = setting(integer(1, 1_000), 10, "Attempts until a message is given up.")


@attrs.frozen(kw_only=True)
class Sieve:
    """Filtering scripts (RFC 5228)."""

    enabled_extensions: tuple[str, ...] = setting(
        many(TEXT), (), "Extensions offered; none named: all.", example=["fileinto"]
    )
    max_script_size: int = setting(SIZE, 65_536, "The largest script.")
    max_execution_time: float = setting(within(DURATION, 0.1, 60), 2.0, "How long one script may run.")
