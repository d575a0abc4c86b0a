"""front/imap/filters: which clients a filter means, and what of an ID is logged."""

from twisted.trial import unittest

from sora.core.config.servers import ClientFilter
from sora.front.imap.filters import Client, Filter, described, in_capitals

OUTLOOK = Client("Microsoft Outlook", "16.0.1", "t13d1516h2_8daaf6152771_e5627efa2ab1")


class FilterTests(unittest.SynchronousTestCase):
    def fits(self, **patterns: str) -> bool:
        """Tell whether a filter means Outlook."""
        return Filter.of(ClientFilter(disable_caps=("IDLE",), **patterns)).fits(OUTLOOK)

    def test_every_pattern_must_be_found(self) -> None:
        self.assertTrue(self.fits(client_name="Outlook"))
        self.assertTrue(self.fits(client_name="Outlook$", client_version="^16", ja4_fingerprint="^t13d"))
        self.assertFalse(self.fits(client_name="^Outlook"))
        self.assertFalse(self.fits(client_name="Outlook", client_version="^15"))
        self.assertFalse(self.fits(client_name="Outlook", ja4_fingerprint="^t12"))

    def test_a_filter_without_patterns_means_nobody(self) -> None:
        self.assertFalse(self.fits())

    def test_names_are_compared_in_capitals(self) -> None:
        self.assertEqual(in_capitals(["Idle ", "COMPRESS=deflate"]), {b"IDLE", b"COMPRESS=DEFLATE"})

    def test_few_fields_are_logged_short_and_in_one_line(self) -> None:
        fields = (("Name", "x\r\ny" * 100), ("support-url", "http://example.org"), ("VERSION", None), ("os", "iOS"))
        text = described(fields)
        self.assertTrue(text.startswith("name 'x\\r\\nyx"))
        self.assertTrue(text.endswith(", os 'iOS'"))
        self.assertLess(len(text), 150)
        self.assertEqual(described((("odd", "1"),)), "nothing")
