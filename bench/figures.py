"""The only place for the benchmark's arithmetic: percentiles, medians of rounds, ratios of rounds."""

from collections.abc import Sequence
from statistics import median

import attrs


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of the values do not exceed; nan for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)
    return ordered[min(len(ordered), max(1, rank)) - 1]


@attrs.define
class Figures:
    """What one round of one workload on one server gave.

    Times are in seconds; `cpu` and `later` are CPU seconds by group of processes ("python", "postgres", "server"),
    `later` being what the server spent after the last answer until it was quiet. A command handles `items / commands`
    items, such as the messages of one COPY. `values` are figures with units of their own, by name. `driver` is what the
    load generator used in the measured windows and `others` the rest of the machine; `sync` is how long the disk took
    to keep 4 KiB just before.
    """

    items: int = 0
    seconds: float = 0.0
    latencies: list[float] = attrs.Factory(list)
    failures: int = 0
    octets: int = 0
    cpu: dict[str, float] = attrs.Factory(dict)
    later: dict[str, float] = attrs.Factory(dict)
    driver: float = 0.0
    others: float = 0.0
    sync: float = 0.0
    values: dict[str, float] = attrs.Factory(dict)

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds if self.seconds else 0.0

    def cpu_each(self, group: str | None = None) -> float:
        """Return CPU milliseconds an item, of one group of processes or of all."""
        return _each(self.cpu, self.items, group)

    def later_each(self) -> float:
        """Return CPU milliseconds an item that were spent after the answers."""
        return _each(self.later, self.items, None)

    @property
    def cost(self) -> float:
        """CPU milliseconds an item, with what was spent after the answers."""
        return self.cpu_each() + self.later_each()

    def add_cpu(self, spent: dict[str, float]) -> None:
        """Add what a measured window cost."""
        for group, seconds in spent.items():
            self.cpu[group] = self.cpu.get(group, 0.0) + seconds


def _each(cpu: dict[str, float], items: int, group: str | None) -> float:
    seconds = sum(cpu.values()) if group is None else cpu.get(group, 0.0)
    return seconds * 1000 / items if items else 0.0


def agreement(ratios: Sequence[float]) -> float:
    """Return by how much the largest of some ratios exceeds the smallest: 0.1 for ten percent."""
    return max(ratios) / min(ratios) - 1 if ratios and min(ratios) > 0 else float("inf")


@attrs.frozen
class Slope:
    """A straight line through samples by least squares: its rise an hour, and the standard error of that."""

    hourly: float
    error: float


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """Return the rise of values over time; nothing and no end of doubt for fewer than three samples."""
    count = len(seconds)
    if count < 3:
        return Slope(0.0, float("inf"))
    middle, mean = sum(seconds) / count, sum(values) / count
    spread = sum((at - middle) ** 2 for at in seconds)
    rise = sum((at - middle) * (value - mean) for at, value in zip(seconds, values, strict=True)) / spread
    rest = sum((value - mean - rise * (at - middle)) ** 2 for at, value in zip(seconds, values, strict=True))
    return Slope(3600 * rise, 3600 * (rest / (count - 2) / spread) ** 0.5)


@attrs.frozen
class Summary:
    """The median of the rounds of one workload on one server; times in milliseconds."""

    rounds: int
    rate: float
    p50: float
    p99: float
    cpu: float
    later: float
    groups: dict[str, float]
    failures: int
    octets: float
    values: dict[str, float]


def summary(rounds: Sequence[Figures]) -> Summary:
    """Return the medians of at least one round."""
    groups = sorted({group for figures in rounds for group in figures.cpu})
    names = list(dict.fromkeys(name for figures in rounds for name in figures.values))
    return Summary(
        rounds=len(rounds),
        rate=median(figures.rate for figures in rounds),
        p50=1000 * median(percentile(figures.latencies, 0.50) for figures in rounds),
        p99=1000 * median(percentile(figures.latencies, 0.99) for figures in rounds),
        cpu=median(figures.cpu_each() for figures in rounds),
        later=median(figures.later_each() for figures in rounds),
        groups={group: median(figures.cpu_each(group) for figures in rounds) for group in groups},
        failures=sum(figures.failures for figures in rounds),
        octets=median(figures.octets / max(1, figures.items) for figures in rounds),
        values={name: median(f.values[name] for f in rounds if name in f.values) for name in names},
    )


@attrs.frozen
class Ratio:
    """A ratio taken round by round: its median, smallest and largest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.middle:.2f}"
        return f"{self.middle:.2f} [{self.low:.2f}-{self.high:.2f}]"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio | None:
    """Return ours / theirs of the rounds both have; None if there is no such round."""
    pairs = [one / other for one, other in zip(ours, theirs, strict=False) if other > 0]
    return Ratio(median(pairs), min(pairs), max(pairs)) if pairs else None
