"""Session views: numbers, sets, and what is announced when."""

from array import array

from twisted.trial import unittest

from sora.core.flags import FLAGGED, SEEN, Change
from sora.core.uidset import STAR, UidSet
from sora.imap.version import HISTORY_MAX, HISTORY_UIDS_MAX, Version, together, where
from sora.imap.view import Expunges, OwnStore, SessionView


def version(*uids: int, modseq: int = 10) -> Version:
    return Version(
        modseq,
        uids=array("I", uids),
        flags=array("B", bytes(len(uids))),
        modseqs=array("Q", [1] * len(uids)),
        keywords={},
    )


def changed(before: Version, flags=None, *, vanished=(), modseq=None, keywords=None) -> Version:
    flags = flags or {}
    modseq = modseq or before.modseq + 1
    return before.apply(
        modseq,
        uids=list(flags),
        flags=list(flags.values()),
        modseqs=[modseq] * len(flags),
        keywords=keywords or {},
        vanished=vanished,
    )


class TogetherTests(unittest.SynchronousTestCase):
    def test_neighbours_are_found_in_one_go_and_all_others_one_by_one(self):
        uids = array("I", range(10, 400, 3))
        for wanted in (uids[5:60], list(uids[5:60])):
            self.assertEqual(together(uids, wanted), range(5, 60))
        for wanted in (uids[5:8], uids[5:60:2], uids[60:5:-1], array("I", range(500, 560)), uids[100:] + uids[:1]):
            self.assertIsNone(together(uids, wanted))
        self.assertEqual(list(where(uids, [*uids[50:80], 11, 500])), [*range(50, 80), -1, -1])


