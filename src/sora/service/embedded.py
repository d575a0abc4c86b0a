"""The embedded PostgreSQL: found or unpacked, initialised, started as our child, adopted after our crash."""

from pathlib import Path
from typing import Any, TypedDict


class Embedded(TypedDict):
    """How to reach the embedded server: a unix socket and nothing else."""

    socket_dir: str
    user: str
    dbname: str


class EmbeddedPostgres:
    """One PostgreSQL server of our own, with its data in (or pointed at by) a state directory."""

    def __init__(
        self, state_dir: Path, *, reactor: Any, binaries: Path | None = None, account: str | None = None
    ) -> None:
        """Prepare; `binaries` is a `bin` directory, `account` who runs PostgreSQL when we are root."""

    async def start(self) -> Embedded:
        """Start or adopt the server and create role and database. Raises `ConfigurationInvalid` with what to do."""
        raise RuntimeError("not started")

    async def stop(self) -> None:
        """Shut the server down (fast shutdown) and wait for its end; harmless if it does not run."""
