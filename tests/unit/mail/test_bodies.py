"""Reading bodies: wherever they are, verified, each on its own, never an empty message (D9, U8)."""

from collections.abc import Sequence
from typing import Any

from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import BodyUnavailable, Corrupt, DatabaseUnavailable, ObjectStoreUnavailable
from sora.core.ids import BodyId
from sora.mail.bodies import Reader
from sora.store.model import BodyRef


def ref(number: int, data: bytes, *, staged: bool = False) -> BodyRef:
    return BodyRef(BodyId(number), blake3(data).digest(), len(data), f"key/{number}", staged)


class FakeBodies:
    """Staging that answers from `held`, or with `error`, and counts calls."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.error: Exception | None = None
        self.calls: list[list[int]] = []

    def staged(self, bodies: Sequence[BodyId]) -> "Deferred[dict[BodyId, bytes]]":
        self.calls.append(list(bodies))
        if self.error is not None:
            return fail(self.error)
        return succeed({body: self.held[body] for body in bodies if body in self.held})


class FakeObjects:
    """Objects whose answers come when the test says so (`slow`), or at once."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.slow = False
        self.waiting: list[tuple[str, Deferred[Any]]] = []
        self.cancelled: list[str] = []
        self.calls: list[str] = []

    def get(self, key: str) -> "Deferred[bytes | None]":
        self.calls.append(key)
        if self.slow:
            wait: Deferred[Any] = Deferred(lambda _: self.cancelled.append(key))
            self.waiting.append((key, wait))
            return wait
        return fail(self.error) if self.error is not None else succeed(self.held.get(key))

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for key, wait in waiting:
            wait.callback(self.held.get(key))


