"""The process's counters: Prometheus metrics of connections and commands, of bodies, the object store and the jobs.

They live in a registry of our own, so that nothing a library registers shows up. Children with fixed labels
are kept beside their parents, because looking one up costs more than counting. What several processes count is
added up; `highest` marks gauges that would mean nothing as a sum.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

HIGHEST: Final[set[str]] = set()
"""Names of the gauges of which the highest counts when there are several processes."""


def highest(gauge: Gauge) -> Gauge:
    """Mark a gauge that is not to be added up over processes."""
    HIGHEST.update(family.name for family in gauge.describe())
    return gauge


ACCEPTED: Final = Counter("sora_connections_accepted_total", "Connections accepted.", ("protocol",), registry=REGISTRY)
ACCEPTED_IMAP: Final = ACCEPTED.labels("imap")
ACCEPTED_LMTP: Final = ACCEPTED.labels("lmtp")
TURNED_AWAY: Final = Counter(
    "sora_connections_refused_total",
    "Connections refused for being too many, or from where nobody may.",
    ("protocol",),
    registry=REGISTRY,
)
TURNED_AWAY_IMAP: Final = TURNED_AWAY.labels("imap")
TURNED_AWAY_LMTP: Final = TURNED_AWAY.labels("lmtp")

LOGINS: Final = Counter("sora_logins_total", "Sign-ins.", ("outcome",), registry=REGISTRY)
LOGIN_OK: Final = LOGINS.labels("ok")
LOGIN_REFUSED: Final = LOGINS.labels("refused")

IMAP_COMMANDS: Final = Counter("sora_imap_commands_total", "IMAP commands begun.", ("command",), registry=REGISTRY)

DELIVERIES: Final = Counter(
    "sora_deliveries_total", "Answers to LMTP peers for each recipient of a message.", ("outcome",), registry=REGISTRY
)
DELIVERY_STORED: Final = DELIVERIES.labels("stored")
DELIVERY_DUPLICATE: Final = DELIVERIES.labels("duplicate")
DELIVERY_REFUSED: Final = DELIVERIES.labels("refused")
DELIVERY_DEFERRED: Final = DELIVERIES.labels("deferred")

QUOTA_WARNINGS: Final = Counter(
    "sora_quota_warnings_total", "Accounts that a message filled up to a threshold.", ("percent",), registry=REGISTRY
)

S3_REQUESTS: Final = Counter(
    "sora_s3_requests_total", "Attempts at S3 requests.", ("operation", "outcome"), registry=REGISTRY
)
S3_SECONDS: Final = Histogram(
    "sora_s3_seconds", "Time of S3 operations, retries included.", ("operation",), buckets=_SECONDS, registry=REGISTRY
)
S3_BREAKER_OPEN: Final = highest(
    Gauge("sora_s3_breaker_open", "1 while requests to S3 are refused without being tried.", registry=REGISTRY)
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
STAGED_AGE: Final = highest(Gauge("sora_staged_oldest_seconds", "Age of the oldest body waiting.", registry=REGISTRY))

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
