"""Adding up what several processes counted."""

import json

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from twisted.trial import unittest

from sora.observe.sums import Snapshot, add, lasting, render, take


def counted(logins: int, oldest: float, waits: tuple[float, ...] = ()) -> Snapshot:
    """Return what a process has counted."""
    registry = CollectorRegistry()
    Counter("t_logins_total", "Sign-ins.", ("outcome",), registry=registry).labels("ok").inc(logins)
    Gauge("t_oldest_seconds", "The oldest.", registry=registry).set(oldest)
    Gauge("t_open", "Open ones.", registry=registry).set(2)
    histogram = Histogram("t_wait_seconds", "Waits.", buckets=(1.0,), registry=registry)
    for wait in waits:
        histogram.observe(wait)
    return take([registry])


class SumTests(unittest.SynchronousTestCase):
    def lines(self, *snapshots: Snapshot) -> list[str]:
        return render(add(snapshots, highest={"t_oldest_seconds"})).decode().splitlines()

    def test_counters_gauges_and_histograms_are_added(self) -> None:
        lines = self.lines(counted(3, 1.0, (0.5,)), counted(4, 1.0, (0.5, 2.0)))
        self.assertIn('t_logins_total{outcome="ok"} 7.0', lines)
        self.assertIn("t_open 4.0", lines)
        self.assertIn('t_wait_seconds_bucket{le="1.0"} 2.0', lines)
        self.assertIn('t_wait_seconds_bucket{le="+Inf"} 3.0', lines)
        self.assertIn("t_wait_seconds_count 3.0", lines)
        self.assertIn("t_wait_seconds_sum 3.0", lines)

    def test_of_some_gauges_the_highest_counts_in_any_order(self) -> None:
        for ages in ((5.0, 9.0), (9.0, 5.0)):
            lines = self.lines(*(counted(0, age) for age in ages))
            self.assertIn("t_oldest_seconds 9.0", lines)

    def test_samples_with_other_labels_stay_apart(self) -> None:
        lines = self.lines(
            {"t_cpu": ("gauge", "Time.", [("t_cpu", {"slot": "0"}, 1.0)])},
            {"t_cpu": ("gauge", "Time.", [("t_cpu", {"slot": "1"}, 2.0)])},
        )
        self.assertIn('t_cpu{slot="0"} 1.0', lines)
        self.assertIn('t_cpu{slot="1"} 2.0', lines)

    def test_it_survives_the_way_through_json(self) -> None:
        one, two = counted(3, 1.0, (0.5,)), counted(4, 2.0)
        self.assertEqual(self.lines(*json.loads(json.dumps([one, two]))), self.lines(one, two))

    def test_of_a_process_that_is_gone_counters_and_histograms_stay(self) -> None:
        self.assertEqual(sorted(lasting(counted(3, 1.0))), ["t_logins", "t_wait_seconds"])

    def test_each_family_is_described_once(self) -> None:
        lines = self.lines(counted(1, 1.0), counted(1, 1.0))
        self.assertEqual(lines.count("# TYPE t_logins_total counter"), 1)
        self.assertEqual(len(lines), len(set(lines)))
