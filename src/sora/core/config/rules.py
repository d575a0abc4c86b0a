"""What several settings must agree on; checked once each of them is right by itself."""

from collections.abc import Iterator

from sora.core import rights
from sora.core.address import parse
from sora.core.config.locate import Key
from sora.core.config.model import Configuration
from sora.core.config.servers import Server
from sora.core.errors import AddressInvalid

Complaint = tuple[Key, str]


def contradictions(configuration: Configuration) -> Iterator[Complaint]:
    """Yield each contradiction with the key that shows it."""
    yield from _servers(configuration)
    yield from _database(configuration)
    yield from _s3(configuration)
    yield from _storage(configuration)
    yield from _sharing(configuration)
    if (configuration.tls.cert_file is None) != (configuration.tls.key_file is None):
        yield ("tls",), "cert_file and key_file go together"
    if configuration.auth.throttle_delay > configuration.auth.throttle_delay_max:
        yield ("auth", "throttle_delay"), "must be at most throttle_delay_max"


def _servers(configuration: Configuration) -> Iterator[Complaint]:
    listening: list[Server] = []
    for server in configuration.servers.values():
        key: Key = ("servers", server.name)
        if (server.tls_cert_file is None) != (server.tls_key_file is None):
            yield key, "tls_cert_file and tls_key_file go together"
        if server.tls and server.tls_use_starttls:
            yield (*key, "tls_use_starttls"), "TLS is there from the first octet already (tls = true)"
        if not server.start:
            continue
        if not server.addr:
            yield key, "a server that is started needs an addr"
            continue
        for other in listening:
            if server.address.overlaps(other.address):
                yield (*key, "addr"), f"{server.addr} is taken by servers.{other.name} ({other.addr})"
        listening.append(server)


def _database(configuration: Configuration) -> Iterator[Complaint]:
    database = configuration.database
    if database is None:
        return
    if not database.hosts:
        yield ("database", "hosts"), "names no host"
    for endpoint, key in ((database, ("database",)), (database.reading, ("database", "read"))):
        if endpoint is not None and endpoint.min_connections > endpoint.max_connections:
            yield (*key, "min_connections"), "must be at most max_connections"


def _sharing(configuration: Configuration) -> Iterator[Complaint]:
    section, key = configuration.shared_mailboxes, "shared_mailboxes"
    for name, prefix in (("namespace_prefix", section.namespace_prefix), ("users_prefix", section.users_prefix)):
        if not prefix.endswith("/") or prefix.startswith("/") or prefix.upper().startswith("INBOX/"):
            yield (key, name), 'must end with "/", and not begin with it or with INBOX'
    if section.namespace_prefix.startswith(section.users_prefix) or section.users_prefix.startswith(
        section.namespace_prefix
    ):
        yield (key, "users_prefix"), "must not begin as namespace_prefix does"
    try:
        rights.parse(section.default_rights)
    except ValueError as error:
        yield (key, "default_rights"), str(error)
    for address in configuration.quota.admins:
        try:
            parse(address)
        except AddressInvalid as error:
            yield ("quota", "admins"), f"{address}: {error}"


def _s3(configuration: Configuration) -> Iterator[Complaint]:
    s3 = configuration.s3
    if s3 is None:
        return
    if not s3.endpoint:
        yield ("s3", "endpoint"), "is missing"
        return
    scheme, _, rest = s3.url.partition("://")
    host, _, path = rest.partition("/")
    checks = (
        (bool(s3.bucket), "bucket", "is missing"),
        (scheme in ("http", "https") and bool(host), "endpoint", "must be an http:// or https:// URL"),
        (not path and "?" not in rest, "endpoint", "must not have a path"),
        ("@" not in host, "endpoint", "must not hold credentials"),
        (scheme != "http" or s3.disable_tls, "endpoint", "is not TLS; set disable_tls to accept that"),
        (s3.kms_key_id is None or s3.sse == "aws:kms", "kms_key_id", 'needs sse = "aws:kms"'),
        (s3.multipart_threshold >= s3.part_size, "multipart_threshold", "must be at least part_size"),
        (s3.deadline >= s3.timeout, "deadline", "must be at least timeout"),
    )
    for good, name, text in checks:
        if not good:
            yield ("s3", name), text
    if (s3.access_key is None) != (s3.secret_key is None):
        yield ("s3",), "access_key and secret_key go together"


def _storage(configuration: Configuration) -> Iterator[Complaint]:
    sealing = configuration.storage.sealing
    try:
        sealing.key_ring()
    except ValueError as error:
        yield ("storage", "sealing", "keys"), f"a key {error}"
    if sealing.enabled and sealing.active not in sealing.keys:
        yield ("storage", "sealing", "active"), "names none of the keys"
    if configuration.storage.staging_max > configuration.limits.message_max:
        yield ("storage", "staging_max"), "must be at most limits.message_max"
