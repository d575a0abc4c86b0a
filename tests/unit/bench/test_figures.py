"""The benchmark's arithmetic: a wrong percentile would be believed for years."""

import math

from bench.figures import Figures, percentile, ratio, summary
from bench.report import as_json, number, table
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
