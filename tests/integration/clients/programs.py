"""Running other people's programs: a home of their own, a limit in time, and all they said when they fail."""

import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).parents[3]
TIMEOUT = 60.0


class ProgramFailed(AssertionError):
    """A program ended with a status that the test did not expect."""


def environment(home: Path | None = None) -> dict[str, str]:
    """Return the environment of a program: ours, in plain English, with another home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PG", "PYTHON", "XDG_"))
    }
    kept["LC_ALL"] = "C.UTF-8"
    kept["PATH"] = os.pathsep.join((kept.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    if home is not None:
        kept["HOME"] = str(home)
    return kept


def run(
    *command: str,
    home: Path | None = None,
    stdin: str = "",
    timeout: float = TIMEOUT,
    expect: int | None = 0,
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end. Raises `ProgramFailed` with its output unless it ends with `expect` (None: any)."""
    done = subprocess.run(
        command,
        input=stdin.encode(),
        capture_output=True,
        timeout=timeout,
        env=environment(home),
        cwd=home or CHECKOUT,
        check=False,
    )
    stdout, stderr = (output.decode("utf-8", "replace") for output in (done.stdout, done.stderr))
    if expect is not None and done.returncode != expect:
        raise ProgramFailed(f"{command[0]} ended with status {done.returncode}:\n{stdout}\n{stderr}")
    return subprocess.CompletedProcess(command, done.returncode, stdout, stderr)
