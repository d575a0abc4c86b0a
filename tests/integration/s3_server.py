"""moto's S3 server on loopback, in a thread of the test process, started when first needed.

It knows S3's shapes but checks neither signatures nor checksums: `fake_s3` does.
"""

import logging
from functools import cache

import attrs
from moto.server import ThreadedMotoServer
from twisted.internet import reactor

from sora.s3.client import S3ObjectStore
from sora.s3.settings import S3Settings


@attrs.frozen
class MotoServer:
    """A running server."""

    host: str
    port: int

    def settings(self, bucket: str, **changes: object) -> S3Settings:
        """Return settings for a bucket of this server."""
        values: dict[str, object] = {
            "endpoint": f"http://{self.host}:{self.port}",
            "bucket": bucket,
            "path_style": True,
            "allow_http": True,
            "access_key": "test",
            "secret_key": "test",
        }
        return S3Settings(**(values | changes))  # type: ignore[arg-type]


@cache
def server() -> MotoServer:
    """Return the process's server; it ends with the reactor, which trial's workers end after each test."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    threaded = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    threaded.start()
    host, port = threaded.get_host_and_port()

    def stop() -> None:
        server.cache_clear()
        threaded.stop()

    # In its own thread it would keep the process from ending.
    reactor.addSystemEventTrigger("during", "shutdown", stop)
    return MotoServer(host, port)


async def make_bucket(settings: S3Settings) -> None:
    """Create the bucket that `settings` name."""
    store = S3ObjectStore(settings, reactor)
    try:
        await store.create_bucket()
    finally:
        await store.close()
