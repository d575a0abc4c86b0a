"""Opens what mail is kept in: the database, the object store and the caches a configuration names.

The server and `sora-admin` both come through here. Without `[database]` an embedded PostgreSQL in the state
directory is started, or used where one runs already; without `[s3]` bodies lie in a directory there.
"""

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
from sora.store.interfaces import ObjectStore

log = Logger()

_Closers = list[Callable[[], Awaitable[Any]]]


@attrs.define
class Storage:
    """Everything that is kept, open; `close` closes it in the reverse order."""

    store: PostgresStore
    objects: ObjectStore
    bodies: Reader
    _closers: _Closers

    async def close(self) -> None:
        """Close whatever was opened; what fails to close does not keep the rest open."""
        self.bodies.close()
        await _close_all(self._closers)


async def _close_all(closers: _Closers) -> None:
    while closers:
        try:
            await closers.pop()()
        except Exception:  # noqa: BLE001  a boundary: the rest must be closed, and that is all there is to do
            log.failure("something could not be closed")


async def open_storage(configuration: Configuration, reactor: Any, *, serving: bool = False) -> Storage:
    """Open the storage of a configuration; the schema is brought up to date first.

    `serving`: for the server, which keeps a local cache and owns the embedded PostgreSQL; others use the one
    of a server that runs, or start it while they need it.
    Raises `ConfigurationInvalid` (what to change) and `DatabaseUnavailable`.
    """
    closers: _Closers = []
    try:
        settings = await _database(configuration, reactor, closers, serving=serving)
        return await _open(configuration, settings, reactor, closers, serving=serving)
    except BaseException:
        await _close_all(closers)
        raise


async def _open(
    configuration: Configuration, settings: DatabaseSettings, reactor: Any, closers: _Closers, *, serving: bool
) -> Storage:
    wait_max = configuration.database.migration_timeout if configuration.database is not None else WAIT_MAX
    for number in await migrate(settings, reactor, wait_max=wait_max):
        log.info("the database schema is now at version {number}", number=number)
    reading = configuration.database.reading if configuration.database is not None else None
    store = open_store(
        settings,
        reactor,
        reading=attrs.evolve(database_settings(reading), writable=False) if reading is not None else None,
    )
    closers.append(store.stop)
    await store.start()
    unsafe = configuration.database is not None and configuration.database.allow_unsafe
    for complaint in await verify(store.database, unsafe=unsafe):
        log.warn("{complaint}", complaint=complaint)
    objects = open_objects(configuration, reactor, closers)
    cache = None
    if serving and configuration.local_cache.enabled:
        cache = SegmentCache(
            configuration.local_cache.path or configuration.embedded.state / "cache",
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


async def _database(
    configuration: Configuration,
    reactor: Any,
    closers: _Closers,
    *,
    serving: bool,
) -> DatabaseSettings:
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


def open_objects(configuration: Configuration, reactor: Any, closers: _Closers) -> ObjectStore:
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
