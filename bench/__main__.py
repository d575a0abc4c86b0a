"""`python -m bench`: starts the servers, measures the workloads in turn, prints the table, ends what it started."""

import argparse
import contextlib
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.dovecot import Dovecot
from bench.engine import Driver, ScriptFailed
from bench.figures import Figures
from bench.measure import Measure, Scale
from bench.report import as_json, table
from bench.servers import Server, Sora, Unavailable, number_of_cores
from bench.workloads import WORKLOADS

SERVERS: dict[str, type[Server]] = {"sora": Sora, "dovecot": Dovecot}
_QUICK = Scale(messages=2_000, bulk=500, factor=0.25, seconds=4.0, idlers=400)
_FULL = Scale(messages=10_000, bulk=1_000, factor=1.0, seconds=15.0, idlers=1_000)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this server beside others.")
    parser.add_argument("--only", action="append", metavar="WORKLOAD", help="a name, or the beginning of names")
    parser.add_argument("--servers", default=",".join(SERVERS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="rounds of each workload (default: 3, quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small mailboxes and counts")
    parser.add_argument("--messages", type=int, help="messages of the big mailbox (10000, quick: 2000)")
    parser.add_argument("--settings", type=Path, help="TOML put after this server's configuration")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _chosen(only: Sequence[str] | None) -> list[str]:
    if not only:
        return list(WORKLOADS)
    chosen = [name for name in WORKLOADS if name in only or any(name.startswith(begin) for begin in only)]
    unknown = [begin for begin in only if not any(name.startswith(begin) for name in WORKLOADS)]
    if unknown:
        raise SystemExit(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return chosen


def _scale(options: argparse.Namespace) -> Scale:
    base = _QUICK if options.quick else _FULL
    messages = base.messages if options.messages is None else max(100, min(options.messages, 1_000_000))
    return Scale(messages, base.bulk, base.factor, base.seconds, base.idlers)


def _machine() -> dict[str, object]:
    return {
        "cores": number_of_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "at": time.strftime("%Y-%m-%d %H:%M"),
    }


def _start(options: argparse.Namespace, stack: contextlib.ExitStack) -> list[Server]:
    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mail-bench-", ignore_cleanup_errors=True)))
    root.chmod(0o755)
    running = []
    for name in options.servers.split(","):
        if name not in SERVERS:
            raise SystemExit(f"no server {name}; there are {', '.join(SERVERS)}")
        directory = root / name
        directory.mkdir()
        server: Server = SERVERS[name](directory)
        if isinstance(server, Sora) and options.settings is not None:
            server = Sora(directory, options.settings.read_text("utf-8"))
        stack.callback(server.stop)
        try:
            server.start()
        except Unavailable as error:
            _say(f"{name} is left out: {error}")
            continue
        _say(f"{name} {server.version} runs")
        running.append(server)
    if not running:
        raise SystemExit("no server to measure")
    return running


def _round(name: str, server: Server, scale: Scale, driver: Driver) -> Figures | None:
    measure = Measure(server, scale, driver)
    try:
        WORKLOADS[name].run(measure)
        measure.figures.later = measure.settle()
    except (ScriptFailed, OSError) as error:
        _say(f"{name} on {server.name} failed: {error}")
        return None
    finally:
        measure.close()
    return measure.figures


def _measure(
    names: Sequence[str], servers: Sequence[Server], scale: Scale, rounds: int
) -> dict[str, dict[str, list[Figures]]]:
    driver = Driver()
    results: dict[str, dict[str, list[Figures]]] = {}
    for name in names:
        results[name] = {}
        try:
            for server in list(servers) * rounds:
                figures = _round(name, server, scale, driver)
                if figures is not None:
                    results[name].setdefault(server.name, []).append(figures)
        except KeyboardInterrupt:
            _say(f"interrupted in {name}")
            break
        _say(f"{name} measured")
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _arguments(arguments)
    if options.list:
        sys.stdout.writelines(f"{name:16} per {workload.item}\n" for name, workload in WORKLOADS.items())
        return
    names = _chosen(options.only)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)) if hard > 0 else soft, hard))
    machine = _machine()
    with contextlib.ExitStack() as stack:
        servers = _start(options, stack)
        machine["servers"] = {server.name: server.version for server in servers}
        rounds = max(1, options.rounds or (1 if options.quick else 3))
        results = _measure(names, servers, _scale(options), rounds)
    machine["load after"] = [round(value, 2) for value in os.getloadavg()]
    sys.stdout.write(f"{json.dumps(machine)}\n\n{table(results)}\n")
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(results, machine), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
