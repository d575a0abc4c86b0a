"""S3 over real sockets: what is signed and proved, and what happens when the other side misbehaves (D8)."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial import unittest

from sora import aio
from sora.core.errors import ObjectStoreUnavailable
from sora.observe import metrics
from sora.s3.client import S3ObjectStore
from sora.s3.requests import Refused
from sora.s3.settings import S3Settings
from tests.integration.fake_s3 import ACCESS, REGION, SECRET, Chaos, Fault, Server, script

MEMBER = "domain/example.org/ab/abcdef.0123"


class S3Case(unittest.TestCase):
    """A fake S3 and a client of it; both leave the reactor clean."""

    timeout = 20

    def setUp(self) -> None:
        self.server = Server(reactor)
        self.s3 = self.server.s3
        self.addCleanup(self.server.stop)

    def store(self, **settings: Any) -> S3ObjectStore:
        values: dict[str, Any] = {
            "bucket": "mail",
            "region": REGION,
            "endpoint": self.server.endpoint,
            "path_style": True,
            "allow_http": True,
            "access_key": ACCESS,
            "secret_key": SECRET,
            "retry_base": 0.001,
            "timeout": 2.0,
            "deadline": 10.0,
        }
        store = S3ObjectStore(S3Settings(**(values | settings)), reactor)
        self.addCleanup(store.close)
        return store

    @aio.deferred
    async def refused(self, wait: Any, error: type[Exception]) -> Exception:
        try:
            await wait
        except error as raised:
            return raised
        self.fail(f"{error.__name__} was not raised")


class OperationTests(S3Case):
    """What works when nothing goes wrong."""

    @aio.deferred
    async def test_a_put_object_comes_back_whole_in_part_and_by_size(self) -> None:
        store = self.store()
        await store.put(MEMBER, b"0123456789")
        self.assertEqual(await store.get(MEMBER), b"0123456789")
        self.assertEqual(await store.get_range(MEMBER, 2, 3), b"234")
        self.assertEqual(await store.get_range(MEMBER, 8, 10), b"89")
        self.assertEqual(await store.get_range(MEMBER, 10, 1), b"")
        self.assertEqual(await store.size(MEMBER), 10)
        self.assertEqual([verb for verb, _ in self.s3.requests[:1]], ["PUT"])

    @aio.deferred
    async def test_what_is_not_there_is_none(self) -> None:
        store = self.store()
        self.assertIsNone(await store.get("a"))
        self.assertIsNone(await store.get_range("a", 0, 5))
        self.assertIsNone(await store.size("a"))

    @aio.deferred
    async def test_strange_keys_are_signed_as_they_are_sent(self) -> None:
        store = self.store(prefix="päth/ with space/")
        for key in ("a b", "a+b", "a%2Fb", "ü/é", "~x!*'()", "a//b", "q?x=1&y#z", "a:b@c=d"):
            await store.put(key, key.encode())
            self.assertEqual(await store.get(key), key.encode())
            self.assertIn("päth/ with space/" + key, self.s3.objects)
        listed = await store.keys()
        self.assertEqual(len(listed), 8)
        await store.delete(key for key, _, _ in listed)
        self.assertEqual(self.s3.objects, {})

    @aio.deferred
    async def test_the_empty_object_is_an_object(self) -> None:
        store = self.store()
        await store.put("empty", b"")
        self.assertEqual(await store.get("empty"), b"")

    @aio.deferred
    async def test_listing_goes_over_pages_and_ends_at_the_limit(self) -> None:
        store = self.store(prefix="p/")
        for number in range(25):
            self.s3.objects[f"p/k/{number:03}"] = (b"x" * number, 1_000_000.0)
        self.s3.objects["other"] = (b"", 0.0)
        everything = await store.keys()
        self.assertEqual(everything[3], ("k/003", 3, 1_000_000.0))
        self.assertEqual(len(everything), 25)
        self.assertEqual([key for key, _, _ in await store.keys(after="k/003", limit=2)], ["k/004", "k/005"])
        self.assertEqual(await store.keys(prefix="z"), [])

    @aio.deferred
    async def test_a_large_object_goes_in_parts(self) -> None:
        store = self.store(multipart_threshold=100_000, part_size=60_000)
        data = bytes(range(256)) * 1000
        await store.put("large", data)
        self.assertEqual(self.s3.objects["large"][0], data)
        self.assertEqual(sum(verb == "PUT" for verb, _ in self.s3.requests), 5)

    @aio.deferred
    async def test_connections_are_used_again(self) -> None:
        store = self.store()
        for number in range(10):
            await store.put(f"{number}", b"x")
        self.assertEqual(self.s3.connections, 1)

    @aio.deferred
    async def test_a_kept_connection_that_the_server_closed_is_no_failed_attempt(self) -> None:
        store = self.store(attempts_max=1)
        for number in range(3):
            await store.put(f"{number}", b"x" * 100_000 * number)
            self.server.hang_up()
        self.assertEqual(await store.get("2"), b"x" * 200_000)
        self.assertGreaterEqual(self.s3.connections, 3)

    @aio.deferred
    async def test_a_new_connection_that_the_server_closed_is_one(self) -> None:
        self.s3.faults = script(Fault.RESET)
        await self.refused(self.store(attempts_max=1).put("a", b"x"), ObjectStoreUnavailable)

    @aio.deferred
    async def test_kept_connections_are_closed_after_a_while(self) -> None:
        store = self.store(idle_timeout=0.05)
        await aio.gather([store.put(f"{number}", b"x") for number in range(3)])
        self.assertGreater(self.server.connected, 0)
        while self.server.connected:
            await aio.sleep(reactor, 0.01)
        await store.put("again", b"x")

    @aio.deferred
    async def test_no_more_connections_than_allowed(self) -> None:
        store = self.store(connections_max=3)
        await aio.gather([store.put(f"{number}", b"x") for number in range(30)])
        self.assertEqual(len(self.s3.objects), 30)
        self.assertLessEqual(self.s3.connections, 3)


class FaultTests(S3Case):
    """D8: retried, verified, or honestly refused."""

    @aio.deferred
    async def test_each_passing_fault_is_retried(self) -> None:
        store = self.store(timeout=0.2)
        passing = (Fault.UNAVAILABLE, Fault.INTERNAL, Fault.THROTTLED, Fault.RESET, Fault.STALL, Fault.WRONG_TAG)
        for fault in passing:
            self.s3.faults = script(fault)
            await store.put(fault.name, b"data")
            self.assertEqual(self.s3.objects[fault.name][0], b"data")
        for fault in (Fault.UNAVAILABLE, Fault.RESET, Fault.STALL, Fault.TRUNCATED):
            self.s3.faults = script(fault)
            self.assertEqual(await store.get("RESET"), b"data")

    @aio.deferred
    async def test_another_4xx_is_not_retried(self) -> None:
        self.s3.faults = script(Fault.FORBIDDEN)
        await self.refused(self.store().put("a", b"data"), Refused)
        self.assertEqual(len(self.s3.requests), 1)
        self.assertEqual(self.s3.objects, {})

    @aio.deferred
    async def test_a_wrong_secret_is_refused_and_named(self) -> None:
        error = await self.refused(self.store(secret_key="wrong").put("a", b""), Refused)
        self.assertIn("SignatureDoesNotMatch", str(error))
        self.assertNotIn("wrong", str(error))

    @aio.deferred
    async def test_a_missing_bucket_is_not_a_missing_object(self) -> None:
        await self.refused(self.store(bucket="other").get("a"), ObjectStoreUnavailable)

    @aio.deferred
    async def test_an_answer_that_proves_nothing_is_checked_by_length(self) -> None:
        self.s3.faults = script(Fault.DROPPED)
        await self.refused(self.store().put("a", b"data"), ObjectStoreUnavailable)
        self.assertEqual([verb for verb, _ in self.s3.requests], ["PUT", "HEAD"])

    @aio.deferred
    async def test_a_wrong_etag_every_time_is_never_a_success(self) -> None:
        self.s3.faults = lambda _: Fault.WRONG_TAG
        await self.refused(self.store(attempts_max=3).put("a", b"data"), ObjectStoreUnavailable)
        self.assertEqual(len(self.s3.requests), 3)

    @aio.deferred
    async def test_the_deadline_ends_a_stall(self) -> None:
        self.s3.faults = lambda _: Fault.STALL
        store = self.store(timeout=5.0, deadline=0.1)
        started = reactor.seconds()
        await self.refused(store.get("a"), ObjectStoreUnavailable)
        self.assertLess(reactor.seconds() - started, 2.0)

    @aio.deferred
    async def test_a_cancelled_request_is_not_retried(self) -> None:
        self.s3.faults = lambda _: Fault.STALL
        wait = self.store().get("a")
        while not self.s3.requests:
            await aio.sleep(reactor, 0)
        wait.cancel()
        await self.refused(wait, CancelledError)
        self.assertEqual(len(self.s3.requests), 1)

    @aio.deferred
    async def test_the_breaker_refuses_at_once_and_closes_when_the_store_is_back(self) -> None:
        store = self.store(breaker_failures=3, breaker_pause=0.2, attempts_max=1)
        self.s3.faults = lambda _: Fault.UNAVAILABLE
        for _ in range(3):
            await self.refused(store.get("a"), ObjectStoreUnavailable)
        self.assertFalse(store.available)
        for _ in range(5):
            await self.refused(store.get("a"), ObjectStoreUnavailable)
        self.assertEqual(len(self.s3.requests), 3)
        self.s3.faults = script()
        await aio.sleep(reactor, 0.25)
        self.assertIsNone(await store.get("a"))
        self.assertTrue(store.available)

    @aio.deferred
    async def test_a_server_that_is_not_there_is_unavailable(self) -> None:
        await self.server.stop()
        await self.refused(self.store(attempts_max=2).put("a", b""), ObjectStoreUnavailable)

    @aio.deferred
    async def test_a_failed_multipart_upload_is_aborted(self) -> None:
        store = self.store(multipart_threshold=10, part_size=10)
        self.s3.faults = lambda request: Fault.FORBIDDEN if request.method == b"PUT" else Fault.NONE
        aborted = metrics.S3_REQUESTS.labels("abort", "good")
        before = aborted._value.get()
        await self.refused(store.put("large", b"x" * 100), Refused)
        # Nobody waits for the answer but us.
        while aborted._value.get() == before:
            await aio.sleep(reactor, 0.01)
        self.assertEqual((self.s3.uploads, self.s3.objects), ({}, {}))

    @aio.deferred
    async def test_what_is_cancelled_while_it_connects_is_not_tried_again(self) -> None:
        store = self.store()
        wait = store.put("cancelled", b"x")
        wait.cancel()
        await self.refused(wait, CancelledError)
        await aio.sleep(reactor, 0.1)
        self.assertEqual(self.s3.requests, [])

    @aio.deferred
    async def test_under_seeded_chaos_what_succeeded_is_stored_whole(self) -> None:
        among = (Fault.UNAVAILABLE, Fault.INTERNAL, Fault.THROTTLED, Fault.RESET, Fault.WRONG_TAG, Fault.DROPPED)
        for seed in (1, 2, 3):
            self.s3.faults = Chaos(seed, 0.4, among)
            store = self.store(breaker_failures=1000)
            kept = {f"{seed}/{number}": b"%d" % number * 50 for number in range(40)}
            stored = 0
            for key, data in kept.items():
                try:
                    await store.put(key, data)
                except ObjectStoreUnavailable:
                    continue
                stored += 1
                self.assertEqual(self.s3.objects[key][0], data)
            self.assertGreater(stored, 20)
