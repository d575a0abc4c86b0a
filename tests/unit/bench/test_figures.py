"""The benchmark's arithmetic: a wrong percentile would be believed for years."""

import math
from typing import Any

from bench.figures import Figures, agreement, percentile, ratio, slope, summary
from bench.report import agreements, as_json, circumstances, number, table
from bench.soak import slopes
from twisted.trial import unittest


class PercentileTests(unittest.SynchronousTestCase):
    """The nearest rank, whatever the order."""

    def test_the_median_of_three_is_the_middle_one(self) -> None:
        self.assertEqual(percentile([3.0, 1.0, 2.0], 0.5), 2.0)

    def test_p99_of_a_hundred_leaves_out_one(self) -> None:
        self.assertEqual(percentile([float(n) for n in range(1, 101)], 0.99), 99.0)

    def test_p99_of_a_few_is_the_largest(self) -> None:
        self.assertEqual(percentile([1.0, 5.0, 2.0], 0.99), 5.0)

    def test_the_smallest_share_is_the_smallest_value(self) -> None:
        self.assertEqual(percentile([4.0, 1.0], 0.0), 1.0)

    def test_none_of_nothing(self) -> None:
        self.assertTrue(math.isnan(percentile([], 0.5)))


class FiguresTests(unittest.SynchronousTestCase):
    """Rates and costs of a round, and the medians of rounds."""

    def test_cpu_an_item_is_split_by_group_and_summed(self) -> None:
        figures = Figures(items=100, seconds=2.0)
        figures.add_cpu({"python": 0.1, "postgres": 0.05})
        figures.add_cpu({"python": 0.1})
        self.assertEqual(figures.rate, 50.0)
        self.assertAlmostEqual(figures.cpu_each("python"), 2.0)
        self.assertAlmostEqual(figures.cpu_each("postgres"), 0.5)
        self.assertAlmostEqual(figures.cpu_each(), 2.5)

    def test_a_round_without_items_has_no_rate_and_no_cost(self) -> None:
        self.assertEqual((Figures().rate, Figures().cpu_each(), Figures().later_each()), (0.0, 0.0, 0.0))

    def test_the_cost_holds_what_was_spent_after_the_answers(self) -> None:
        self.assertAlmostEqual(Figures(items=10, cpu={"a": 0.01}, later={"a": 0.02, "b": 0.01}).cost, 4.0)

    def test_a_summary_takes_the_median_of_rounds_not_of_all_values(self) -> None:
        rounds = [
            Figures(items=10, seconds=1.0, latencies=[0.001] * 9, values={"KiB": 3.0}),
            Figures(items=20, seconds=1.0, latencies=[0.002], values={"KiB": 1.0}),
            Figures(items=90, seconds=1.0, latencies=[0.009], failures=2),
        ]
        found = summary(rounds)
        self.assertEqual((found.rate, found.failures, found.values), (20.0, 2, {"KiB": 2.0}))
        self.assertAlmostEqual(found.p50, 2.0)

    def test_a_ratio_is_taken_round_by_round(self) -> None:
        found = ratio([10.0, 40.0, 90.0], [10.0, 20.0, 30.0])
        assert found is not None
        self.assertEqual((found.middle, found.low, found.high), (2.0, 1.0, 3.0))
        self.assertEqual(str(found), "2.00 [1.00-3.00]")

    def test_a_round_that_cost_nothing_gives_no_ratio(self) -> None:
        self.assertIsNone(ratio([1.0], [0.0]))
        self.assertIsNone(ratio([], []))


class SlopeTests(unittest.SynchronousTestCase):
    """What rises, and how sure that is."""

    def test_a_straight_rise_is_found_without_doubt(self) -> None:
        found = slope([0.0, 10.0, 20.0, 30.0], [5.0, 6.0, 7.0, 8.0])
        self.assertAlmostEqual(found.hourly, 360.0)
        self.assertAlmostEqual(found.error, 0.0)

    def test_what_goes_up_and_down_does_not_rise_and_is_in_doubt(self) -> None:
        found = slope([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 2.0, 1.0])
        self.assertAlmostEqual(found.hourly, 0.0)
        self.assertGreater(found.error, 100.0)

    def test_two_samples_say_nothing(self) -> None:
        self.assertEqual(slope([0.0, 1.0], [0.0, 9.0]).error, float("inf"))

    def sample(self, seconds: float, memory: float) -> dict[str, Any]:
        return {"seconds": seconds, "python MiB": memory, "threads": 9, "done": {}, "tables MiB": {"messages": 3.0}}

    def test_a_leak_is_named_and_the_beginning_is_left_out(self) -> None:
        leak = [self.sample(n * 10.0, 100.0 + n) for n in range(60)]
        self.assertEqual(slopes(leak, 600.0)[1], ["python MiB"])
        early = [self.sample(n * 10.0, min(100.0 + n, 115.0)) for n in range(60)]
        self.assertEqual(slopes(early, 600.0)[1], [])


