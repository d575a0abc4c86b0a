"""The benchmark's table and JSON."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from bench.figures import Figures, Ratio, ratio, summary

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
    lines = [_line(rows[0], widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join(lines + [_line(row, widths) for row in rows[1:]])


def _line(cells: Iterable[str], widths: list[int]) -> str:
    padded = [
        cell.rjust(width) if 2 <= column <= 8 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(padded) + " |"


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
                        "values": one.values,
                    }
                    for one in rounds
                ],
            }
    return {"machine": dict(machine), "workloads": workloads}


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
