"""Messages that a command names, against the lists of pairs that they stand for."""

from array import array

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.uidset import STAR, UidSet
from sora.imap.targets import Targets, by_number, by_uid

UIDS = st.sets(st.integers(1, 60)).map(lambda uids: array("I", sorted(uids)))
NUMBERS = st.integers(0, 65)
RANGES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5).map(tuple)


class TargetsTests(unittest.SynchronousTestCase):
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(UIDS, RANGES, st.integers(-3, 70), st.integers(-3, 70))
    def test_they_are_what_a_list_of_pairs_is(self, uids, ranges, first, last):
        everything = list(enumerate(uids, 1))
        for numbers, at, named in ((by_number, 0, len(uids)), (by_uid, 1, uids[-1] if uids else 0)):
            pairs = UidSet(ranges).resolve(named)
            expected = [pair for pair in everything if any(low <= pair[at] <= high for low, high in pairs)]
            targets = numbers(uids, pairs)
            self.assertEqual(list(targets), expected)
            self.assertEqual(len(targets), len(expected))
            self.assertEqual(list(targets.uids), [uid for _, uid in expected])
            self.assertEqual(list(targets[first:last]), expected[first:last])
            self.assertEqual([targets[index] for index in range(-len(expected), len(expected))], expected * 2)
            self.assertRaises(IndexError, targets.__getitem__, len(expected))
            self.assertEqual(bool(targets), bool(expected))

    def test_all_of_half_a_million_are_one_run(self):
        uids = array("I", range(1, 500_001))
        targets = by_uid(uids, UidSet(((1, STAR),)).resolve(500_000))
        self.assertEqual(list(targets.runs), [(0, 500_000)])
        self.assertEqual(list(targets[499_998:]), [(499_999, 499_999), (500_000, 500_000)])
        self.assertEqual(len(Targets(uids, ())), 0)
