"""Which events a client wants to hear of which mailbox (RFC 5465 6)."""

import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sora.front.imap.notify_groups import Groups
from sora.imap.session_commands import Event, EventGroup, Watched

NEW, NAMES, FLAGS = Event.MESSAGE_NEW, Event.MAILBOX_NAME, Event.FLAG_CHANGE


def groups(*wanted: tuple[Watched, set[Event], tuple[str, ...]]) -> Groups:
    """Make the groups of a client whose namespace has all but what is below `Shared`."""
    made = [EventGroup(which, frozenset(events), names) for which, events, names in wanted]
    return Groups(made, lambda name: name.startswith("Shared/"))


class GroupsTests(SynchronousTestCase):
    def test_what_fits_a_mailbox_is_taken_together(self) -> None:
        asked = groups(
            (Watched.SELECTED, {FLAGS}, ()),
            (Watched.PERSONAL, {NEW}, ()),
            (Watched.SUBSCRIBED, {NAMES}, ()),
            (Watched.MAILBOXES, {FLAGS}, ("Work", "Shared/Sales")),
        )
        self.assertEqual(asked.events_of("INBOX", subscribed=False), {NEW})
        self.assertEqual(asked.events_of("INBOX", subscribed=True), {NEW, NAMES})
        self.assertEqual(asked.events_of("Work", subscribed=False), {NEW, FLAGS})
        self.assertEqual(asked.events_of("Work/Old", subscribed=False), {NEW})
        self.assertEqual(asked.events_of("Shared/Sales", subscribed=True), {NAMES, FLAGS})
        self.assertEqual(asked.events_of("Shared/Other", subscribed=False), frozenset())
        self.assertEqual(asked.anywhere, {NEW, NAMES, FLAGS})

    def test_a_subtree_is_a_name_and_all_below_it(self) -> None:
        asked = groups((Watched.SUBTREE, {NEW}, ("Work", "a/b")), (Watched.SUBTREE, {NAMES}, ("Work/Old",)))
        found = {
            name: asked.events_of(name, subscribed=False)
            for name in ("Work", "Work/Old", "Work/Old/2020/x", "Workshop", "a", "a/b", "a/b/c", "a/bc")
        }
        self.assertEqual(
            [name for name in found if NEW in found[name]],
            [
                "Work",
                "Work/Old",
                "Work/Old/2020/x",
                "a/b",
                "a/b/c",
            ],
        )
        self.assertEqual([name for name in found if NAMES in found[name]], ["Work/Old", "Work/Old/2020/x"])

    def test_without_events_nothing_is_watched(self) -> None:
        asked = groups((Watched.SELECTED, set(), ()), (Watched.PERSONAL, set(), ()))
        self.assertIsNone(asked.selected)
        self.assertFalse(asked.anywhere)
        self.assertEqual(asked.events_of("INBOX", subscribed=True), frozenset())

    def test_l5_a_thousand_names_cost_no_more_than_one(self) -> None:
        names = tuple(f"tree{number}" for number in range(1_000))
        asked = groups(*[(Watched.SUBTREE, {NEW}, names)] * 16, *[(Watched.MAILBOXES, {NEW}, names)] * 16)
        calls = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            asked.events_of("some/where/else", subscribed=True)
        finally:
            sys.setprofile(None)
        self.assertLess(calls, 20)
