"""Searches as SQL: what bounds a statement, and what ends one that takes too long."""

from typing import Any

from twisted.internet.defer import fail
from twisted.trial import unittest

from sora.aio import start
from sora.core import criteria as keys
from sora.core.errors import Busy, LimitReached
from sora.core.ids import MailboxId, Uid
from sora.core.ordering import SortKey
from sora.core.uidset import UidSet
from sora.postgres import ordering, search

LATE = keys.Text(keys.Field.BODY, "late")


def uids(low: int, high: int) -> keys.Uids:
    """Name UIDs."""
    return keys.Uids(UidSet(((low, high),)))


class Away:
    """A database that does not get to it in time."""

    def fetch(self, *_: object) -> Any:
        return fail(Busy("the database did not get to it in time"))


class StatementTests(unittest.SynchronousTestCase):
    """The statement of a program."""

    def statement(self, *steps: keys.Step) -> str:
        return search.compose(keys.Criteria(steps), recent_from=1, uid_max=100)[0]

    def test_sets_that_all_else_is_joined_to_bound_what_is_read(self) -> None:
        two = keys.And(2)
        for steps, bounds in (
            ((uids(5, 9),), "BETWEEN 5 AND 9"),
            ((uids(5, 9), LATE, keys.Flag(1), two, two), "BETWEEN 5 AND 9"),
            ((LATE, uids(5, 9), uids(7, 20), keys.And(3)), "BETWEEN 7 AND 9"),
            ((uids(5, 9), LATE, keys.Or(2), uids(7, 20), two), "BETWEEN 7 AND 20"),
        ):
            self.assertIn(f"m.uid {bounds}", self.statement(*steps))
        for steps in ((uids(5, 9), keys.Not()), (uids(5, 9), LATE, keys.Or(2)), (LATE,), (LATE, keys.Not(), LATE, two)):
            self.assertNotIn("BETWEEN", self.statement(*steps))

    def test_values_are_never_part_of_the_text(self) -> None:
        hostile = "'; DROP TABLE x; -- %s %(x)s"
        steps = (keys.Text(keys.Field.TEXT, hostile), keys.Header(hostile, hostile), keys.Keyword(hostile), keys.And(3))
        text, parameters = search.compose(keys.Criteria(steps), recent_from=1, uid_max=9)
        self.assertNotIn("DROP", text)
        self.assertIn(hostile, parameters.values())

    def test_short_texts_are_patterns_without_wildcards(self) -> None:
        text, parameters = search.compose(keys.Criteria((keys.Text(keys.Field.BODY, "%_"),)), recent_from=1, uid_max=9)
        self.assertIn("LIKE", text)
        self.assertIn("%\\%\\_%", parameters.values())

    def test_what_takes_too_long_is_a_limit(self) -> None:
        away: Any = Away()
        inbox, everything = MailboxId(1), keys.Criteria((LATE,))
        self.failureResultOf(search.search(away, inbox, everything, recent_from=Uid(1), uid_max=9), LimitReached)
        self.failureResultOf(search.search_many(away, [inbox], everything), LimitReached)
        self.failureResultOf(
            start(ordering.order(away, inbox, ((SortKey.SIZE, False),), None, uid_max=9)), LimitReached
        )
