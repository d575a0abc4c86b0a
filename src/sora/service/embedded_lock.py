"""Who has a state directory: one process, which says so in a locked file that its end, however it comes, unlocks."""

import fcntl
import os
from pathlib import Path
from typing import IO, Any, Final

from sora.aio import sleep
from sora.core.errors import ConfigurationInvalid

FILE: Final = "postgres.lock"
ENDING_MAX: Final = 70.0
"""Seconds to wait for someone who stops the PostgreSQL of a server that was killed: longer than that may take."""
_ENDING: Final = "ending"
_POLL: Final = 0.05


class StateLock:
    """The right to run the embedded PostgreSQL of a state directory."""

    def __init__(self, state: Path) -> None:
        """Prepare; the directory need not exist yet."""
        self._state = state
        self._owner: IO[str] | None = None

    async def take(self, reactor: Any) -> None:
        """Take it; waits for someone who is about to leave. Raises `ConfigurationInvalid`, `OSError`."""
        deadline = reactor.seconds() + ENDING_MAX
        while not self.take_now():
            pid, _, doing = (self._state / FILE).read_text("ascii", "replace").strip().partition(" ")
            if doing != _ENDING or reactor.seconds() >= deadline:
                raise ConfigurationInvalid([f"process {pid} serves the state directory {self._state} already"])
            await sleep(reactor, _POLL)

    def take_now(self, *, ending: bool = False) -> bool:
        """Take it if nobody has it; `ending` says that it is for a short time, to stop what runs."""
        owner = open(self._state / FILE, "a+", encoding="ascii")  # noqa: SIM115  held while we run
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.close()
            return False
        owner.truncate(0)
        owner.write(f"{os.getpid()} {_ENDING}\n" if ending else f"{os.getpid()}\n")
        owner.flush()
        self._owner = owner
        return True

    def release(self) -> None:
        """Give it back; harmless without having it."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
