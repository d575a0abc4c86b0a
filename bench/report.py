"""The benchmark's table and JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from bench.figures import Figures, Ratio, agreement, ratio, summary

Results = Mapping[str, Mapping[str, list[Figures]]]
"""Rounds by workload and server."""
REFERENCE = "dovecot"
_HEAD = (
    "workload", "server", "per s", "p50 ms", "p99 ms", "CPU µs", "Python", "PostgreSQL", "later", "rate ×", "CPU ×", "",
)  # fmt: skip


def number(value: float) -> str:
    """Write a figure with three digits that count; nothing for none."""
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 4)}f}"


def ratios(workload: Mapping[str, list[Figures]], server: str) -> tuple[Ratio | None, Ratio | None]:
    """Return rate and CPU per item (all of it) of a server against the reference, taken round by round."""
    if server == REFERENCE or REFERENCE not in workload:
        return None, None
    ours, theirs = workload[server], workload[REFERENCE]
    return (
        ratio([one.rate for one in ours], [one.rate for one in theirs]),
        ratio([one.cost for one in ours], [one.cost for one in theirs]),
    )


def _row(name: str, server: str, workload: Mapping[str, list[Figures]]) -> list[str]:
    figures = summary(workload[server])
    rate, cpu = ratios(workload, server)
    values = ", ".join(f"{number(value)} {what}" for what, value in figures.values.items())
    failed = f"{figures.failures} failed" if figures.failures else ""
    if not math.isnan(figures.p50):
        cells = [number(figures.rate), number(figures.p50), number(figures.p99), number(1000 * figures.cpu)]
        cells += [
            number(1000 * figures.groups[group]) if group in figures.groups else "" for group in ("python", "postgres")
        ]
        cells += [number(1000 * figures.later)]
    else:
        cells = [""] * 7
    return [name, server, *cells, str(rate or ""), str(cpu or ""), ", ".join(filter(None, (values, failed)))]


def table(results: Results) -> str:
    """Return a table in Markdown, aligned for reading as it is."""
    rows = [list(_HEAD)]
    for name, workload in results.items():
        rows += [_row(name if first == 0 else "", server, workload) for first, server in enumerate(workload)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return _aligned(rows, widths, set(range(2, 9)))


def circumstances(results: Results, cores: int) -> str:
    """Return a second table: what the rounds were measured under, and how far they lie apart."""
    head = ["workload", "server", "rounds per s", "client % of server", "others % of machine", "sync ms"]
    rows = [head]
    for name, workload in results.items():
        for first, (server, rounds) in enumerate(workload.items()):
            timed = [one for one in rounds if one.cpu and one.sync]
            if not timed:
                continue
            client = 100 * sum(one.driver for one in timed) / max(1e-9, sum(sum(one.cpu.values()) for one in timed))
            others = 100 * sum(one.others for one in timed) / (cores * sum(one.seconds for one in timed))
            sync = ", ".join(f"{1000 * one.sync:.2f}" for one in timed)
            rates = ", ".join(number(one.rate) for one in timed)
            rows.append([name if first == 0 else "", server, rates, f"{client:.0f}", f"{others:.0f}", sync])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return _aligned(rows, widths, set())


def _aligned(rows: list[list[str]], widths: list[int], right: set[int]) -> str:
    lines = [_line(rows[0], widths, right), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join(lines + [_line(row, widths, right) for row in rows[1:]])


def _line(cells: Iterable[str], widths: list[int], right: set[int]) -> str:
    padded = [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


def agreements(runs: Sequence[Results], within: float) -> tuple[str, list[str]]:
    """Return a table of the ratios of whole runs, and which of them do not agree within a share of the smallest."""
    rows = [["workload", "server", "rate × of each run", "apart", "CPU × of each run", "apart"]]
    apart = []
    for name, workload in runs[0].items():
        for server in workload:
            pairs = [ratios(run[name], server) for run in runs if server in run.get(name, {})]
            cells = [name, server]
            for what, index in (("rate", 0), ("CPU", 1)):
                found = [pair[index].middle for pair in pairs if pair[index] is not None]  # type: ignore[union-attr]
                if not found:
                    break
                distance = agreement(found)
                cells += [" ".join(f"{one:.2f}" for one in found), f"{100 * distance:.0f} %"]
                if distance > within or len(found) < len(runs):
                    apart.append(f"{name} on {server}: {what} of {len(found)} runs, {100 * distance:.0f} % apart")
            if len(cells) == len(rows[0]):
                rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return _aligned(rows, widths, {3, 5}), apart


def as_json(results: Results, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything measured, without the single latencies."""
    workloads: dict[str, Any] = {}
    for name, workload in results.items():
        workloads[name] = {}
        for server, rounds in workload.items():
            rate, cpu = ratios(workload, server)
            workloads[name][server] = {
                "summary": _without_nan(attrs.asdict(summary(rounds))),
                "rate_ratio": attrs.asdict(rate) if rate else None,
                "cpu_ratio": attrs.asdict(cpu) if cpu else None,
                "rounds": [
                    {
                        "items": one.items,
                        "seconds": one.seconds,
                        "failures": one.failures,
                        "cpu": one.cpu,
                        "later": one.later,
                        "driver": one.driver,
                        "others": one.others,
                        "sync": one.sync,
                        "values": one.values,
                    }
                    for one in rounds
                ],
            }
    return {"machine": dict(machine), "workloads": workloads}


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
