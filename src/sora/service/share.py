"""What part of a node's limits one process gets, so that what the configuration says holds for all of them together."""

import os
import shutil
from pathlib import Path
from typing import Final

import attrs

from sora.core import limits
from sora.core.config.model import Configuration
from sora.core.config.storage import Database
from sora.postgres.settings import DatabaseSettings

POOL_MIN: Final = 2
"""Database connections that a process has at least: one request that waits must not stop the others."""


def part(total: int, workers: int, *, least: int = 1) -> int:
    """Return one worker's part of a number, rounded up."""
    return max(-(-total // workers), least)


def for_worker(configuration: Configuration, slot: int, workers: int) -> Configuration:
    """Return the configuration that one of several workers works with."""
    cache = configuration.local_cache
    servers = {
        name: attrs.evolve(
            server,
            max_connections=_part(server.max_connections, workers),
            max_connections_per_ip=_part(server.max_connections_per_ip, workers),
        )
        for name, server in configuration.servers.items()
    }
    return attrs.evolve(
        configuration,
        database=_database(configuration.database, workers),
        servers=servers,
        limits=attrs.evolve(configuration.limits, max_connections=part(configuration.limits.max_connections, workers)),
        auth=attrs.evolve(configuration.auth, hashing_threads=threads(workers, configuration.auth.hashing_threads)),
        local_cache=attrs.evolve(
            cache,
            path=cache_directory(configuration) / str(slot),
            capacity=part(cache.capacity, workers),
        ),
    )


def for_jobs(configuration: Configuration) -> Configuration:
    """Return the configuration that the process of the background jobs works with: few connections, no cache."""
    return attrs.evolve(
        configuration,
        database=None if configuration.database is None else _pool(configuration.database, POOL_MIN),
        local_cache=attrs.evolve(configuration.local_cache, enabled=False),
    )


def pool(settings: DatabaseSettings, most: int) -> DatabaseSettings:
    """Return the same database with at most `most` connections."""
    return attrs.evolve(settings, pool_max=most, pool_min=min(settings.pool_min, most))


def threads(workers: int, asked: int | None = None) -> int:
    """Return how many threads of one kind a worker has: its part of those asked for, or of the spare processors."""
    return max(1, (asked or max(1, (os.cpu_count() or 1) - 1)) // workers)


def octets(configuration: Configuration, workers: int) -> int:
    """Return how much of messages being delivered a worker may hold: room for the largest at least."""
    return part(limits.LMTP_TRANSACTION_OCTETS_MAX, workers, least=configuration.limits.message_max)


def cache_directory(configuration: Configuration) -> Path:
    """Return the directory of the body cache."""
    return configuration.local_cache.path or configuration.embedded.state / "cache"


def tidy_cache(directory: Path, workers: int) -> None:
    """Remove what another number of workers left in the cache's directory: nobody would bound it any more."""
    kept = {str(slot) for slot in range(workers)}
    for entry in directory.glob("*"):
        if entry.name.isdigit() and entry.name not in kept and entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif workers and entry.suffix == ".bodies":
            entry.unlink(missing_ok=True)


def _part(total: int | None, workers: int) -> int | None:
    return None if total is None else part(total, workers)


def _database(database: Database | None, workers: int) -> Database | None:
    return None if database is None else _pool(database, part(database.max_connections, workers, least=POOL_MIN))


def _pool(database: Database, most: int) -> Database:
    read = database.read
    if read is not None and read.max_connections is not None:
        # In the proportion of the primary's.
        standby = max(POOL_MIN, read.max_connections * most // database.max_connections)
        least = database.min_connections if read.min_connections is None else read.min_connections
        read = attrs.evolve(read, max_connections=standby, min_connections=min(least, standby))
    return attrs.evolve(database, max_connections=most, min_connections=min(database.min_connections, most), read=read)
