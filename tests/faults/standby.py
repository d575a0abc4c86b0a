"""A PostgreSQL with a streaming standby that can be promoted: two servers, as an installation of one's own has them."""

import subprocess
import time
from typing import Any

from tests.integration.database import PORT, Server

PRIMARY = {
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "synchronous_commit": "on",
}


class Standby(Server):
    """A copy of a running server that follows it."""

    def __init__(self, primary: Server) -> None:
        """Copy the primary, which was started with `PRIMARY`, and follow it."""
        self._primary = primary
        super().__init__(**PRIMARY)

    def _initialise(self) -> None:
        subprocess.run(
            [
                *(str(self._bin / "pg_basebackup"), "-D", str(self.directory / "data"), "-h"),
                *(str(self._primary.directory), "-p", str(PORT), "-U", "sora", "-R", "-X", "stream", "-c", "fast"),
                "--no-sync",
            ],
            check=True,
            cwd="/",
            **self._as(),
        )

    def promote(self) -> None:
        """Become a primary; returns when writes are taken."""
        self.execute("postgres", "SELECT pg_promote()")


def pair() -> tuple[Server, Standby]:
    """Return a primary and its standby, for which every commit waits from now on."""
    primary = Server(**PRIMARY)
    try:
        standby = Standby(primary)
        primary.execute("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("postgres", "SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while not _follows(primary):
            if time.monotonic() > deadline:
                raise RuntimeError("the standby does not follow")
            time.sleep(0.02)
    except BaseException:
        primary.stop()
        raise
    return primary, standby


def _follows(primary: Server) -> bool:
    rows: list[tuple[Any, ...]] = primary.execute("postgres", "SELECT sync_state FROM pg_stat_replication")
    return ("sync",) in rows or ("quorum",) in rows
