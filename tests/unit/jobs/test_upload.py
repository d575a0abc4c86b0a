"""The uploader: bounded, verified before it is recorded, undeterred (D8)."""

from collections.abc import Callable, Sequence
from typing import Any

from blake3 import blake3
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import DatabaseUnavailable, ObjectStoreUnavailable
from sora.core.events import MailboxChanged
from sora.core.ids import BodyId, MailboxId, ModSeq
from sora.jobs.upload import Uploader
from sora.store.model import BodyRef, Upload


class FakeBodies:
    """Staged bodies, each claimed once; what is told about them is kept in `log`."""

    def __init__(self) -> None:
        self.due: list[Upload] = []
        self.log: list[tuple[Any, ...]] = []
        self.claims: list[int] = []
        self.record_error: Exception | None = None

    def stage(self, number: int, data: bytes, *, hash: bytes | None = None, attempts: int = 0) -> None:
        digest = blake3(data).digest() if hash is None else hash
        ref = BodyRef(BodyId(number), digest, len(data), f"key/{number}", True)
        self.due.append(Upload(ref, data, attempts))

    def claim_uploads(
        self, limit: int, lease: float, *, octets_max: int, uploaded: Sequence[BodyId] = ()
    ) -> "Deferred[list[Upload]]":
        if self.record_error is not None and uploaded:
            return fail(self.record_error)
        self.log += [("uploaded", body) for body in uploaded]
        self.claims.append(limit)
        claimed: list[Upload] = []
        while self.due and len(claimed) < limit and octets_max > 0:
            octets_max -= len(self.due[0].data)
            claimed.append(self.due.pop(0))
        return succeed(claimed)

    def uploaded(self, bodies: Sequence[BodyId]) -> "Deferred[None]":
        if self.record_error is not None:
            return fail(self.record_error)
        self.log += [("uploaded", body) for body in bodies]
        return succeed(None)

    def upload_failed(self, body: BodyId, reason: str, retry_after: float) -> "Deferred[None]":
        self.log.append(("failed", body, reason, retry_after))
        return succeed(None)

    def upload_backlog(self) -> "Deferred[tuple[int, int, float]]":
        return succeed((len(self.due), 0, 0.0))


