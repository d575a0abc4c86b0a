"""What is read from a process when its metrics are asked for: its database pool, connections, memory, time."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sora.observe import metrics
from sora.observe.sums import Snapshot, add, take
from sora.postgres.pool import Pool
from sora.service.servers import Servers
from sora.service.storage import Storage

_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = Path("/proc/self/fd")


class ProcessFigures:
    """The figures of this process itself; `slot` names it among those of the server."""

    def __init__(self, slot: str) -> None:
        self._slot = slot
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yield time, memory and descriptors."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield self._counter(
            "sora_process_cpu_seconds", "Processor time used, in user and system mode.", used.ru_utime + used.ru_stime
        )
        if _STATM.exists():
            pages = int(_STATM.read_text().split()[1])
            yield self._gauge("sora_process_resident_octets", "Memory in use.", pages * resource.getpagesize())
            yield self._gauge("sora_process_descriptors", "Open descriptors.", len(os.listdir(_DESCRIPTORS)))
        yield self._gauge(
            "sora_process_start_seconds", "When the process started, in seconds of Unix time.", self._started
        )

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("slot",))
        family.add_metric((self._slot,), value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=("slot",))
        family.add_metric((self._slot,), value)
        return family


class StorageFigures:
    """The figures of a process's database connections."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Iterator[Metric]:
        """Yield those of the pools and the change feed."""
        store = self._storage.store
        pools = {"primary": store.pool} if store.standby is None else {"primary": store.pool, "read": store.standby}
        gauges: dict[str, tuple[str, Callable[[Pool], int]]] = {
            "sora_database_connections": ("Connections to the database.", lambda pool: len(pool.connections)),
            "sora_database_connections_max": ("Connections there may be.", lambda pool: pool.settings.pool_max),
            "sora_database_connections_in_use": ("Connections that someone has.", lambda pool: pool.in_use),
            "sora_database_waiting": ("Requests that wait for a connection.", lambda pool: pool.waiting),
        }
        for name, (text, read) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=("pool",))
            for which, pool in pools.items():
                gauge.add_metric((which,), read(pool))
            yield gauge
        yield from _counted(pools)
        feed = GaugeMetricFamily("sora_feed_connected", "Processes that hear of changes by other processes.")
        feed.add_metric((), int(store.feed.connected))
        yield feed


def _counted(pools: Mapping[str, Pool]) -> Iterator[Metric]:
    texts = {
        "round_trips": "Statements sent.",
        "waits": "Requests that found no free connection.",
        "connected": "Connections opened.",
        "lost": "Connections that died.",
        "rolled_back": "Connections that came back inside a transaction.",
        "cancelled": "Statements cancelled.",
    }
    for field, text in texts.items():
        counter = CounterMetricFamily(f"sora_database_{field}", text, labels=("pool",))
        for which, pool in pools.items():
            counter.add_metric((which,), getattr(pool.counters, field))
        yield counter


class ServerFigures:
    """The figures of a process's mail servers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Yield who is connected."""
        sessions = [session for factory in self._servers.imap for session in factory.services.sessions]
        opened = GaugeMetricFamily("sora_connections", "Connections that are open.", labels=("protocol",))
        opened.add_metric(("imap",), len(sessions))
        opened.add_metric(("lmtp",), sum(factory.count for factory in self._servers.lmtp))
        yield opened
        states = GaugeMetricFamily("sora_imap_sessions", "IMAP sessions by state.", labels=("state",))
        selected = sum(session.selected is not None for session in sessions)
        signed_in = sum(session.user is not None for session in sessions)
        idling = sum(session.idling for session in sessions)
        for state, count in (
            ("not_authenticated", len(sessions) - signed_in),
            ("authenticated", signed_in - selected),
            ("selected", selected - idling),
            ("idle", idling),
        ):
            states.add_metric((state,), count)
        yield states


def taken(slot: ProcessFigures, storage: Storage | None = None, servers: Servers | None = None) -> Snapshot:
    """Return everything that this process counts."""
    snapshots = [take([metrics.REGISTRY, slot])]
    if storage is not None:
        snapshots.append(take([StorageFigures(storage)]))
    if servers is not None:
        snapshots.append(take([ServerFigures(servers)]))
    return add(snapshots)
