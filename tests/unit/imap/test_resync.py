"""What left a mailbox since a client last saw it: ranges, match data, and all of it against plain sets."""

from array import array

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core import limits
from sora.core.errors import LimitReached
from sora.core.uidset import UidSet, runs
from sora.imap.framer import Command
from sora.imap.parse import parse
from sora.imap.resync import Match, Resync, vanished
from sora.imap.tokens import BadSyntax

UIDS = st.sets(st.integers(1, 40))
RANGES = st.lists(st.tuples(st.integers(1, 45), st.integers(1, 45)), min_size=1, max_size=5)


def expanded(ranges):
    return {uid for low, high in ranges for uid in range(low, high + 1)}


class VanishedTests(unittest.SynchronousTestCase):
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(UIDS, UIDS, RANGES, st.integers(0, 20))
    def test_v6_what_is_told_is_what_is_known_and_gone(self, there, left, ranges, above):
        there, left = sorted(there), sorted(left)
        known = UidSet(tuple(ranges)).resolve(0)
        uid_next = max([*there, *left], default=0) + 1
        asked = {uid for uid in expanded(known) if uid > above}
        told = vanished(known, uids=array("I", there), uid_next=uid_next, departed=left, above=above)
        self.assertEqual(expanded(told), asked & set(left) - set(there))
        told = vanished(known, uids=array("I", there), uid_next=uid_next, departed=None, above=above)
        self.assertEqual(expanded(told), {uid for uid in asked - set(there) if uid < uid_next})
        self.assertEqual(told, sorted(told))

    def test_what_arrived_unannounced_is_not_gone(self):
        for departed in (None, [2]):
            told = vanished([(1, 9)], uids=array("I", [1, 3]), fresh=array("I", [1, 4]), uid_next=5, departed=departed)
            self.assertEqual(told, [(2, 2)])

    def test_a_range_of_all_numbers_costs_nothing(self):
        told = vanished([(1, 2**32 - 1)], uids=array("I", [7]), uid_next=2**32, departed=None)
        self.assertEqual(told, [(1, 6), (8, 2**32 - 1)])

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sets(st.integers(0, 50)))
    def test_runs_are_what_they_were_made_of(self, numbers):
        self.assertEqual(sorted(expanded(runs(sorted(numbers)))), sorted(numbers))


class MatchTests(unittest.SynchronousTestCase):
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(UIDS, st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(1, 6)), max_size=4))
    def test_the_last_uid_that_stands_where_the_client_believes_counts(self, uids, pieces):
        uids = array("I", sorted(uids))
        made, number, uid = [], 0, 0
        for number_gap, uid_gap, count in pieces:
            made.append((number + number_gap, uid + uid_gap, count))
            number, uid = number + number_gap + count, uid + uid_gap + count
        believed = [(n + step, u + step) for n, u, count in made for step in range(count)]
        right = [u for n, u in believed if n <= len(uids) and uids[n - 1] == u]
        self.assertEqual(Match(tuple(made)).known_up_to(uids), max(right, default=0))

    def test_a_pair_of_very_large_ranges_costs_nothing(self):
        match = Match(((1, 1, 2**32 - 1),))
        self.assertEqual(match.known_up_to(array("I", [1, 2, 3, 5])), 3)


class ParameterTests(unittest.SynchronousTestCase):
    def read(self, text):
        return parse(Command(b"a", b"SELECT", (b"INBOX (" + text + b")",))).resync

    def test_every_part_is_read_and_the_last_two_may_be_missing(self):
        self.assertEqual(self.read(b"QRESYNC (7 20)"), Resync(7, 20))
        self.assertEqual(self.read(b"QRESYNC (7 20 1:3,9)"), Resync(7, 20, UidSet(((1, 3), (9, 9)))))
        match = Match(((3, 4, 2), (5, 8, 1), (9, 9, 1)))
        self.assertEqual(self.read(b"QRESYNC (7 20 (3:5,9 4:5,8:9))"), Resync(7, 20, None, match))
        self.assertEqual(self.read(b"CONDSTORE QRESYNC (7 20 1 (1 1))").match, Match(((1, 1, 1),)))

    def test_sets_are_bounded(self):
        many = b",".join(b"%d" % number for number in range(1, 2 * limits.IMAP_SET_RANGES_MAX + 2, 2))
        for text in (b"QRESYNC (7 20 %b)" % many, b"QRESYNC (7 20 (%b %b))" % (many, many)):
            self.assertRaises(LimitReached, self.read, text)

    def test_what_cannot_be_is_bad(self):
        for text in (
            *(b"QRESYNC", b"QRESYNC 7", b"QRESYNC (7)", b"QRESYNC (0 1)", b"QRESYNC (7 20 *)", b"QRESYNC (7 20 1:*)"),
            *(b"QRESYNC (7 20 (1:2 1))", b"QRESYNC (7 20 (1 1:2))", b"QRESYNC (7 20 (2,1 1,2))", b"QRESYNC (7 20 1 2)"),
            *(b"QRESYNC (7 20 (1:2,2 1:3))", b"QRESYNC (7 20 (2:1 1:2))", b"QRESYNC (7 20) QRESYNC (7 20)"),
            *(b"QRESYNC (7 9223372036854775808)", b"QRESYNC (4294967296 1)", b"QRESYNC (7 20 1 (1 1) 1)"),
        ):
            with self.assertRaises(BadSyntax, msg=text):
                self.read(text)