class Numbers(unittest.SynchronousTestCase):
    def resolved(self, view, *ranges, by_uid=True):
        return [uid for _, uid in view.resolve(UidSet(ranges), by_uid=by_uid)]

    def test_v8_a_star_is_the_last_message_told_of_also_at_the_top_of_the_uids(self):
        top = 2**32 - 1
        view = SessionView(version(5, 9, top), recent_from=1)
        self.assertEqual(self.resolved(view, (1, STAR)), [5, 9, top])
        self.assertEqual(self.resolved(view, (top, STAR)), [top])
        self.assertEqual(self.resolved(view, (STAR, 1)), [5, 9, top])
        self.assertEqual(self.resolved(view, (STAR, STAR)), [top])

    def test_v8_a_range_above_the_last_uid_to_star_is_the_last_message(self):
        view = SessionView(version(5, 9), recent_from=1)
        self.assertEqual(self.resolved(view, (2**32 - 1, STAR)), [9])
        self.assertEqual(self.resolved(view, (7, STAR), by_uid=False), [9])

    def test_an_empty_mailbox_has_no_numbers(self):
        view = SessionView(version(), recent_from=1)
        self.assertEqual((view.numbers([]), view.told([]), view.told([4])), ([], [], []))

    def test_numbers_are_the_same_for_few_messages_and_for_many(self):
        uids = [uid * 3 for uid in range(1, 101)]
        view = SessionView(version(*uids), recent_from=1)
        for chosen in (uids[::50], uids[1::2], uids, []):
            self.assertEqual(view.numbers(chosen), [uid // 3 for uid in chosen])
            self.assertEqual(view.told([*chosen, 4, 301]), chosen)
            self.assertEqual(view.told([1, *chosen]), chosen)

    def test_a_star_is_not_a_message_that_was_not_told_of(self):
        first = version(5, 9)
        view = SessionView(first, recent_from=1)
        changed(first, {12: 0})
        self.assertEqual(self.resolved(view, (STAR, STAR)), [9])

    def test_an_empty_mailbox_has_no_star(self):
        view = SessionView(version(), recent_from=1)
        self.assertEqual(self.resolved(view, (1, STAR)), [])
        self.assertEqual(self.resolved(view, (1, STAR), by_uid=False), [])
        self.assertEqual((view.count, view.recent, view.last_uid, view.first_unseen()), (0, 0, 0, None))

    def test_overlapping_ranges_name_each_message_once_ascending(self):
        view = SessionView(version(5, 9, 11), recent_from=1)
        self.assertEqual(list(view.resolve(UidSet(((2, 3), (1, 2))), by_uid=False)), [(1, 5), (2, 9), (3, 11)])

    def test_a_uid_that_was_not_told_of_is_a_key_error(self):
        view = SessionView(version(5), recent_from=1)
        self.assertRaises(KeyError, view.number, 6)
        self.assertRaises(KeyError, view.flags, 6)
        self.assertRaises(KeyError, view.uid_at, 0)
        self.assertRaises(KeyError, view.uid_at, 2)


class News(unittest.SynchronousTestCase):
    def test_v2_an_expunge_waits_and_numbers_stay_while_it_is_forbidden(self):
        first = version(1, 2, 3)
        view = SessionView(first, recent_from=9)
        second = changed(changed(first, {2: FLAGGED}, keywords={2: ("work",)}), vanished=[2])
        self.assertEqual(view.update(second, Expunges.FORBIDDEN).expunged, [])
        self.assertEqual((view.count, view.number(3), view.flags(2)), (3, 3, 0))
        self.assertFalse(view.update(second, Expunges.FORBIDDEN))
        news = view.update(second, Expunges.ALLOWED)
        self.assertEqual((news.expunged, news.exists, view.number(3)), ([2], None, 2))
        self.assertRaises(KeyError, view.flags, 2)

    def test_v2_arrivals_are_counted_after_those_who_wait_to_be_expunged(self):
        first = version(1, 2, 3)
        view = SessionView(first, recent_from=4)
        gone = changed(first, vanished=[1, 2])
        view.update(gone, Expunges.FORBIDDEN)
        news = view.update(changed(gone, {4: 0}), Expunges.FORBIDDEN)
        self.assertEqual((news.exists, news.recent, view.number(4)), (4, 1, 4))
        news = view.update(changed(changed(gone, {4: 0}), {3: SEEN}), Expunges.ALLOWED)
        self.assertEqual((news.expunged, news.exists, news.changed), ([2, 1], None, [(1, 3)]))
        self.assertEqual(list(view.uids), [3, 4])

    def test_v3_who_came_and_went_between_two_looks_is_never_mentioned(self):
        first = version(1)
        view = SessionView(first, recent_from=1)
        last = changed(changed(changed(first, {2: 0}), {2: SEEN}), vanished=[2])
        self.assertFalse(view.update(last, Expunges.ALLOWED))
        self.assertEqual(list(view.uids), [1])

    def test_v3_an_expunge_in_an_empty_view_is_nothing(self):
        first = version()
        view = SessionView(first, recent_from=1)
        self.assertFalse(view.update(changed(first, vanished=[7]), Expunges.ALLOWED))
        self.assertEqual(view.count, 0)

    def test_expunged_numbers_are_given_highest_first(self):
        first = version(1, 2, 3, 4)
        view = SessionView(first, recent_from=9)
        news = view.update(changed(first, vanished=[1, 3, 4]), Expunges.ALLOWED)
        self.assertEqual(news.expunged, [4, 3, 1])

    def test_nothing_is_told_twice(self):
        first = version(1)
        view = SessionView(first, recent_from=2)
        second = changed(first, {1: SEEN, 2: 0})
        self.assertTrue(view.update(second, Expunges.ALLOWED))
        self.assertFalse(view.update(second, Expunges.ALLOWED))

    def test_sessions_in_step_share_the_columns(self):
        first = version(1, 2)
        views = [SessionView(first, recent_from=1) for _ in range(3)]
        second = changed(first, {3: 0}, vanished=[1])
        for view in views:
            view.update(second, Expunges.ALLOWED)
            self.assertIs(view.uids, second.uids)

    def test_a_session_far_behind_is_told_the_same(self):
        first = version(*range(1, 11))
        view, close = SessionView(first, recent_from=99), SessionView(first, recent_from=99)
        last = changed(first, {3: FLAGGED}, vanished=[5])
        close.update(last, Expunges.ALLOWED)
        for _ in range(HISTORY_MAX + 1):
            last = changed(last, {4: last.flags[last.index(4)] ^ SEEN})
        news = view.update(last, Expunges.ALLOWED)
        self.assertEqual((news.expunged, news.changed), ([5], [(3, 3), (4, 4)]))

    def test_a_step_too_large_to_remember_is_found_by_comparing(self):
        first = version(*range(1, HISTORY_UIDS_MAX + 3))
        view = SessionView(first, recent_from=10**6)
        second = changed(first, dict.fromkeys(range(1, HISTORY_UIDS_MAX + 2), SEEN))
        self.assertEqual(len(view.update(second, Expunges.ALLOWED).changed), HISTORY_UIDS_MAX + 1)

    def test_a_version_that_is_not_new_is_the_same_object(self):
        first = version(1, 2)
        self.assertIs(first.apply(10, uids=[1], flags=[0], modseqs=[1], keywords={}), first)

    def test_a_uid_that_appears_below_a_known_one_is_refused(self):
        self.assertRaises(ValueError, changed, version(1, 5), {3: 0})


class VeryMany(unittest.SynchronousTestCase):
    def test_a_session_far_behind_in_a_large_mailbox_is_told_the_same_as_one_in_a_small_one(self):
        first = version(*range(1, HISTORY_UIDS_MAX + 3))
        view = SessionView(first, recent_from=10**6)
        second = changed(first, dict.fromkeys(range(1, HISTORY_UIDS_MAX + 2), SEEN), vanished=range(5, 15_000, 7))
        news = view.update(second, Expunges.ALLOWED)
        left = [uid for uid in range(1, HISTORY_UIDS_MAX + 2) if uid < 5 or uid >= 15_000 or (uid - 5) % 7]
        self.assertEqual(list(news.vanished), list(range(5, 15_000, 7)))
        self.assertEqual(list(news.changed), list(enumerate(left, 1)))
        self.assertEqual(list(news.changed[10_000:10_002]), list(enumerate(left, 1))[10_000:10_002])


class OwnStores(unittest.SynchronousTestCase):
    def setUp(self):
        self.first = version(1, 2, 3)
        self.view = SessionView(self.first, recent_from=99)

    def stored(self, after, *, silent):
        uids = [1, 2]
        modseqs = [after.modseqs[after.index(uid)] for uid in uids]
        own = OwnStore(uids, modseqs, Change.ADD, SEEN)
        return self.view.stored(own, version=after, silent=silent)

    def test_an_own_store_is_answered_at_once_and_not_again(self):
        after = changed(self.first, {1: SEEN, 2: SEEN})
        self.assertEqual(self.stored(after, silent=False), [(1, 1), (2, 2)])
        self.assertEqual(self.view.flag_text(1), b"\\Seen")
        self.assertFalse(self.view.update(after, Expunges.FORBIDDEN))

    def test_a_silent_store_is_not_answered(self):
        after = changed(self.first, {1: SEEN, 2: SEEN})
        self.assertEqual(self.stored(after, silent=True), [])
        self.assertFalse(self.view.update(after, Expunges.FORBIDDEN))

    def test_a_silent_store_is_answered_where_somebody_else_was_first(self):
        after = changed(changed(self.first, {2: FLAGGED}), {1: SEEN, 2: SEEN | FLAGGED})
        self.assertEqual(self.stored(after, silent=True), [(2, 2)])
        self.assertFalse(self.view.update(after, Expunges.FORBIDDEN))

    def test_a_silent_store_is_answered_where_it_changed_nothing_but_somebody_else_did(self):
        after = changed(self.first, {1: SEEN, 2: SEEN | FLAGGED}, modseq=12)
        self.assertEqual(self.stored(after, silent=True), [(2, 2)])

    def test_keywords_are_compared_without_regard_to_case(self):
        own = OwnStore([1], [9], Change.REPLACE, 0, ("Work",))
        self.assertEqual(own.effect(SEEN, 8, ("other",)), (0, frozenset({"work"})))
        removed = OwnStore([1], [9], Change.REMOVE, SEEN, ("WORK",))
        self.assertEqual(removed.effect(SEEN | FLAGGED, 8, ("Work", "b")), (FLAGGED, frozenset({"b"})))

    def test_a_change_by_others_after_the_own_store_is_told(self):
        after = changed(self.first, {1: SEEN, 2: SEEN})
        self.stored(after, silent=True)
        later = changed(after, {2: 0, 3: FLAGGED})
        self.assertEqual(self.view.update(later, Expunges.FORBIDDEN).changed, [(2, 2), (3, 3)])

    def test_recent_is_part_of_the_flags_of_this_session_only(self):
        view = SessionView(self.first, recent_from=3)
        self.assertEqual((view.flag_text(2), view.flag_text(3), view.recent), (b"", b"\\Recent", 1))
        self.assertEqual(self.view.flag_text(3), b"")
