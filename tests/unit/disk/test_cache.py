"""The disk cache: bounded, checked on each read, expendable at any time."""

import shutil
from pathlib import Path

from blake3 import blake3
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora import aio
from sora.disk.cache import INLINE_MAX, SegmentCache


def named(data: bytes) -> bytes:
    return blake3(data).digest()


class SegmentCacheTests(unittest.TestCase):
    """`SegmentCache` over a real directory."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    @aio.deferred
    async def opened(self, **sizes: int) -> SegmentCache:
        cache = SegmentCache(self.path, reactor=reactor, **sizes)
        await cache.open()
        self.addCleanup(cache.close)
        return cache

    @aio.deferred
    async def found(self, cache: SegmentCache, data: bytes) -> bytes | None:
        got = cache.get(named(data))
        return await got if isinstance(got, Deferred) else got

    def segments(self) -> list[Path]:
        return sorted(self.path.glob("*.bodies"))

    @aio.deferred
    async def written(self, *bodies: bytes) -> None:
        cache = SegmentCache(self.path, reactor=reactor)
        await cache.open()
        for body in bodies:
            cache.put(named(body), body)
        await cache.close()

    @aio.deferred
    async def test_what_was_put_is_readable_before_it_is_written(self) -> None:
        cache = await self.opened()
        cache.put(named(b"one"), b"one")
        self.assertEqual(cache.get(named(b"one")), b"one")
        self.assertIsNone(cache.get(named(b"two")))

    @aio.deferred
    async def test_a_restart_finds_small_and_large_bodies_again(self) -> None:
        large = bytes(range(256)) * 1024
        await self.written(b"", b"small", large)
        cache = await self.opened()
        self.assertEqual(cache.get(named(b"small")), b"small")
        self.assertEqual(cache.get(named(b"")), b"")
        self.assertGreater(len(large), INLINE_MAX)
        self.assertIsInstance(cache.get(named(large)), Deferred)
        self.assertEqual(await self.found(cache, large), large)

    @aio.deferred
    async def test_of_two_hashes_that_begin_alike_only_the_one_that_is_there_is_found(self) -> None:
        body = b"one" * 50
        await self.written(body)
        cache = await self.opened()
        alike = named(body)[:7] + bytes(25)
        self.assertIsNone(cache.get(alike))
        self.assertEqual(cache.get(named(body)), body)

    @aio.deferred
    async def test_a_torn_tail_loses_only_the_torn_body(self) -> None:
        await self.written(b"first" * 100, b"second" * 100)
        file = self.segments()[0]
        for cut in (1, 600, 620, 644):
            with file.open("r+b") as segment:
                segment.truncate(44 + 500 + 44 + 600 - cut)
            cache = SegmentCache(self.path, reactor=reactor)
            await cache.open()
            self.assertEqual(cache.get(named(b"first" * 100)), b"first" * 100)
            self.assertIsNone(cache.get(named(b"second" * 100)))
            await cache.close()

    @aio.deferred
    async def test_a_flipped_bit_is_never_served_and_the_record_is_forgotten(self) -> None:
        body, large = b"body" * 50, b"large" * 50_000
        await self.written(body, large)
        file = self.segments()[0]
        data = bytearray(file.read_bytes())
        data[60] ^= 1
        data[-1] ^= 0x80
        file.write_bytes(data)
        cache = await self.opened()
        self.assertEqual(cache.bodies, 2)
        self.assertIsNone(await self.found(cache, body))
        self.assertIsNone(await self.found(cache, large))
        self.assertEqual(cache.bodies, 0)
        cache.put(named(body), body)
        self.assertEqual(await self.found(cache, body), body)

    @aio.deferred
    async def test_any_flipped_bit_in_a_segment_gives_the_body_or_nothing(self) -> None:
        bodies = [b"a" * 40, b"bb" * 20, b"ccc" * 15]
        await self.written(*bodies)
        file = self.segments()[0]
        clean = file.read_bytes()
        for position in range(0, len(clean), 5):
            data = bytearray(clean)
            data[position] ^= 1 << position % 8
            self.path.mkdir(exist_ok=True)
            file.write_bytes(data)
            cache = SegmentCache(self.path, reactor=reactor)
            await cache.open()
            for body in bodies:
                self.assertIn(await self.found(cache, body), (body, None))
            await cache.close()

    @aio.deferred
    async def test_the_directory_may_be_deleted_under_a_running_cache(self) -> None:
        await self.written(b"before")
        cache = await self.opened()
        cache.put(named(b"early"), b"early")
        await self.flushed(cache)
        shutil.rmtree(self.path)
        self.assertIn(cache.get(named(b"before")), (b"before", None))
        cache.put(named(b"after"), b"after")
        await self.flushed(cache)
        self.assertEqual(cache.get(named(b"after")), b"after")
        self.assertIsNone(cache.get(named(b"early")), "the deleted segment's space was not given back")
        self.assertEqual(len(self.segments()), 1)

    @aio.deferred
    async def flushed(self, cache: SegmentCache) -> None:
        cache._flush()
        if cache._writing is not None:
            await cache._writing.wait()

    @aio.deferred
    async def test_the_bound_is_kept_and_the_oldest_go_first(self) -> None:
        cache = await self.opened(size_max=20_000)
        for number in range(60):
            body = b"%04d" % number * 250
            cache.put(named(body), body)
            await self.flushed(cache)
            self.assertLessEqual(cache.size, 20_000)
        await cache.close()
        self.assertLessEqual(sum(file.stat().st_size for file in self.segments()), 20_000)
        again = await self.opened(size_max=20_000)
        self.assertEqual(await self.found(again, b"0059" * 250), b"0059" * 250)
        self.assertIsNone(await self.found(again, b"0000" * 250))
        self.assertGreater(again.bodies, 10)

    @aio.deferred
    async def test_a_body_too_large_for_the_cache_is_not_taken(self) -> None:
        cache = await self.opened(size_max=20_000)
        cache.put(named(b"x" * 6000), b"x" * 6000)
        self.assertIsNone(cache.get(named(b"x" * 6000)))

    @aio.deferred
    async def test_a_smaller_bound_after_a_restart_evicts_at_once(self) -> None:
        await self.written(b"x" * 6000)
        cache = await self.opened(size_max=5000)
        self.assertEqual(cache.size, 0)

    @aio.deferred
    async def test_a_directory_that_cannot_be_used_leaves_an_empty_cache(self) -> None:
        self.path.write_bytes(b"a file")
        cache = await self.opened()
        cache.put(named(b"one"), b"one")
        await self.flushed(cache)
        self.assertIsNone(cache.get(named(b"one")))

    @aio.deferred
    async def test_two_caches_may_share_a_directory(self) -> None:
        one, two = await self.opened(), await self.opened()
        for cache, body in ((one, b"of one"), (two, b"of two")):
            cache.put(named(body), body)
            await self.flushed(cache)
        third = await self.opened()
        self.assertEqual(third.get(named(b"of one")), b"of one")
        self.assertEqual(third.get(named(b"of two")), b"of two")
