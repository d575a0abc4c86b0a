"""The lean reactor: what it relies upon in this Twisted is there, and what protocols do wrong does not end it."""

import contextlib
import select
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.pollreactor import PollReactor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sora.net import lean_reactor


class Poller:
    """Says what happened, once."""

    def __init__(self, *events: tuple[int, int]) -> None:
        self.events = list(events)
        self.asked: list[tuple[float, int]] = []

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        self.asked.append((timeout, most))
        events, self.events = self.events, []
        return events


class Selectable:
    """Does what it is told to when it is read or written, and notes how it ended."""

    def __init__(self, does: Any = None) -> None:
        self.does = does
        self.calls: list[str] = []
        self.reason: Any = None

    def fileno(self) -> int:
        return 7

    def doRead(self) -> Any:
        self.calls.append("read")
        return self._do()

    def doWrite(self) -> Any:
        self.calls.append("write")
        return self._do()

    def _do(self) -> Any:
        if isinstance(self.does, type):
            raise self.does
        return self.does

    def connectionLost(self, reason: Failure) -> None:
        self.calls.append("lost")
        self.reason = reason.type


class ReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = EPollReactor()
        self.addCleanup(self.discard, self.reactor, self.reactor._poller)

    def discard(self, reactor: Any, poller: Any) -> None:
        reactor.waker.connectionLost(None)
        with contextlib.suppress(AttributeError):
            poller.close()

    def turn(self, *events: tuple[int, int], **selectables: Selectable) -> Poller:
        """Have the lean reactor find events on descriptors 7 and 8."""
        poller = self.reactor._poller = Poller(*events)
        self.patch(select, "epoll", Poller)
        self.assertTrue(lean_reactor.install(self.reactor))
        self.reactor.removeReader = self.reactor.removeWriter = lambda selectable: None
        for name, selectable in selectables.items():
            self.reactor._selectables[int(name[1:])] = selectable
        self.reactor.doIteration(0.5)
        return poller

    def test_this_twisted_has_what_is_relied_upon(self) -> None:
        self.assertTrue(lean_reactor.is_known(self.reactor))
        self.assertTrue(lean_reactor.install(self.reactor))
        own = self.reactor.doIteration
        self.assertTrue(lean_reactor.install(self.reactor))
        self.assertIs(self.reactor.doIteration, own)
        lean_reactor.uninstall(self.reactor)
        self.assertEqual(self.reactor.doIteration, self.reactor.doPoll)

    def test_another_reactor_is_left_as_it_is(self) -> None:
        class Other(EPollReactor):  # type: ignore[misc]
            """One that somebody has changed."""

        for reactor in (Other(), PollReactor()):  # type: ignore[no-untyped-call]
            self.addCleanup(self.discard, reactor, reactor._poller)
            self.assertFalse(lean_reactor.install(reactor))
            self.assertNotIn("doIteration", vars(reactor))
            self.assertTrue(lean_reactor.prepare(reactor, lean=True))

    def test_a_twisted_that_changed_inside_is_left_as_it_is(self) -> None:
        for name in ("_selectables", "_poller"):
            reactor: Any = EPollReactor()
            self.addCleanup(self.discard, reactor, reactor._poller)
            setattr(reactor, name, None)
            self.assertFalse(lean_reactor.install(reactor))
        self.patch(EPollReactor, "doIteration", lambda reactor, delay: None)
        self.assertFalse(lean_reactor.install(self.reactor))

    def test_lean_transports_want_a_reactor_with_descriptors_and_the_setting(self) -> None:
        self.assertFalse(lean_reactor.prepare(Clock(), lean=True))
        self.assertFalse(lean_reactor.prepare(self.reactor, lean=False))
        self.assertNotIn("doIteration", vars(self.reactor))
        self.assertTrue(lean_reactor.prepare(self.reactor, lean=True))
        self.assertIn("doIteration", vars(self.reactor))

    def test_events_become_calls(self) -> None:
        reads, writes = Selectable(), Selectable()
        poller = self.turn((7, select.EPOLLIN), (8, select.EPOLLOUT), (9, select.EPOLLIN), _7=reads, _8=writes)
        self.assertEqual((reads.calls, writes.calls), (["read"], ["write"]))
        self.assertEqual(poller.asked, [(0.5, lean_reactor.BATCH)])
        both = Selectable()
        lean_reactor.uninstall(self.reactor)
        self.turn((7, select.EPOLLIN | select.EPOLLOUT), _7=both)
        self.assertEqual(both.calls, ["read", "write"])

    def test_without_a_timeout_it_waits_for_ever(self) -> None:
        poller = self.turn()
        self.reactor.doIteration(None)
        self.assertEqual(poller.asked[-1], (-1, lean_reactor.BATCH))

    def test_the_end_of_a_connection_is_told_with_its_reason(self) -> None:
        for event, does, reason in (
            (select.EPOLLIN, CONNECTION_DONE, ConnectionDone),
            (select.EPOLLIN, CONNECTION_LOST, ConnectionLost),
            (select.EPOLLOUT, CONNECTION_LOST, ConnectionLost),
            (select.EPOLLHUP | select.EPOLLERR, None, ConnectionLost),
        ):
            one = Selectable(does)
            lean_reactor.uninstall(self.reactor)
            self.turn((7, event), _7=one)
            self.assertEqual((one.calls[-1], one.reason), ("lost", reason))

    def test_what_a_protocol_raises_is_logged_and_ends_its_connection_alone(self) -> None:
        for event in (select.EPOLLIN, select.EPOLLOUT):
            for error in (ValueError, SystemExit):
                bad, good = Selectable(error), Selectable()
                lean_reactor.uninstall(self.reactor)
                self.turn((7, event), (8, event), _7=bad, _8=good)
                self.assertEqual((bad.reason, len(good.calls)), (error, 1))
                self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_what_is_raised_at_the_end_of_a_connection_is_logged(self) -> None:
        class Bad(Selectable):
            def connectionLost(self, reason: Failure) -> None:
                raise ValueError("a bug")

        for event, does in ((select.EPOLLIN, CONNECTION_DONE), (select.EPOLLHUP, None)):
            good = Selectable()
            lean_reactor.uninstall(self.reactor)
            self.turn((7, event), (8, select.EPOLLIN), _7=Bad(does), _8=good)
            self.assertEqual((len(self.flushLoggedErrors(ValueError)), good.calls), (1, ["read"]))
