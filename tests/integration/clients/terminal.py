"""A terminal for programs that insist on one: a pseudo-terminal that is read to the program's end."""

import os
import pty
import selectors
import struct
import subprocess
import time
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from tests.integration.clients.programs import ProgramFailed, environment

LINES, COLUMNS = 50, 160


def run_on_terminal(*command: str, home: Path, timeout: float = 60.0) -> str:
    """Run a program on a terminal of its own. Raises `ProgramFailed` with the screen if it fails or does not end."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(home) | {"TERM": "vt100"},
        cwd=home,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        screen = _read(ours, time.monotonic() + timeout)
        if screen is not None and process.wait(5) == 0:
            return screen
        raise ProgramFailed(f"{command[0]} ended with status {process.returncode} or not at all:\n{screen}")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(descriptor: int, deadline: float) -> str | None:
    """Read until the program closes its side; None when time is up."""
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return None
            try:
                data = os.read(descriptor, 65_536)
            except OSError:
                # Linux says so when the last holder of the other side is gone.
                data = b""
            if not data:
                return output.decode("utf-8", "replace")
            output += data
