"""Contexts: positions of what comes and goes in an order, and the end of one that cannot be followed."""

from array import array
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import fail, succeed
from twisted.trial import unittest

from sora.aio import start
from sora.core.criteria import All, Criteria
from sora.core.errors import BodyUnavailable
from sora.core.ordering import Order, SortKey
from sora.front.imap.context import Context, Contexts
from sora.imap.version import Version
from sora.imap.view import SessionView

BY_SIZE: Order = ((SortKey.SIZE, False),)


def version(*uids: int) -> Version:
    """Make a version without flags."""
    return Version(
        1,
        uids=array("I", uids),
        flags=array("B", bytes(len(uids))),
        modseqs=array("Q", [1] * len(uids)),
        keywords={},
    )


class Session:
    """What a context asks of its session: `matching` match, and the largest UID is the first in an order."""

    def __init__(self, *uids: int) -> None:
        self.matching: Any = set()
        self.sent: list[bytes] = []
        now = version(*uids)
        mailbox = SimpleNamespace(version=now, row=SimpleNamespace(id=1))
        self.here = SimpleNamespace(view=SessionView(now, recent_from=1), mailbox=mailbox)
        self.services = SimpleNamespace(searcher=self, orders=self)
        self.notify = None

    def still(self, *_: object) -> Any:
        return fail(self.matching) if isinstance(self.matching, Exception) else succeed(self.matching)

    def order(self, _: object, __: object, uids: list[int], **___: object) -> Any:
        return succeed(sorted(uids, reverse=True))

    def send(self, line: bytes) -> None:
        self.sent.append(line)


class ContextTests(unittest.SynchronousTestCase):
    """What clients are told."""

    def contexts(self, order: Order, *results: int, by_uid: bool = True) -> Contexts:
        return Contexts(version(), 0, [Context(b"t", Criteria((All(),)), by_uid, order, list(results))])

    def settled(self, session: Any, contexts: Contexts) -> list[bytes]:
        self.successResultOf(start(contexts.settle(session)))
        return session.sent

    def test_each_run_is_placed_where_it_is_when_its_turn_comes(self) -> None:
        session = Session(1, 2, 3, 4, 5, 6)
        contexts = self.contexts(BY_SIZE, 6, 4, 3, 1)
        session.matching = {6, 5, 2, 1}
        self.assertEqual(
            self.settled(session, contexts),
            [b'* ESEARCH (TAG "t") UID REMOVEFROM (2 4,3)\r\n', b'* ESEARCH (TAG "t") UID ADDTO (2 5,2)\r\n'],
        )
        self.assertEqual(contexts.open[0].results, [6, 5, 2, 1])
        session.sent.clear()
        contexts.last = 0
        session.matching = {5, 3}
        self.assertEqual(
            self.settled(session, contexts),
            [b'* ESEARCH (TAG "t") UID REMOVEFROM (1 6 2 2,1)\r\n', b'* ESEARCH (TAG "t") UID ADDTO (2 3)\r\n'],
        )

    def test_in_mailbox_order_positions_are_zero(self) -> None:
        session = Session(10, 20, 30)
        contexts = self.contexts((), 10, 30, by_uid=False)
        session.matching = {20}
        self.assertEqual(
            self.settled(session, contexts),
            [b'* ESEARCH (TAG "t") REMOVEFROM (0 1,3)\r\n', b'* ESEARCH (TAG "t") ADDTO (0 2)\r\n'],
        )

    def test_nothing_new_asks_nothing(self) -> None:
        session = Session(1, 2)
        contexts = Contexts(session.here.mailbox.version, 2, self.contexts((), 1).open)
        session.matching = AssertionError("not to be asked")
        self.assertEqual(self.settled(session, contexts), [])

    def test_what_is_expunged_leaves_by_the_numbers_of_before(self) -> None:
        session = Session(1, 3)
        contexts = self.contexts((), 2, 3, by_uid=False)
        contexts.leaving(session, array("I", [1, 2, 3]))  # type: ignore[arg-type]
        self.assertEqual(session.sent, [b'* ESEARCH (TAG "t") REMOVEFROM (0 2)\r\n'])
        self.assertEqual(contexts.open[0].results, [3])

    def test_a_context_that_cannot_be_followed_ends_with_a_word(self) -> None:
        session = Session(1, 2)
        contexts = self.contexts((), 1)
        session.matching = BodyUnavailable("not now")
        self.assertEqual(self.settled(session, contexts), [b'* NO [NOUPDATE "t"] not now\r\n'])
        self.assertEqual(contexts.open, [])
