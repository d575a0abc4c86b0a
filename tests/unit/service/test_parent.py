"""What a rolling restart takes from a new configuration, what signals mean, and who stops an orphaned PostgreSQL."""

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.errors import ConfigurationInvalid
from sora.service import embedded, orphans, signals
from sora.service.embedded_lock import FILE, StateLock
from sora.service.orphans import Bond
from sora.service.parent import Parent, adopted
from sora.service.signals import Signals

TEXT = """
[process]
workers = {workers}
[limits]
message_max = "{size}"
[embedded]
state = "{state}"
[servers.imap]
addr = ":{port}"
idle_timeout = "{idle}"
[servers.metrics]
addr = ":9090"
{more}
"""


def text(**given: str) -> str:
    return TEXT.format(
        **{"workers": "2", "size": "1mb", "state": "/var/a", "port": "143", "idle": "30m", "more": "", **given}
    )


class AdoptedTests(unittest.SynchronousTestCase):
    def test_what_children_use_is_taken_over(self) -> None:
        now, fixed = adopted(parse(text()), parse(text(size="2mb", idle="1h", more="[auth]\nthrottle = false")))
        self.assertEqual(fixed, [])
        self.assertEqual(now.limits.message_max, 2_097_152)
        self.assertEqual(now.servers["imap"].idle_timeout, 3_600)
        self.assertFalse(now.auth.throttle)

    def test_what_belongs_to_the_parent_stays_and_is_named(self) -> None:
        before = parse(text())
        more = 'api_key = "sesame"\n[servers.lmtp]\naddr = ":24"\n[database]\nhosts = ["db.example.org"]'
        now, fixed = adopted(before, parse(text(workers="3", state="/var/b", port="144", size="2mb", more=more)))
        self.assertEqual(
            fixed,
            ["process.workers", "embedded", "database", "servers.imap", "servers.lmtp", "servers.metrics"],
        )
        self.assertEqual(now.process.workers, 2)
        self.assertEqual((now.embedded, now.database, now.servers), (before.embedded, None, before.servers))
        self.assertEqual(now.limits.message_max, 2_097_152)


class Heard:
    """A child that keeps what it is told."""

    def __init__(self, slot: str) -> None:
        self.slot = slot
        self.line = self
        self.told: list[tuple[bytes, bytes]] = []

    def tell(self, word: bytes, content: bytes = b"") -> None:
        self.told.append((word, content))


class PassOnTests(unittest.SynchronousTestCase):
    def test_the_other_workers_hear_of_a_sign_in(self) -> None:
        parent = Parent(parse(text()), reactor=Clock())
        teller, other, jobs = Heard("0"), Heard("1"), Heard("jobs")
        processes: Any = {teller, other, jobs}
        self.patch(parent, "_processes", processes)
        said: Any = teller
        parent._pass_on(said, b"[true]")
        self.assertEqual((teller.told, other.told, jobs.told), ([], [(b"SIGN-IN", b"[true]")], []))


class SignalTests(unittest.SynchronousTestCase):
    def test_the_first_ends_in_order_and_the_second_at_once(self) -> None:
        done: list[object] = []
        reactor: Any = Clock()
        reactor.stop = lambda: done.append("stop")
        self.patch(signals.os, "_exit", done.append)
        handler = Signals(reactor, at_once=lambda: done.append("at once"), hang_up=lambda: None)
        handler.end()
        self.assertEqual(done, ["stop"])
        handler.end()
        self.assertEqual(done, ["stop", "at once", 1])


class OrphanTests(unittest.SynchronousTestCase):
    """Two orphans of one parent, and a PostgreSQL that ends when it is asked to."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.clock = Clock()
        self.running: int | None = 4_711
        self.sent: list[tuple[int, int]] = []
        self.patch(embedded, "postmaster", lambda _: self.running)
        self.patch(orphans.os, "kill", self.kill)

    def kill(self, pid: int, number: int) -> None:
        self.sent.append((pid, number))

    def end(self, bond: Bond) -> "Deferred[bool]":
        return Deferred.fromCoroutine(bond.end_postgres(self.clock))

    def test_the_last_one_stops_it_and_waits_for_its_end(self) -> None:
        one, two = Bond(self.state), Bond(self.state)
        self.assertFalse(self.successResultOf(self.end(one)))
        self.assertEqual(self.sent, [])
        last = self.end(two)
        self.assertEqual(self.sent, [(4_711, signal.SIGINT)])
        self.clock.advance(1)
        self.assertNoResult(last)
        self.assertIn("ending", (self.state / FILE).read_text())
        self.running = None
        self.clock.advance(1)
        self.assertTrue(self.successResultOf(last))
        self.assertTrue(StateLock(self.state).take_now())

    def test_a_new_parent_keeps_it(self) -> None:
        bond, lock = Bond(self.state), StateLock(self.state)
        self.assertTrue(lock.take_now())
        self.assertFalse(self.successResultOf(self.end(bond)))
        self.assertEqual(self.sent, [])
        lock.release()

    def test_a_new_parent_waits_for_who_is_ending_it(self) -> None:
        ending = self.end(Bond(self.state))
        lock = StateLock(self.state)
        taken = Deferred.fromCoroutine(lock.take(self.clock))
        self.clock.advance(1)
        self.assertNoResult(taken)
        self.running = None
        self.clock.pump([1, 1])
        self.assertTrue(self.successResultOf(ending))
        self.successResultOf(taken)
        lock.release()

    def test_a_second_server_is_refused_at_once(self) -> None:
        lock = StateLock(self.state)
        self.successResultOf(Deferred.fromCoroutine(lock.take(self.clock)))
        refused = Deferred.fromCoroutine(StateLock(self.state).take(self.clock))
        error = self.failureResultOf(refused, ConfigurationInvalid).value
        self.assertIn(f"process {os.getpid()} serves the state directory", error.complaints[0])
        lock.release()