class AgreementTests(unittest.SynchronousTestCase):
    """Whether whole runs say the same."""

    def run_of(self, rate: float) -> dict[str, dict[str, list[Figures]]]:
        sora = Figures(items=int(rate), seconds=1.0, latencies=[0.1], cpu={"python": 0.001 * rate})
        dovecot = Figures(items=100, seconds=1.0, latencies=[0.1], cpu={"server": 0.2})
        return {"append": {"sora": [sora], "dovecot": [dovecot]}}

    def test_the_largest_is_compared_with_the_smallest(self) -> None:
        self.assertAlmostEqual(agreement([1.0, 1.1, 1.05]), 0.1)
        self.assertEqual(agreement([]), float("inf"))

    def test_runs_that_agree_leave_nothing_to_name(self) -> None:
        self.assertEqual(agreements([self.run_of(100), self.run_of(105)], 0.1)[1], [])

    def test_runs_that_differ_are_named(self) -> None:
        text, apart = agreements([self.run_of(100), self.run_of(150)], 0.1)
        self.assertEqual(apart, ["append on sora: rate of 2 runs, 50 % apart"])
        self.assertIn("1.00 1.50", text)

    def test_a_run_that_lacks_a_workload_does_not_agree(self) -> None:
        self.assertEqual(len(agreements([self.run_of(100), {}], 0.1)[1]), 2)


class ReportTests(unittest.SynchronousTestCase):
    """The table and the JSON."""

    def results(self) -> dict[str, dict[str, list[Figures]]]:
        sora = Figures(items=300, seconds=1.0, latencies=[0.004], cpu={"python": 0.2, "postgres": 0.1})
        dovecot = Figures(items=200, seconds=1.0, latencies=[0.005], cpu={"server": 0.4})
        return {"append": {"sora": [sora], "dovecot": [dovecot]}, "idle": {"sora": [Figures(values={"KiB": 12.5})]}}

    def cells(self, line: int) -> list[str]:
        return [cell.strip() for cell in table(self.results()).splitlines()[line].split("|")[1:-1]]

    def test_a_row_shows_rate_latency_costs_and_ratios(self) -> None:
        expected = ["append", "sora", "300", "4.00", "4.00", "1,000", "667", "333", "0", "1.50", "0.50", ""]
        self.assertEqual(self.cells(2), expected)

    def test_the_reference_has_no_ratio_and_its_workload_is_named_once(self) -> None:
        self.assertEqual(self.cells(3), ["", "dovecot", "200", "5.00", "5.00", "2,000", "", "", "0", "", "", ""])

    def test_figures_of_their_own_units_are_written_out(self) -> None:
        self.assertEqual(self.cells(4), ["idle", "sora", *[""] * 9, "12.5 KiB"])

    def test_json_has_no_number_that_json_lacks(self) -> None:
        written = as_json(self.results(), {"cores": 2})
        self.assertIsNone(written["workloads"]["idle"]["sora"]["summary"]["p50"])
        self.assertEqual(written["workloads"]["append"]["sora"]["rate_ratio"]["middle"], 1.5)

    def test_numbers_keep_three_digits_that_count(self) -> None:
        self.assertEqual(
            [number(v) for v in (12345.6, 123.4, 12.34, 0.01234, 0.0)], ["12,346", "123", "12.3", "0.0123", "0"]
        )

    def test_circumstances_name_what_the_client_and_others_used(self) -> None:
        results = self.results()
        results["append"]["sora"][0].driver = 0.03
        results["append"]["sora"][0].others = 0.5
        results["append"]["sora"][0].sync = 0.00025
        row = [cell.strip() for cell in circumstances(results, 2).splitlines()[2].split("|")[1:-1]]
        self.assertEqual(row, ["append", "sora", "300", "10", "25", "0.25"])
