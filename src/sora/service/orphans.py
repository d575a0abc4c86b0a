"""The end of an embedded PostgreSQL whose parent was killed: the last of the orphaned children stops it.

Two locks in the state directory decide: every child shares `workers.lock` while it lives, so that whoever can have
it alone is the last; `postgres.lock` belongs to the parent, so that whoever can have it knows that there is no new one.
"""

import contextlib
import fcntl
import os
import signal
from pathlib import Path
from typing import IO, Any

from sora.aio import sleep
from sora.service import embedded
from sora.service.embedded_lock import StateLock

_POLL = 0.05


class Bond:
    """One child's share in the embedded PostgreSQL."""

    def __init__(self, state: Path) -> None:
        """Take part; the directory exists."""
        self._state = state
        self._shared: IO[str] | None = open(state / "workers.lock", "a", encoding="ascii")  # noqa: SIM115  held while we run
        fcntl.flock(self._shared, fcntl.LOCK_SH)

    def release(self) -> None:
        """Take part no more."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    async def end_postgres(self, reactor: Any, patience: float = embedded.STOP_TIMEOUT) -> bool:
        """Stop PostgreSQL if nobody needs it any more, and wait for its end; tells whether it was stopped."""
        if self._shared is None:
            return False
        lock = StateLock(self._state)
        try:
            # A failed try loses what we shared, which is as well: one of two who try at once succeeds.
            fcntl.flock(self._shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock.take_now(ending=True) and await self._stop(reactor, patience)
        except OSError:
            return False
        finally:
            lock.release()
            self.release()

    async def _stop(self, reactor: Any, patience: float) -> bool:
        pid = embedded.postmaster(self._state)
        if pid is None:
            return False
        deadline = reactor.seconds() + patience
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        while embedded.postmaster(self._state) == pid and reactor.seconds() < deadline:
            await sleep(reactor, _POLL)
        return True