class FakeCache:
    """A cache in a dict; hashes in `later` are answered by a Deferred."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.later: dict[bytes, Deferred[bytes | None]] = {}

    def get(self, hash: bytes) -> Any:
        return self.later.get(hash) or self.held.get(hash)

    def put(self, hash: bytes, data: bytes) -> None:
        self.held[hash] = data


class ReaderCase(unittest.SynchronousTestCase):
    """A reader over fakes."""

    def setUp(self) -> None:
        self.clock, self.bodies, self.objects, self.cache = Clock(), FakeBodies(), FakeObjects(), FakeCache()
        self.reader = self.make()

    def make(self, **settings: Any) -> Reader:
        settings = {"clock": self.clock, "deadline": 10.0} | settings
        return Reader(self.bodies, self.objects, self.cache, **settings)

    def read(self, *refs: BodyRef) -> dict[int, Any]:
        return self.successResultOf(self.reader.read(refs))

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WhereTests(ReaderCase):
    """Each place a body can be."""

    def test_d9_a_staged_body_is_read_from_staging(self) -> None:
        self.bodies.held[1] = b"staged"
        self.assertEqual(self.read(ref(1, b"staged", staged=True)), {1: b"staged"})
        self.assertEqual(self.objects.calls, [])

    def test_all_staged_bodies_are_asked_for_in_one_call(self) -> None:
        refs = [ref(number, b"%d" % number, staged=True) for number in range(1, 6)]
        self.bodies.held = {number: b"%d" % number for number in range(1, 6)}
        self.assertEqual(self.read(*refs), self.bodies.held)
        self.assertEqual(self.bodies.calls, [[1, 2, 3, 4, 5]])

    def test_d9_a_body_uploaded_since_is_read_from_the_object_store(self) -> None:
        self.objects.held["key/1"] = b"uploaded"
        self.assertEqual(self.read(ref(1, b"uploaded", staged=True)), {1: b"uploaded"})

    def test_d9_a_body_not_in_the_object_store_is_sought_in_staging_once_more(self) -> None:
        self.bodies.held[1] = b"staged again"
        self.assertEqual(self.read(ref(1, b"staged again")), {1: b"staged again"})

    def test_d9_a_body_found_nowhere_is_unavailable_and_never_empty(self) -> None:
        for staged in (True, False):
            self.assertIsInstance(self.read(ref(1, b"lost", staged=staged))[1], BodyUnavailable)

    def test_the_empty_body_is_itself(self) -> None:
        self.objects.held["key/1"] = b""
        self.assertEqual(self.read(ref(1, b"")), {1: b""})

    def test_what_was_read_or_written_is_read_from_memory_and_offered_to_the_cache(self) -> None:
        self.objects.held["key/1"] = b"one"
        self.reader.written(ref(2, b"two"), b"two")
        for _ in range(2):
            self.assertEqual(self.read(ref(1, b"one"), ref(2, b"two")), {1: b"one", 2: b"two"})
        self.assertEqual(self.objects.calls, ["key/1"])
        self.assertEqual(set(self.cache.held.values()), {b"one", b"two"})

    def test_the_disk_cache_is_asked_before_the_stores(self) -> None:
        self.cache.held[blake3(b"cached").digest()] = b"cached"
        self.assertEqual(self.read(ref(1, b"cached", staged=True)), {1: b"cached"})
        self.assertEqual((self.bodies.calls, self.objects.calls), ([], []))

    def test_a_slow_cache_is_waited_for_and_its_miss_goes_on_to_the_stores(self) -> None:
        body = ref(1, b"large")
        self.objects.held["key/1"] = b"large"
        for answer, calls in ((b"large", 0), (None, 1)):
            self.reader = self.make()
            self.cache.later[body.hash] = Deferred()
            wait = self.reader.read([body, body])
            self.assertNoResult(wait)
            self.cache.later.pop(body.hash).callback(answer)
            self.assertEqual(self.successResultOf(wait), {1: b"large"})
            self.assertEqual(len(self.objects.calls), calls)

    def test_memory_is_bounded_and_forgets_the_least_recently_read(self) -> None:
        self.reader = Reader(self.bodies, self.objects, clock=self.clock, memory_max=1000)
        refs = [ref(number, b"%d" % number * 100) for number in range(1, 10)]
        big = ref(99, b"b" * 200)
        self.objects.held = {one.object_key: b"%d" % one.id * 100 for one in refs} | {"key/99": b"b" * 200}
        self.read(*refs)
        self.read(refs[0])
        self.read(ref(10, b"x"))
        self.objects.held["key/11"] = b"y" * 125
        self.read(ref(11, b"y" * 125), big)
        self.objects.calls.clear()
        self.read(refs[0])
        self.assertEqual(self.objects.calls, [])
        self.read(refs[1], big)
        self.assertEqual(self.objects.calls, ["key/2", "key/99"])
        self.assertLessEqual(self.reader._memory_held, 1000)
        self.assertEqual(self.reader._memory_held, sum(map(len, self.reader._memory.values())))


class TroubleTests(ReaderCase):
    """What cannot be read."""

    def test_u8_one_unreadable_body_does_not_hold_up_the_rest(self) -> None:
        self.objects.error = ObjectStoreUnavailable("away")
        self.bodies.held[2] = b"two"
        self.reader.written(ref(3, b"three"), b"three")
        found = self.read(ref(1, b"one"), ref(2, b"two", staged=True), ref(3, b"three"))
        self.assertIsInstance(found.pop(1), BodyUnavailable)
        self.assertEqual(found, {2: b"two", 3: b"three"})

    def test_without_the_database_what_the_object_store_has_is_read(self) -> None:
        self.bodies.error = DatabaseUnavailable("away")
        self.objects.held["key/1"] = b"one"
        self.assertEqual(self.read(ref(1, b"one", staged=True)), {1: b"one"})
        self.assertIsInstance(self.read(ref(2, b"two", staged=True))[2], BodyUnavailable)
        self.assertIsInstance(self.read(ref(3, b"three"))[3], BodyUnavailable)

    def test_wrong_bytes_and_wrong_lengths_are_corrupt_and_not_kept(self) -> None:
        self.objects.held = {"key/1": b"onE", "key/2": b"tw"}
        self.bodies.held[3] = b""
        for _ in range(2):
            found = self.read(ref(1, b"one"), ref(2, b"two"), ref(3, b"three", staged=True))
            self.assertEqual([type(error) for error in found.values()], [Corrupt] * 3)
        self.assertEqual(self.cache.held, {})
        self.objects.held["key/1"] = b"one"
        self.assertEqual(self.read(ref(1, b"one")), {1: b"one"})

    def test_the_deadline_makes_a_stalled_body_unavailable_and_ends_its_request(self) -> None:
        self.objects.slow = True
        self.bodies.held[2] = b"two"
        wait = self.reader.read([ref(1, b"one"), ref(2, b"two", staged=True), ref(3, b"three", staged=True)])
        self.clock.advance(9.9)
        self.assertNoResult(wait)
        self.clock.advance(0.2)
        found = self.successResultOf(wait)
        self.assertIsInstance(found[1], BodyUnavailable)
        self.assertIsInstance(found[3], BodyUnavailable)
        self.assertEqual(found[2], b"two")
        self.assertEqual(sorted(self.objects.cancelled), ["key/1", "key/3"])

    def test_a_bug_below_is_given_to_its_reader_only_and_logged(self) -> None:
        self.objects.error = ZeroDivisionError("a bug")
        self.bodies.held[2] = b"two"
        found = self.read(ref(1, b"one"), ref(2, b"two", staged=True))
        self.assertIsInstance(found[1], ZeroDivisionError)
        self.assertEqual(found[2], b"two")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TogetherTests(ReaderCase):
    """Several readers at once."""

    def setUp(self) -> None:
        super().setUp()
        self.objects.slow = True
        self.objects.held["key/1"] = b"one"

    def test_u8_whoever_asks_again_as_soon_as_it_has_the_body_gets_it_again(self) -> None:
        """Two copies of one large body in a FETCH: the second is asked for from within the answer for the first."""
        self.reader = self.make(memory_max=0)
        one = ref(1, b"large")
        self.objects.held["key/1"] = b"large"
        first = self.reader.read([one])
        again: list[Deferred[Any]] = []
        first.addCallback(lambda _: again.append(self.reader.read([one])))
        self.cache.get = lambda _: None  # type: ignore[method-assign]
        self.objects.release()
        self.objects.release()
        self.assertEqual(self.successResultOf(again[0]), {1: b"large"})

    def test_readers_of_one_body_share_one_request(self) -> None:
        waits = [self.reader.read([ref(1, b"one")]) for _ in range(3)]
        self.objects.release()
        for wait in waits:
            self.assertEqual(self.successResultOf(wait), {1: b"one"})
        self.assertEqual(self.objects.calls, ["key/1"])

    def test_a_reader_that_leaves_does_not_end_the_others_request(self) -> None:
        leaving, staying = (self.reader.read([ref(1, b"one")]) for _ in range(2))
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.assertEqual(self.objects.cancelled, [])
        self.objects.release()
        self.assertEqual(self.successResultOf(staying), {1: b"one"})

    def test_no_more_requests_than_allowed_are_in_flight(self) -> None:
        self.reader = self.make(concurrency=3)
        refs = [ref(number, b"%d" % number) for number in range(10)]
        self.objects.held = {one.object_key: b"%d" % one.id for one in refs}
        wait = self.reader.read(refs)
        rounds = []
        while self.objects.waiting:
            rounds.append(len(self.objects.waiting))
            self.objects.release()
        self.assertEqual(max(rounds), 3)
        self.assertEqual(self.successResultOf(wait), {number: b"%d" % number for number in range(10)})

    def test_closing_ends_what_is_being_read(self) -> None:
        wait = self.reader.read([ref(1, b"one")])
        self.reader.close()
        self.assertIsInstance(self.successResultOf(wait)[1], BodyUnavailable)
        self.assertEqual(self.objects.cancelled, ["key/1"])
