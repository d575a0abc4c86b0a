"""The counters: named alike, rendered as Prometheus reads them."""

from twisted.trial import unittest

from sora.observe import metrics, sums


class MetricsTests(unittest.SynchronousTestCase):
    """The registry of the process."""

    def test_what_was_counted_is_rendered(self) -> None:
        before = metrics.REGISTRY.get_sample_value("sora_body_reads_total", {"source": "staged"})
        metrics.READ_STAGED.inc()
        line = f'sora_body_reads_total{{source="staged"}} {before + 1}'.encode()
        self.assertIn(line, sums.render(sums.take([metrics.REGISTRY])).splitlines())

    def test_every_metric_carries_the_programs_name_and_a_help_text(self) -> None:
        for family in metrics.REGISTRY.collect():
            self.assertTrue(family.name.startswith("sora_"), family.name)
            self.assertTrue(family.documentation.endswith("."), family.name)
