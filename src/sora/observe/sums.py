"""The metrics of several processes as one: taken, sent as plain values, added up, written as Prometheus reads them."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from prometheus_client import generate_latest
from prometheus_client.core import Metric

Sample = tuple[str, dict[str, str], float]
"""A name, labels, a value."""
Snapshot = dict[str, tuple[str, str, list[Sample]]]
"""Type, help text and samples of each family, as JSON has them."""


class Collector(Protocol):
    """A registry, or anything that knows its metrics when it is asked."""

    def collect(self) -> Iterable[Metric]:
        """Yield families of metrics."""


def take(collectors: Iterable[Collector]) -> Snapshot:
    """Return all that is counted now; when a counter was created is of no interest."""
    taken: Snapshot = {}
    for collector in collectors:
        for family in collector.collect():
            samples = [
                (sample.name, dict(sample.labels), float(sample.value))
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            taken[family.name] = (family.type, family.documentation, samples)
    return taken


def add(snapshots: Iterable[Snapshot], *, highest: frozenset[str] | set[str] = frozenset()) -> Snapshot:
    """Return the sums; of the families in `highest`, the highest value."""
    kinds: dict[str, tuple[str, str]] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for snapshot in snapshots:
        for name, (kind, text, samples) in snapshot.items():
            kinds.setdefault(name, (kind, text))
            here = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(labels.items()))
                before = here.get(key)
                if before is not None:
                    value = max(before, value) if name in highest else before + value
                here[key] = value
    return {
        name: (kind, text, [(sample, dict(labels), value) for (sample, labels), value in values[name].items()])
        for name, (kind, text) in kinds.items()
    }


def lasting(snapshot: Snapshot) -> Snapshot:
    """Return what stays true when its process has ended: counters and histograms."""
    return {name: family for name, family in snapshot.items() if family[0] in ("counter", "histogram")}


class _Families:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for name in sorted(self._snapshot):
            kind, text, samples = self._snapshot[name]
            family = Metric(name, text, kind)
            for sample, labels, value in samples:
                family.add_sample(sample, labels, value)
            yield family


def render(snapshot: Snapshot) -> bytes:
    """Return the Prometheus text format, families by name."""
    families: Any = _Families(snapshot)
    return generate_latest(families)
