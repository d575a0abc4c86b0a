"""What the benchmark reads in /proc."""

import os

from bench.processes import Tree, descendants, parse_pss, parse_stat, spent
from twisted.trial import unittest

_STAT = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 25 75 20 0 3 0 999"


class ParserTests(unittest.SynchronousTestCase):
    """Texts of /proc."""

    def test_a_name_may_hold_blanks_and_parentheses(self) -> None:
        self.assertEqual(parse_stat(_STAT), (4711, "a (b) c", 12, 1.0))

    def test_the_proportional_size_is_in_octets(self) -> None:
        self.assertEqual(parse_pss("Rss:   99 kB\nPss:   12 kB\nPss_Dirty:   3 kB\n"), 12 * 1024)

    def test_a_process_without_memory_weighs_nothing(self) -> None:
        self.assertEqual(parse_pss(""), 0)


class TreeTests(unittest.SynchronousTestCase):
    """Who belongs to whom."""

    def test_all_below_a_root_are_found_and_nobody_else(self) -> None:
        self.assertEqual(descendants({1: 0, 2: 1, 3: 2, 4: 1, 9: 0}, [2, 4]), {2, 3, 4})

    def test_a_root_that_is_gone_has_nothing_below(self) -> None:
        self.assertEqual(descendants({1: 0}, [7]), set())

    def test_what_was_spent_is_never_negative(self) -> None:
        self.assertEqual(spent({"a": 2.0, "b": 1.0}, {"a": 1.5, "b": 1.5, "c": 0.5}), {"a": 0.0, "b": 0.5, "c": 0.5})

    def test_this_process_has_used_some_time_and_memory(self) -> None:
        tree = Tree(os.getpid(), {}, "mine")
        before = tree.cpu()
        sum(range(200_000))
        self.assertGreater(spent(before, tree.cpu())["mine"], 0.0)
        self.assertGreater(tree.memory(), 1_000_000)
