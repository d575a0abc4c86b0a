"""Sealed objects: what went in comes out, and nothing that was touched does."""

from twisted.internet import reactor
from twisted.trial import unittest

from sora.core.errors import Corrupt, ObjectStoreUnavailable
from sora.s3.seal import CHUNK, INLINE_MAX, KeyRing, SealedObjectStore, seal, stored_size, unseal
from sora.store.memory import MemoryObjects

OLD, NEW = b"o" * 32, b"n" * 32
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17)


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class SealTests(unittest.SynchronousTestCase):
    """`seal` and `unseal` as functions."""

    ring = KeyRing([NEW, OLD])

    def test_what_was_sealed_is_opened_at_every_chunk_boundary(self) -> None:
        for size in SIZES:
            data = pattern(size)
            sealed = seal(self.ring, "key", data)
            self.assertEqual(len(sealed), stored_size(size))
            self.assertEqual(unseal(self.ring, "key", sealed), data)
            self.assertTrue(size < 64 or data[:64] not in sealed)

    def test_a_ring_with_an_older_key_opens_what_that_key_sealed(self) -> None:
        sealed = seal(KeyRing([OLD]), "key", b"data")
        self.assertEqual(unseal(self.ring, "key", sealed), b"data")

    def test_the_first_key_of_the_ring_seals(self) -> None:
        sealed = seal(self.ring, "key", b"data")
        self.assertEqual(unseal(KeyRing([NEW]), "key", sealed), b"data")
        self.assertRaises(ObjectStoreUnavailable, unseal, KeyRing([OLD]), "key", sealed)

    def test_any_changed_octet_is_noticed(self) -> None:
        sealed = seal(self.ring, "key", pattern(100))
        for position in range(len(sealed)):
            changed = bytearray(sealed)
            changed[position] ^= 1
            try:
                opened = unseal(self.ring, "key", bytes(changed))
            except (Corrupt, ObjectStoreUnavailable):
                continue
            self.assertIsNone(opened, "a changed object was opened")
            self.assertLess(position, 8, "only a changed magic makes it look unsealed")

    def test_a_cut_or_lengthened_object_is_noticed(self) -> None:
        sealed = seal(self.ring, "key", pattern(2 * CHUNK + 5))
        for other in (sealed[:-1], sealed + b"x", sealed[: -5 - 16], sealed[:20], sealed[: -5 - 16 - CHUNK - 16]):
            self.assertRaises(Corrupt, unseal, self.ring, "key", other)

    def test_exchanged_chunks_are_noticed(self) -> None:
        sealed = seal(self.ring, "key", pattern(2 * CHUNK))
        header, one, two = sealed[:56], sealed[56 : 56 + CHUNK + 16], sealed[56 + CHUNK + 16 :]
        self.assertRaises(Corrupt, unseal, self.ring, "key", header + two + one)

    def test_an_object_under_another_name_is_noticed(self) -> None:
        self.assertRaises(Corrupt, unseal, self.ring, "other", seal(self.ring, "key", b"data"))

    def test_the_same_bytes_are_never_sealed_alike(self) -> None:
        self.assertNotEqual(seal(self.ring, "key", b"data"), seal(self.ring, "key", b"data"))

    def test_a_key_of_another_length_is_refused(self) -> None:
        self.assertRaises(ValueError, KeyRing, [b"short"])
        self.assertRaises(ValueError, KeyRing, [])


class SealedObjectStoreTests(unittest.TestCase):
    """The store around a store."""

    def setUp(self) -> None:
        self.inner = MemoryObjects(reactor)
        self.store = SealedObjectStore(self.inner, KeyRing([NEW]), reactor=reactor)

    async def test_any_range_is_that_of_the_clear_bytes(self) -> None:
        data = pattern(3 * CHUNK + 17)
        await self.store.put("key", data)
        edges = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, len(data) - 1, len(data), len(data) + 5)
        for start in edges:
            for length in (0, 1, CHUNK, CHUNK + 1, len(data)):
                self.assertEqual(await self.store.get_range("key", start, length), data[start : start + length])

    async def test_a_large_object_is_worked_on_in_a_thread(self) -> None:
        data = pattern(INLINE_MAX * 2)
        put = self.store.put("key", data)
        self.assertFalse(put.called)
        await put
        self.assertEqual(await self.store.get("key"), data)

    async def test_objects_in_clear_are_read_only_where_allowed(self) -> None:
        await self.inner.put("key", b"From: clear")
        with self.assertRaises(Corrupt):
            await self.store.get("key")
        with self.assertRaises(Corrupt):
            await self.store.get_range("key", 0, 4)
        lenient = SealedObjectStore(self.inner, KeyRing([NEW]), reactor=reactor, clear_allowed=True)
        self.assertEqual(await lenient.get("key"), b"From: clear")
        self.assertEqual(await lenient.get_range("key", 6, 5), b"clear")

    async def test_keys_that_no_longer_seal_still_open(self) -> None:
        await self.store.put("sealed", b"From: sealed")
        opener = SealedObjectStore(self.inner, KeyRing([NEW]), reactor=reactor, clear_allowed=True, seals=False)
        await opener.put("clear", b"From: clear")
        self.assertEqual(await self.inner.get("clear"), b"From: clear")
        self.assertEqual(await opener.get("sealed"), b"From: sealed")
