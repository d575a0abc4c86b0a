"""The watchdog: long turns are counted and named, short ones cost nothing and say nothing."""

import threading
import time

from twisted.logger import globalLogPublisher
from twisted.trial import unittest

from sora.net import lean_reactor
from sora.observe import metrics
from sora.observe.watchdog import QUIET, Watchdog

LIMIT = 0.05


class Poller:
    """A poller whose polls return at once."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def poll(self, *arguments: object) -> list[tuple[int, int]]:
        self.calls.append(arguments)
        return [(7, 1)]

    def other(self, *arguments: object) -> None:
        self.calls.append(arguments)

    register = unregister = modify = close = fileno = other


class Reactor:
    """What the watchdog knows of a reactor."""

    def __init__(self) -> None:
        self._poller = Poller()


class WatchdogTests(unittest.SynchronousTestCase):
    """With a clock of our own."""

    def setUp(self) -> None:
        self.now = 100.0
        self.patch(time, "perf_counter", lambda: self.now)
        self.reactor = Reactor()
        self.inner = self.reactor._poller
        self.watchdog = Watchdog(self.reactor, limit=LIMIT)
        self.watchdog.startService()
        self.addCleanup(lambda: self.watchdog.running and self.watchdog.stopService())
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)
        self.before = self.count()

    def note(self, event: dict[str, object]) -> None:
        if event.get("log_namespace") == "sora.observe.watchdog.Watchdog":
            self.lines.append(str(event["log_format"]).format(**event))

    def count(self) -> float:
        return metrics.REGISTRY.get_sample_value("sora_reactor_blocked_seconds_count") or 0.0

    def turn(self, seconds: float) -> None:
        """Let the reactor wait for an hour, then be busy, then poll again."""
        self.reactor._poller.poll(3600.0, 1)
        self.now += seconds
        self.reactor._poller.poll(0.0, 1)
        # It waits again.
        self.reactor._poller.since = 0.0  # type: ignore[attr-defined]

    def test_a_long_turn_is_counted_and_logged(self) -> None:
        self.turn(0.08)
        self.assertEqual(self.count() - self.before, 1)
        self.assertEqual(self.lines, ["the reactor was kept from all others for 80 ms"])

    def test_short_turns_and_long_waits_are_neither(self) -> None:
        for _ in range(3):
            self.turn(0.04)
        self.assertEqual((self.count(), self.lines), (self.before, []))

    def test_the_log_is_not_flooded_but_all_is_counted(self) -> None:
        for _ in range(3):
            self.turn(0.1)
        self.now += QUIET
        self.turn(0.1)
        self.assertEqual(self.count() - self.before, 4)
        self.assertEqual(len(self.lines), 2)

    def test_the_place_is_named_if_it_was_seen(self) -> None:
        self.reactor._poller.poll(0.0, 1)
        self.now += 0.2
        self.watchdog.look(threading.get_ident(), self.now)
        self.reactor._poller.poll(0.0, 1)
        self.assertIn("test_the_place_is_named_if_it_was_seen", self.lines[0])

    def test_a_place_seen_in_another_turn_is_not_blamed(self) -> None:
        self.reactor._poller.poll(0.0, 1)
        self.now += 0.2
        self.watchdog.look(threading.get_ident(), self.now)
        self.reactor._poller.poll(0.0, 1)
        self.now += QUIET
        self.reactor._poller.poll(0.0, 1)
        self.assertNotIn("by:", self.lines[-1])

    def test_the_poller_is_asked_as_before_and_given_back(self) -> None:
        self.assertEqual(self.reactor._poller.poll(1.5, 3), [(7, 1)])
        self.reactor._poller.register(5, 1)
        self.assertEqual(self.inner.calls, [(1.5, 3), (5, 1)])
        self.watchdog.stopService()
        self.assertIs(self.reactor._poller, self.inner)

    def test_a_reactor_without_a_poller_is_left_alone(self) -> None:
        watchdog = Watchdog(object())
        watchdog.startService()
        watchdog.stopService()

    def test_a_lean_reactor_is_watched_too(self) -> None:
        from twisted.internet.epollreactor import EPollReactor

        reactor = EPollReactor()
        self.addCleanup(reactor._poller.close)
        self.assertTrue(lean_reactor.install(reactor))
        watchdog = Watchdog(reactor, limit=LIMIT)
        watchdog.startService()
        self.addCleanup(watchdog.stopService)
        reactor.doIteration(0)
        self.now += 0.2
        reactor.doIteration(0)
        self.assertEqual(self.count() - self.before, 1)
