"""The process's counters: Prometheus metrics of bodies, the object store and the background jobs, and their rendering.

They live in a registry of our own, so that nothing a library registers shows up. Children with fixed labels
are kept beside their parents, because looking one up costs more than counting.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY: Final = CollectorRegistry()

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

S3_REQUESTS: Final = Counter(
    "sora_s3_requests_total", "Attempts at S3 requests.", ("operation", "outcome"), registry=REGISTRY
)
S3_SECONDS: Final = Histogram(
    "sora_s3_seconds", "Time of S3 operations, retries included.", ("operation",), buckets=_SECONDS, registry=REGISTRY
)
S3_BREAKER_OPEN: Final = Gauge(
    "sora_s3_breaker_open", "1 while requests to S3 are refused without being tried.", registry=REGISTRY
)

BODY_READS: Final = Counter(
    "sora_body_reads_total", "Bodies read, by where they were found.", ("source",), registry=REGISTRY
)
READ_MEMORY: Final = BODY_READS.labels("memory")
READ_DISK: Final = BODY_READS.labels("disk")
READ_STAGED: Final = BODY_READS.labels("staged")
READ_OBJECT: Final = BODY_READS.labels("object")
READ_FAILED: Final = BODY_READS.labels("failed")
READ_CORRUPT: Final = BODY_READS.labels("corrupt")

CACHE_OCTETS: Final = Gauge("sora_body_cache_octets", "Octets held by the disk cache of bodies.", registry=REGISTRY)
CACHE_BODIES: Final = Gauge("sora_body_cache_bodies", "Bodies held by the disk cache.", registry=REGISTRY)
CACHE_CORRUPT: Final = Counter(
    "sora_body_cache_corrupt_total", "Cached bodies dropped because their hash did not fit.", registry=REGISTRY
)
CACHE_ERRORS: Final = Counter(
    "sora_body_cache_errors_total", "Reads and writes the disk cache's file system refused.", registry=REGISTRY
)
CACHE_SKIPPED: Final = Counter(
    "sora_body_cache_skipped_total", "Bodies not cached because too many waited to be written.", registry=REGISTRY
)

UPLOADS: Final = Counter("sora_uploads_total", "Attempts to upload staged bodies.", ("outcome",), registry=REGISTRY)
UPLOAD_DONE: Final = UPLOADS.labels("done")
UPLOAD_FAILED: Final = UPLOADS.labels("failed")
UPLOAD_SECONDS: Final = Histogram(
    "sora_upload_seconds", "Time of an upload, retries included.", buckets=_SECONDS, registry=REGISTRY
)
STAGED_BODIES: Final = Gauge("sora_staged_bodies", "Bodies waiting to be uploaded.", registry=REGISTRY)
STAGED_OCTETS: Final = Gauge("sora_staged_octets", "Octets of bodies waiting to be uploaded.", registry=REGISTRY)
STAGED_AGE: Final = Gauge("sora_staged_oldest_seconds", "Age of the oldest body waiting.", registry=REGISTRY)

OBJECTS_DELETED: Final = Counter(
    "sora_objects_deleted_total", "Objects deleted because no message refers to them.", registry=REGISTRY
)
JOB_FAILURES: Final = Counter(
    "sora_job_failures_total", "Rounds of background jobs that failed.", ("job",), registry=REGISTRY
)

REACTOR_BLOCKED: Final = Histogram(
    "sora_reactor_blocked_seconds",
    "Turns of the reactor that kept it from all other connections for longer than 50 ms.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=REGISTRY,
)


def render() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
