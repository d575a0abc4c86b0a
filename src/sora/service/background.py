"""Builds the background jobs of a configuration on open storage: what uploads, collects, counts and indexes."""

from typing import Any

from sora.core.config.model import Configuration
from sora.jobs.collect import Collector
from sora.jobs.quota import DomainCounter
from sora.jobs.text_index import TextIndexer
from sora.jobs.upload import Uploader
from sora.service.storage import Storage


class Background:
    """The jobs that the configuration wants on this node."""

    def __init__(self, configuration: Configuration, storage: Storage, reactor: Any) -> None:
        """Build them; nothing runs before `start`."""
        self.uploader = _uploader(configuration, storage, reactor)
        self.collector = _collector(configuration, storage, reactor)
        self.counter = DomainCounter(storage.store.quotas, clock=reactor, interval=configuration.quota.domain_interval)
        self.indexer = TextIndexer(storage.store.text_indexes, clock=reactor)

    def start(self) -> None:
        """Begin."""
        for job in (self.uploader, self.collector, self.counter, self.indexer):
            if job is not None:
                job.startService()

    async def stop(self) -> None:
        """Let uploads in flight end within the limit, and begin nothing more."""
        for job in (self.uploader, self.collector, self.counter, self.indexer):
            if job is not None and job.running:
                await job.stopService()

    def wake(self) -> None:
        """Say that bodies were staged."""
        if self.uploader is not None:
            self.uploader.announce()


def _uploader(configuration: Configuration, storage: Storage, reactor: Any) -> Uploader | None:
    section = configuration.uploader
    if not section.enabled:
        return None
    return Uploader(
        storage.store.bodies,
        storage.objects,
        clock=reactor,
        feed=storage.store.feed,
        concurrency=section.concurrency,
        octets_max=section.memory,
        interval=section.wake_interval,
        wake_delay=section.wake_delay,
        lease=section.lease,
        retry_base=section.retry_interval,
        retry_max=section.retry_max,
        stop_limit=configuration.process.shutdown_timeout,
    )


def _collector(configuration: Configuration, storage: Storage, reactor: Any) -> Collector | None:
    section = configuration.cleanup
    if not section.enabled:
        return None
    return Collector(
        storage.store.bodies,
        storage.objects,
        clock=reactor,
        grace=section.grace_period,
        generation=section.generation,
        interval=section.wake_interval,
        limit=section.batch_size,
    )
