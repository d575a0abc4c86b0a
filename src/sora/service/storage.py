"""Opens what mail is kept in: the database, the object store and the caches a configuration names.

The server and `sora-admin` both come through here. Without `[database]` an embedded PostgreSQL in the state
directory is started, or used where one runs already; without `[s3]` bodies lie in a directory there.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.logger import Logger

from sora.core.config.model import Configuration
from sora.core.config.storage import S3, Database
from sora.core.errors import ConfigurationInvalid
from sora.disk.bodies import DirectoryObjectStore
from sora.disk.cache import SegmentCache
from sora.mail.bodies import Reader
from sora.postgres.checks import verify
from sora.postgres.migrate import WAIT_MAX, migrate
from sora.postgres.settings import DatabaseSettings
from sora.postgres.store import PostgresStore, open_store
from sora.s3.client import S3ObjectStore
from sora.s3.seal import KeyRing, SealedObjectStore
from sora.s3.settings import S3Settings
from sora.service.embedded import EmbeddedPostgres, running
from sora.service.share import cache_directory
from sora.store.interfaces import ObjectStore

log = Logger()

OnEmbedded = Callable[[EmbeddedPostgres], None]
Closers = list[Callable[[], Awaitable[Any]]]
"""What closes things, in the order in which they were opened."""


@attrs.define
class Storage:
    """Everything that is kept, open; `close` closes it in the reverse order."""

    store: PostgresStore
    objects: ObjectStore
    bodies: Reader
    _closers: Closers

    async def close(self) -> None:
        """Close whatever was opened; what fails to close does not keep the rest open."""
        self.bodies.close()
        await close_all(self._closers)


async def close_all(closers: Closers) -> None:
    """Close everything, the last that was opened first."""
    while closers:
        try:
            await closers.pop()()
        except Exception:  # noqa: BLE001  a boundary: the rest must be closed, and that is all there is to do
            log.failure("something could not be closed")


async def open_storage(
    configuration: Configuration,
    reactor: Any,
    *,
    serving: bool = False,
    prepared: DatabaseSettings | None = None,
    on_embedded: OnEmbedded | None = None,
) -> Storage:
    """Open the storage of a configuration; the schema is brought up to date first.

    `serving`: for the server, which keeps a local cache and owns the embedded PostgreSQL; others use the one
    of a server that runs, or start it while they need it. `prepared`: a database that `open_for_parent` has seen
    already. `on_embedded` is told of the embedded PostgreSQL before it is started.
    Raises `ConfigurationInvalid` (what to change) and `DatabaseUnavailable`.
    """
    closers: Closers = []
    try:
        settings = prepared
        if settings is None:
            settings = await find_database(configuration, reactor, closers, serving=serving, on_embedded=on_embedded)
            if not serving:
                # What an administrator asks may take as long as it takes.
                settings = attrs.evolve(settings, silence_max=math.inf)
            await bring_up_to_date(configuration, settings, reactor)
        store = await _open_store(configuration, settings, reactor, closers)
        if serving:
            await store.rehearse()
        if prepared is None:
            await check_promises(configuration, store)
        return await _open(configuration, store, reactor, closers, serving=serving)
    except BaseException:
        await close_all(closers)
        raise


async def open_for_parent(
    configuration: Configuration, settings: DatabaseSettings, reactor: Any, closers: Closers
) -> PostgresStore:
    """Bring a database up to date for all workers and return a store of two connections at most. Raises as above."""
    await bring_up_to_date(configuration, settings, reactor)
    store = open_store(attrs.evolve(settings, pool_min=1, pool_max=2), reactor)
    closers.append(store.stop)
    await store.start()
    await check_promises(configuration, store)
    return store


async def bring_up_to_date(configuration: Configuration, settings: DatabaseSettings, reactor: Any) -> None:
    """Apply the steps of the schema that the database lacks."""
    wait_max = configuration.database.migration_timeout if configuration.database is not None else WAIT_MAX
    for number in await migrate(settings, reactor, wait_max=wait_max):
        log.info("the database schema is now at version {number}", number=number)


async def check_promises(configuration: Configuration, store: PostgresStore) -> None:
    """Refuse a database that does not keep what it acknowledges. Raises `ConfigurationInvalid`."""
    unsafe = configuration.database is not None and configuration.database.allow_unsafe
    for complaint in await verify(store.database, unsafe=unsafe):
        log.warn("{complaint}", complaint=complaint)


async def _open_store(
    configuration: Configuration, settings: DatabaseSettings, reactor: Any, closers: Closers
) -> PostgresStore:
    reading = configuration.database.reading if configuration.database is not None else None
    store = open_store(
        settings,
        reactor,
        reading=attrs.evolve(database_settings(reading), writable=False) if reading is not None else None,
        flags_wait_for_disk=configuration.storage.flags_wait_for_disk,
        quota=configuration.quota_defaults(),
    )
    closers.append(store.stop)
    await store.start()
    return store


async def _open(
    configuration: Configuration, store: PostgresStore, reactor: Any, closers: Closers, *, serving: bool
) -> Storage:
    objects = open_objects(configuration, reactor, closers)
    cache = None
    if serving and configuration.local_cache.enabled:
        cache = SegmentCache(
            cache_directory(configuration),
            reactor=reactor,
            size_max=configuration.local_cache.capacity,
            body_max=configuration.local_cache.max_object_size,
        )
        closers.append(cache.close)
        await cache.open()
    reader = Reader(
        store.bodies, objects, cache, clock=reactor, memory_max=configuration.local_cache.memory if serving else 0
    )
    return Storage(store, objects, reader, closers)


async def find_database(
    configuration: Configuration,
    reactor: Any,
    closers: Closers,
    *,
    serving: bool,
    on_embedded: OnEmbedded | None = None,
) -> DatabaseSettings:
    """Return how to reach the database; an embedded one is started, or found running, first.

    `on_embedded` is told of it before it is started.
    """
    if configuration.database is not None:
        return database_settings(configuration.database)
    embedded = EmbeddedPostgres(
        configuration.embedded.state,
        reactor=reactor,
        binaries=configuration.embedded.binaries,
        account=configuration.embedded.account,
    )
    place = None if serving else running(configuration.embedded.state)
    if place is None:
        if on_embedded is not None:
            on_embedded(embedded)
        place = await embedded.start()
        closers.append(embedded.stop)
    return DatabaseSettings(socket_dir=place["socket_dir"], user=place["user"], name=place["dbname"])


def database_settings(section: Database) -> DatabaseSettings:
    """Translate `[database]`."""
    return DatabaseSettings(
        hosts=section.hosts or ("127.0.0.1",),
        port=section.port,
        user=section.user,
        password=section.password.reveal() if section.password is not None else None,
        name=section.name,
        sslmode=section.effective_sslmode,
        sslrootcert=str(section.ca_file) if section.ca_file is not None else None,
        pool_min=section.min_connections,
        pool_max=section.max_connections,
        pool_wait_max=section.pool_wait_max,
        pool_queue_max=section.pool_queue_max,
        idle_timeout=section.max_conn_idle_time,
        connect_timeout=section.connect_timeout,
        statement_timeout=section.query_timeout,
        lock_timeout=section.lock_timeout,
    )


def open_objects(configuration: Configuration, reactor: Any, closers: Closers) -> ObjectStore:
    """Open S3 or the directory, behind the seal if keys are configured."""
    inner: DirectoryObjectStore | S3ObjectStore
    if configuration.s3 is not None:
        settings = s3_settings(configuration.s3)
        complaints = [f"s3: {complaint}" for complaint in settings.complaints()]
        if complaints:
            raise ConfigurationInvalid(complaints)
        inner = S3ObjectStore(settings, reactor)
    else:
        path = configuration.storage.objects or configuration.embedded.state / "objects"
        inner = DirectoryObjectStore(path, reactor=reactor)
    closers.append(inner.close)
    sealing = configuration.storage.sealing
    if not sealing.keys:
        return inner
    ring = sealing.key_ring()
    if sealing.enabled and sealing.active not in ring:
        raise ConfigurationInvalid(["storage.sealing.active: names no key of storage.sealing.keys"])
    # The key that seals stands first. What was stored before sealing was switched on stays readable: whoever
    # reads a body checks its hash, so that an object in clear cannot pass for another.
    keys = [ring.pop(sealing.active)] if sealing.active in ring else []
    return SealedObjectStore(
        inner, KeyRing([*keys, *ring.values()]), reactor=reactor, clear_allowed=True, seals=sealing.enabled
    )


def s3_settings(section: S3) -> S3Settings:
    """Translate `[s3]`."""
    return S3Settings(
        endpoint=section.url,
        bucket=section.bucket,
        region=section.region,
        prefix=section.prefix,
        path_style=section.path_style,
        access_key=section.access_key,
        secret_key=section.secret_key.reveal() if section.secret_key is not None else None,
        session_token=section.session_token.reveal() if section.session_token is not None else None,
        ca_file=str(section.ca_file) if section.ca_file is not None else None,
        verify=section.verify,
        allow_http=section.disable_tls,
        sse=section.sse,
        kms_key_id=section.kms_key_id,
        timeout=section.timeout,
        deadline=section.deadline,
        connect_timeout=section.connect_timeout,
        attempts_max=section.attempts_max,
        connections_max=section.max_connections,
        idle_timeout=section.idle_timeout,
        multipart_threshold=section.multipart_threshold,
        part_size=section.part_size,
    )
