"""Starts the servers and measures the workloads on them in turn, each when the machine is as quiet as it gets."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from bench.cyrus import Cyrus
from bench.dovecot import Dovecot
from bench.engine import Driver, ScriptFailed
from bench.figures import Figures
from bench.machine import busy, number_of_cores
from bench.measure import Measure, Scale, settle
from bench.servers import Server, Skipped, Unavailable
from bench.sora import Sora
from bench.workloads import WORKLOADS

SERVERS: dict[str, Callable[[Path], Server]] = {"sora": Sora, "dovecot": Dovecot, "cyrus": Cyrus}
_CALM = 0.10
"""Share of all processors that others may use at the start of a measurement."""
_CALM_LOOK = 0.5
_CALM_WAIT = 5.0
"""Seconds to wait for that; then it is measured as it is, and the second table tells."""

Rounds = dict[str, dict[str, list[Figures]]]
"""By workload and server."""


@attrs.frozen
class Wanted:
    """Which servers are measured, and how this project's is set up."""

    servers: Sequence[str]
    settings: str = ""
    workers: int | None = None


def say(text: str) -> None:
    """Tell who waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextlib.contextmanager
def started(wanted: Wanted) -> Iterator[list[Server]]:
    """Start the servers in a temporary directory and end them after; those that cannot be are left out."""
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="mail-bench-", ignore_cleanup_errors=True)
        root = Path(stack.enter_context(temporary))
        root.chmod(0o755)
        running = []
        for name in wanted.servers:
            directory = root / name
            directory.mkdir()
            server = SERVERS[name](directory)
            if isinstance(server, Sora):
                server = Sora(directory, wanted.settings, wanted.workers)
            stack.callback(server.stop)
            try:
                server.start()
            except Unavailable as error:
                say(f"{name} is left out: {error}")
                continue
            say(f"{name} {server.version} runs")
            running.append(server)
        if not running:
            raise SystemExit("no server to measure")
        yield running


def _wait_for_calm() -> None:
    """Wait, for a while, until nothing on the machine works; the servers ended their own work after each round."""
    deadline = time.monotonic() + _CALM_WAIT
    while time.monotonic() < deadline:
        before = busy()
        time.sleep(_CALM_LOOK)
        if busy() - before < _CALM * number_of_cores() * _CALM_LOOK:
            return


def _round(name: str, server: Server, scale: Scale, driver: Driver) -> Figures | None:
    """Measure one round and let the server end its work; None if it failed. Raises `Skipped`."""
    measure, done = Measure(server, scale, driver), False
    try:
        if not server.runs:
            server.run()
        WORKLOADS[name].run(measure)
        measure.figures.later = measure.settle()
        done = True
    except (ScriptFailed, OSError, Unavailable) as error:
        say(f"{name} on {server.name} failed: {error}")
    finally:
        measure.close()
        with contextlib.suppress(Unavailable):
            if server.as_begun() or not done:
                measure.settle()
    return measure.figures if done else None


def measure_all(names: Sequence[str], servers: Sequence[Server], scale: Scale, rounds: int) -> Rounds:
    """Measure each workload on each server in turn, round by round; Ctrl-C ends it with what there is."""
    driver = Driver()
    results: Rounds = {}
    settle(servers)
    for name in names:
        results[name] = {}
        began, fit = time.monotonic(), list(servers)
        try:
            for _ in range(min(rounds, WORKLOADS[name].rounds)):
                for server in list(fit):
                    _wait_for_calm()
                    try:
                        figures = _round(name, server, scale, driver)
                    except Skipped as reason:
                        say(f"{name} is skipped: {reason}")
                        fit.remove(server)
                        continue
                    if figures is None:
                        fit.remove(server)
                    else:
                        results[name].setdefault(server.name, []).append(figures)
        except KeyboardInterrupt:
            say(f"interrupted in {name}")
            break
        say(f"{name} measured in {time.monotonic() - began:.0f} s")
    return results