class FakeFeed:
    """A feed of which `listener` is the only one who follows."""

    def __init__(self) -> None:
        self.listener: Callable[[Any], None] | None = None

    def follow(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        self.listener = listener

        def cancel() -> None:
            self.listener = None

        return cancel

    def announce(self) -> None:
        assert self.listener is not None
        self.listener(MailboxChanged(MailboxId(1), ModSeq(1)))


class FakeObjects:
    """Puts that wait until `finish` is called."""

    def __init__(self) -> None:
        self.flying: dict[str, Deferred[None]] = {}
        self.cancelled: list[str] = []

    def put(self, key: str, data: bytes) -> "Deferred[None]":
        self.flying[key] = Deferred(lambda _: self.cancelled.append(key))
        return self.flying[key]

    def finish(self, key: str, error: Exception | None = None) -> None:
        flight = self.flying.pop(key)
        flight.callback(None) if error is None else flight.errback(error)


class UploaderTests(unittest.SynchronousTestCase):
    """An uploader of four at once, over fakes."""

    def setUp(self) -> None:
        self.clock, self.bodies, self.objects = Clock(), FakeBodies(), FakeObjects()
        self.feed = FakeFeed()
        self.uploader = Uploader(
            self.bodies,
            self.objects,
            clock=self.clock,
            feed=self.feed,
            concurrency=4,
            octets_max=1000,
            interval=10.0,
            wake_delay=0.5,
            random_number=lambda: 1.0,
        )

    def tearDown(self) -> None:
        stopped = self.uploader.stopService()
        self.clock.advance(10)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def settle(self) -> None:
        self.clock.pump([0] * 5)

    def test_d8_a_body_is_recorded_as_uploaded_only_once_it_is_there(self) -> None:
        self.bodies.stage(1, b"one")
        self.uploader.startService()
        self.settle()
        self.assertEqual(self.bodies.log, [])
        self.objects.finish("key/1")
        self.settle()
        self.assertEqual(self.bodies.log, [("uploaded", 1)])

    def test_a_wake_finds_what_was_just_staged(self) -> None:
        self.uploader.startService()
        self.bodies.stage(1, b"one")
        self.uploader.wake()
        self.assertIn("key/1", self.objects.flying)

    def test_the_clock_finds_what_nobody_announced(self) -> None:
        self.uploader.startService()
        self.bodies.stage(1, b"one")
        self.clock.advance(10)
        self.assertIn("key/1", self.objects.flying)

    def test_a_change_anyone_announces_is_looked_at_after_a_pause(self) -> None:
        self.uploader.startService()
        self.bodies.stage(1, b"one")
        for _ in range(5):
            self.feed.announce()
            self.clock.advance(0.4)
            self.assertEqual(self.objects.flying, {})
        self.clock.advance(0.1)
        self.assertIn("key/1", self.objects.flying)
        self.assertEqual(len(self.bodies.claims), 2)

    def test_changes_without_a_pause_are_looked_at_all_the_same(self) -> None:
        self.uploader.startService()
        self.bodies.stage(1, b"one")
        for _ in range(26):
            self.feed.announce()
            self.clock.advance(0.4)
        self.assertIn("key/1", self.objects.flying)

    def test_the_feed_is_not_followed_any_more_when_it_stops(self) -> None:
        self.uploader.startService()
        self.feed.announce()
        self.successResultOf(self.uploader.stopService())
        self.assertIsNone(self.feed.listener)

    def test_no_more_octets_fly_than_allowed(self) -> None:
        for number in range(12):
            self.bodies.stage(number, b"%03d" % number * 200)
        self.uploader.startService()
        while self.objects.flying:
            self.assertLessEqual(len(self.objects.flying), 2)
            self.objects.finish(next(iter(self.objects.flying)))
            self.settle()
        self.assertEqual(len(self.bodies.log), 12)

    def test_one_larger_than_all_that_may_fly_goes_alone(self) -> None:
        self.bodies.stage(1, b"x" * 5000)
        self.bodies.stage(2, b"y")
        self.uploader.startService()
        self.assertEqual(list(self.objects.flying), ["key/1"])
        self.objects.finish("key/1")
        self.settle()
        self.objects.finish("key/2")
        self.settle()
        self.assertEqual(len(self.bodies.log), 2)

    def test_while_all_fail_one_is_tried_at_a_time(self) -> None:
        for number in range(40):
            self.bodies.stage(number, b"x")
        self.uploader.startService()
        for _ in range(4):
            self.objects.finish(next(iter(self.objects.flying)), ObjectStoreUnavailable("away"))
        self.settle()
        self.assertEqual(self.objects.flying, {})
        self.clock.advance(1.0)
        self.assertEqual(list(self.objects.flying), ["key/4"])
        self.objects.finish("key/4", ObjectStoreUnavailable("away"))
        self.settle()
        self.assertEqual(self.objects.flying, {})
        self.clock.advance(1.0)
        self.objects.finish("key/5")
        self.settle()
        self.assertEqual(len(self.objects.flying), 4)

    def test_no_more_than_allowed_fly_and_all_arrive_with_few_claims(self) -> None:
        for number in range(40):
            self.bodies.stage(number, b"%d" % number)
        self.uploader.startService()
        while self.objects.flying:
            self.assertLessEqual(len(self.objects.flying), 4)
            self.objects.finish(next(iter(self.objects.flying)))
            self.settle()
        self.assertEqual(len(self.bodies.log), 40)
        self.assertLessEqual(len(self.bodies.claims), 40 // 2 + 1)

    def test_one_slow_upload_does_not_hold_up_the_others(self) -> None:
        for number in range(12):
            self.bodies.stage(number, b"x")
        self.uploader.startService()
        while others := [key for key in self.objects.flying if key != "key/0"]:
            self.objects.finish(others[0])
            self.settle()
        self.clock.advance(0.1)
        self.assertEqual(len(self.bodies.log), 11)

    def test_d8_a_failed_upload_is_given_back_with_a_growing_delay(self) -> None:
        for attempts, delay in ((0, 1.0), (3, 8.0), (30, 600.0)):
            self.bodies.stage(attempts, b"one", attempts=attempts)
            self.uploader.wake() if self.uploader.running else self.uploader.startService()
            self.objects.finish(f"key/{attempts}", ObjectStoreUnavailable("away"))
            self.settle()
            self.assertEqual(self.bodies.log[-1], ("failed", attempts, "away", delay))

    def test_a_damaged_staged_body_is_never_uploaded(self) -> None:
        self.bodies.stage(1, b"one", hash=b"\0" * 32)
        self.uploader.startService()
        self.assertEqual(self.objects.flying, {})
        self.assertEqual(self.bodies.log[0][:2], ("failed", 1))

    def test_a_bug_in_one_upload_leaves_the_others_alone(self) -> None:
        self.bodies.stage(1, b"one")
        self.bodies.stage(2, b"two")
        self.uploader.startService()
        self.objects.finish("key/1", ZeroDivisionError("a bug"))
        self.objects.finish("key/2")
        self.settle()
        self.assertEqual([entry[:2] for entry in self.bodies.log], [("failed", 1), ("uploaded", 2)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_database_that_cannot_record_it_does_not_end_the_job(self) -> None:
        self.bodies.stage(1, b"one")
        self.bodies.record_error = DatabaseUnavailable("away")
        self.uploader.startService()
        self.objects.finish("key/1")
        self.settle()
        self.bodies.record_error = None
        self.bodies.stage(2, b"two")
        self.clock.advance(10)
        self.objects.finish("key/2")
        self.settle()
        self.assertEqual(self.bodies.log, [("uploaded", 1), ("uploaded", 2)])

    def test_stopping_waits_for_uploads_and_claims_no_more(self) -> None:
        for number in range(6):
            self.bodies.stage(number, b"x")
        self.uploader.startService()
        stopped = self.uploader.stopService()
        for key in list(self.objects.flying):
            self.assertNoResult(stopped)
            self.objects.finish(key)
        self.successResultOf(stopped)
        self.assertEqual(len(self.bodies.log), 4)
        self.assertEqual(self.bodies.claims, [4])

    def test_stopping_ends_at_its_limit_and_marks_nothing(self) -> None:
        self.bodies.stage(1, b"one")
        self.uploader.startService()
        stopped = self.uploader.stopService()
        self.clock.advance(9.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.objects.cancelled, ["key/1"])
        self.assertEqual(self.bodies.log, [])
