"""The collector: objects go first, then the list of them."""

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import ObjectStoreUnavailable
from sora.jobs.collect import Collector


class FakeStores:
    """Bodies and objects in one; what happens is kept in `log`."""

    def __init__(self) -> None:
        self.keys = [f"key/{number}" for number in range(5)]
        self.log: list[tuple[str, object]] = []
        self.away = False

    def collect(self, *, grace: float, generation: float, limit: int) -> "Deferred[list[str]]":
        self.log.append(("collect", (grace, generation, limit)))
        return succeed(self.keys[:limit])

    def delete(self, keys: Iterable[str]) -> "Deferred[None]":
        if self.away:
            return fail(ObjectStoreUnavailable("away"))
        self.log.append(("delete", list(keys)))
        return succeed(None)

    def discarded(self, keys: Sequence[str]) -> "Deferred[None]":
        self.log.append(("discarded", list(keys)))
        self.keys = [key for key in self.keys if key not in keys]
        return succeed(None)


class CollectorTests(unittest.SynchronousTestCase):
    """A collector of two keys a step."""

    def setUp(self) -> None:
        self.clock, self.stores = Clock(), FakeStores()
        self.collector = Collector(
            self.stores, self.stores, clock=self.clock, grace=7.0, generation=3.0, interval=60.0, limit=2
        )

    def tearDown(self) -> None:
        self.successResultOf(self.collector.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_objects_are_deleted_before_they_are_forgotten_step_by_step(self) -> None:
        self.collector.startService()
        self.clock.pump([0] * 5)
        self.assertEqual(self.stores.log[0], ("collect", (7.0, 3.0, 2)))
        self.assertEqual(self.stores.log[1:3], [("delete", ["key/0", "key/1"]), ("discarded", ["key/0", "key/1"])])
        self.assertEqual(self.stores.keys, [])
        self.assertEqual([word for word, _ in self.stores.log].count("collect"), 4)

    def test_while_the_object_store_is_away_nothing_is_forgotten(self) -> None:
        self.stores.away = True
        self.collector.startService()
        self.clock.advance(100)
        self.assertEqual(len(self.stores.keys), 5)
        self.assertNotIn("discarded", dict(self.stores.log))
        self.stores.away = False
        self.clock.pump([300] + [0] * 5)
        self.assertEqual(self.stores.keys, [])
