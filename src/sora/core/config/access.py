"""The sections that hold for the whole process: its size, limits, sign-in, TLS and logging."""

# ruff: noqa: RUF009  the calls declare attrs fields

import os
from pathlib import Path

import attrs

from sora.core import limits
from sora.core.config.kinds import BOOLEAN, DURATION, NETWORK, PATH, SIZE, TEXT, Network, choice, integer, many, within
from sora.core.config.setting import setting, table


@attrs.frozen(kw_only=True)
class Process:
    """The server's processes."""

    workers: int | None = setting(
        integer(0, 256),
        None,
        "Processes that serve connections, beside one for background jobs and their parent; 0: one process does "
        "everything; left out: one for each processor.",
        example=4,
    )
    hostname: str | None = setting(
        TEXT,
        None,
        "The name of this host in greetings and Received fields; left out: the system's.",
        example="mail.example.org",
    )
    shutdown_timeout: float = setting(DURATION, 10.0, "How long conversations may take to end when the server stops.")

    transport: str = setting(
        choice("lean", "stock"),
        "lean",
        "How mail connections are served: `lean` sends at once and costs less; `stock` is Twisted's own way.",
    )

    @property
    def worker_count(self) -> int:
        """How many workers there are; 0: everything in one process."""
        if self.workers is not None:
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@attrs.frozen(kw_only=True)
class Limits:
    """Ceilings for all servers; zero never means unlimited."""

    message_max: int = setting(
        within(SIZE, 1024, limits.IMAP_DRAIN_MAX), limits.MESSAGE_MAX, "The largest message accepted by any way in."
    )
    append_limit: int | None = setting(
        within(SIZE, 1024, limits.IMAP_DRAIN_MAX),
        None,
        "The largest message by IMAP APPEND; left out: message_max.",
        example="25mb",
    )
    max_connections: int = setting(
        integer(1, 1_000_000), 20_000, "Connections of one server at once, over all workers."
    )
    session_memory: int = setting(
        within(SIZE, 1024, limits.IMAP_DRAIN_MAX),
        limits.SESSION_MEMORY,
        "Octets of messages that one IMAP session holds at once: all of one APPEND, or the answer to FETCH about one "
        "message. One message fits in any case.",
    )


@attrs.frozen(kw_only=True)
class Auth:
    """Signing in."""

    bcrypt_cost: int = setting(integer(10, 14), 12, "The cost of new password hashes; each step doubles the work.")
    insecure_auth: bool = setting(
        BOOLEAN, False, "Let passwords be sent without TLS. Loopback and trusted_networks may do so regardless."
    )
    trusted_networks: tuple[Network, ...] = setting(
        many(NETWORK),
        (),
        "Networks that may send passwords without TLS and are never slowed down.",
        example=["10.0.0.0/8"],
    )
    cache_ttl: float = setting(
        within(DURATION, 0, 3600), 300.0, "How long a verified login is remembered (as a keyed digest); 0: not at all."
    )
    cache_size: int = setting(integer(1, 10_000_000), 10_000, "How many of them.")
    hashing_threads: int | None = setting(
        integer(1, 256),
        None,
        "Threads that compute password hashes; left out: one less than the processors.",
        example=2,
    )
    hashing_queue: int = setting(integer(1, 100_000), 256, "Sign-ins that may wait for them; more are asked to retry.")
    throttle: bool = setting(BOOLEAN, True, "Answer failed sign-ins later and later.")
    throttle_delay: float = setting(within(DURATION, 0, 60), 1.0, "The delay after the second failure; it doubles.")
    throttle_delay_max: float = setting(within(DURATION, 0, 120), 15.0, "The longest such delay.")
    throttle_window: float = setting(within(DURATION, 1, 86_400), 600.0, "Failures are forgotten after this time.")


@attrs.frozen(kw_only=True)
class LetsEncrypt:
    """Certificates from Let's Encrypt."""

    email: str = setting(TEXT, "", "Whom the authority writes to.", example="postmaster@example.org")
    domains: tuple[str, ...] = setting(many(TEXT), (), "Names to have certificates for.", example=["mail.example.org"])
    default_domain: str | None = setting(
        TEXT, None, "The certificate for clients that name none.", example="mail.example.org"
    )
    renew_before: float = setting(within(DURATION, 86_400), 30 * 86_400.0, "How long before its end to renew one.")


@attrs.frozen(kw_only=True)
class Tls:
    """The certificate of all servers that name none of their own; it is followed when the files change."""

    enabled: bool = setting(BOOLEAN, True, "Use this certificate.")
    provider: str = setting(choice("file", "letsencrypt"), "file", "Where it comes from.")
    cert_file: Path | None = setting(
        PATH, None, "PEM certificate with its chain; left out: one of our own making.", example="/etc/sora/tls.pem"
    )
    key_file: Path | None = setting(PATH, None, "Its PEM private key.", example="/etc/sora/tls.key")
    letsencrypt: LetsEncrypt | None = table(LetsEncrypt, optional=True)


@attrs.frozen(kw_only=True)
class Logging:
    """What is written about what happens."""

    level: str = setting(choice("debug", "info", "warn", "error"), "info", "The least important lines that are shown.")
    format: str = setting(choice("console", "json"), "console", "One line of text, or one JSON object, an event.")
    output: str = setting(TEXT, "stderr", "`stderr`, `stdout`, or the path of a file to append to.")
