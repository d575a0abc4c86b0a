"""`python -m bench`: starts the servers, measures the workloads in turn, prints the table, ends what it started."""

import argparse
import json
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from bench.machine import describe, load, number_of_cores
from bench.measure import Scale
from bench.report import agreements, as_json, circumstances, table
from bench.rounds import SERVERS, Rounds, Wanted, measure_all, say, started
from bench.soak import soak
from bench.workloads import WORKLOADS

_QUICK = Scale(messages=2_000, bulk=500, huge=20_000, large=20_000, seconds=1.5, turns=5, crowd=1_000)
_FULL = Scale(messages=10_000, bulk=1_000, huge=100_000, large=500_000, seconds=3.0, turns=8, crowd=10_000)
_AGREE = 0.10
"""By how much the largest ratio of some runs may exceed the smallest."""
_FILES = 20_000


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure this server beside others.")
    parser.add_argument("--only", action="append", metavar="WORKLOAD", help="a name, or the beginning of names")
    parser.add_argument("--servers", default=",".join(SERVERS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="rounds of each workload (default: 5, quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small mailboxes and counts")
    parser.add_argument("--messages", type=int, help="messages of the big mailbox (10000, quick: 2000)")
    parser.add_argument("--seconds", type=float, help="how long a window is (3, quick: 1.5)")
    parser.add_argument("--workers", type=int, help="processes of this server (default: its own)")
    parser.add_argument("--settings", type=Path, help="TOML put after this server's configuration")
    parser.add_argument("--agree", type=int, metavar="N", help="N whole runs: do their ratios agree within 10 %%?")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="half load for so long: is anything growing?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    return parser.parse_args(arguments)


def _chosen(only: Sequence[str] | None) -> list[str]:
    if not only:
        return [name for name, workload in WORKLOADS.items() if not workload.named_only]
    chosen, unknown = set(), []
    for wanted in only:
        found = [wanted] if wanted in WORKLOADS else [name for name in WORKLOADS if name.startswith(wanted)]
        chosen.update(found)
        unknown += [] if found else [wanted]
    if unknown:
        raise SystemExit(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return [name for name in WORKLOADS if name in chosen]


def _scale(options: argparse.Namespace) -> Scale:
    base = _QUICK if options.quick else _FULL
    messages = base.messages if options.messages is None else max(100, min(options.messages, 1_000_000))
    return attrs.evolve(base, messages=messages, seconds=options.seconds or base.seconds)


def _wanted(options: argparse.Namespace) -> Wanted:
    servers = options.servers.split(",")
    for name in servers:
        if name not in SERVERS:
            raise SystemExit(f"no server {name}; there are {', '.join(SERVERS)}")
    settings = options.settings.read_text("utf-8") if options.settings is not None else ""
    return Wanted(servers, settings, options.workers)


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _FILES)) if hard > 0 else soft, hard))


def _run(options: argparse.Namespace, names: Sequence[str]) -> tuple[Rounds, dict[str, object]]:
    machine = describe()
    with started(_wanted(options)) as servers:
        machine["servers"] = {server.name: server.version for server in servers}
        results = measure_all(names, servers, _scale(options), max(1, options.rounds or (1 if options.quick else 5)))
    machine["load after"] = load()
    say_all = f"{json.dumps(machine)}\n\n{table(results)}\n\n{circumstances(results, number_of_cores())}\n"
    sys.stdout.write(say_all)
    sys.stdout.flush()
    return results, machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    options = _arguments(arguments)
    if options.list:
        sys.stdout.writelines(f"{name:18} per {workload.item}\n" for name, workload in WORKLOADS.items())
        return 0
    names = _chosen(options.only)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _allow_files()
    if options.soak is not None:
        return soak(_wanted(options), 60 * options.soak, options.json)
    runs = []
    for number in range(max(1, options.agree or 1)):
        if options.agree:
            say(f"run {number + 1} of {options.agree}")
        runs.append(_run(options, names))
        if options.json is not None:
            written = [as_json(*run) for run in runs]
            options.json.write_text(json.dumps(written if options.agree else written[0], indent=1) + "\n", "utf-8")
    if not options.agree:
        return 0
    text, apart = agreements([results for results, _ in runs], _AGREE)
    sys.stdout.write(f"\n{text}\n\n")
    sys.stdout.write("\n".join(apart) + "\n" if apart else f"all ratios agree within {100 * _AGREE:.0f} %\n")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
