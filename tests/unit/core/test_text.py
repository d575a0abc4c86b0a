"""How texts are compared."""

import time

from twisted.trial import unittest

from sora.core.text import spaced


class SpacedTests(unittest.SynchronousTestCase):
    def test_each_run_of_spaces_and_tabs_is_one_space(self) -> None:
        for text, expected in {
            "": "",
            "a b": "a b",
            "a\tb": "a b",
            "a \t b  c\t\td": "a b c d",
            "  a\n\tb ": " a\n b ",
            "a\u00a0\u00a0b": "a\u00a0\u00a0b",
        }.items():
            self.assertEqual(spaced(text), expected)
            self.assertEqual(spaced(expected), expected)

    def test_a_megabyte_of_runs_costs_little(self) -> None:
        begin = time.process_time()
        for text in (" " * 1_000_000 + "x", " \t" * 500_000, "a \t" * 300_000, "\t a" * 300_000):
            spaced(text)
        self.assertLess(time.process_time() - begin, 2.0)
