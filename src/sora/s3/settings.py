"""What an S3 bucket needs to be told: where it is, how to speak to it, how patient to be."""

from pathlib import Path
from urllib.parse import urlsplit

import attrs


@attrs.frozen(kw_only=True)
class S3Settings:
    """One bucket and how to reach it. Times are in seconds, sizes in octets."""

    endpoint: str
    """`https://s3.example.org`, with a port if need be and without a path."""
    bucket: str
    region: str = "us-east-1"
    prefix: str = ""
    """Put before each key; ends with "/" when it is to look like a folder."""
    path_style: bool = False
    """`endpoint/bucket/key` instead of `bucket.endpoint/key`."""
    access_key: str | None = None
    """None, with `secret_key` None: botocore's chain (environment, profile, instance role)."""
    secret_key: str | None = attrs.field(default=None, repr=False)
    session_token: str | None = attrs.field(default=None, repr=False)
    ca_file: str | None = None
    """PEM certificates to trust instead of the system's."""
    verify: bool = True
    """Whether the server's certificate and name are checked."""
    allow_http: bool = False
    """Whether an `http://` endpoint is accepted."""
    sse: str | None = None
    """`AES256` or `aws:kms`; None sends no header."""
    kms_key_id: str | None = None
    """Only with `aws:kms`."""
    timeout: float = 15.0
    """One attempt: until the answer is complete (one second more for each MiB)."""
    deadline: float = 45.0
    """One operation with its retries (one second more for each MiB)."""
    connect_timeout: float = 5.0
    attempts_max: int = 5
    retry_base: float = 0.1
    """The first wait is up to this long; each further one up to twice as long as the one before."""
    retry_max: float = 5.0
    connections_max: int = 32
    """Requests in flight at once, and connections kept open."""
    idle_timeout: float = 60.0
    """How long an unused connection is kept."""
    multipart_threshold: int = 16_777_216
    part_size: int = 8_388_608
    object_max: int = 536_870_912
    """The largest object that is read."""
    breaker_failures: int = 8
    """Failed attempts in a row after which nothing is tried for a while."""
    breaker_pause: float = 5.0
    """That while; doubled, up to `breaker_pause_max`, each time the trial request fails."""
    breaker_pause_max: float = 60.0

    def complaints(self) -> list[str]:
        """Return every reason why these settings cannot work; empty when they may."""
        url = urlsplit(self.endpoint)
        checks = [
            (url.scheme in ("http", "https") and bool(url.hostname), "endpoint must be an http:// or https:// URL"),
            (url.scheme != "http" or self.allow_http, "endpoint is not TLS; set allow_http to accept that"),
            (not url.path.strip("/") and not url.query, "endpoint must not have a path"),
            (bool(self.bucket), "bucket is missing"),
            ((self.access_key is None) == (self.secret_key is None), "access_key and secret_key go together"),
            (self.ca_file is None or _has_certificate(self.ca_file), "ca_file cannot be read or holds no certificate"),
            (self.sse in (None, "AES256", "aws:kms"), "sse must be AES256 or aws:kms"),
            (self.kms_key_id is None or self.sse == "aws:kms", "kms_key_id needs sse aws:kms"),
            (self.part_size >= 5_242_880, "part_size must be at least 5mb"),
            (self.multipart_threshold >= self.part_size, "multipart_threshold must be at least part_size"),
            (self.connections_max >= 1, "connections_max must be at least 1"),
            (self.attempts_max >= 1, "attempts_max must be at least 1"),
            (self.timeout > 0 and self.deadline >= self.timeout, "deadline must be at least timeout"),
        ]
        return [complaint for good, complaint in checks if not good]


def _has_certificate(path: str) -> bool:
    try:
        return b"-----BEGIN CERTIFICATE-----" in Path(path).read_bytes()
    except OSError:
        return False
