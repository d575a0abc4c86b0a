"""The contract of `store.interfaces.ObjectStore`: S3, a directory, memory."""

from sora.aio import gather
from sora.store.interfaces import ObjectStore

KEY = "domain/example.org/ab/abcdef.0123456789abcdef"


class ObjectStoreContract:
    """Immutable objects by key, in `self.objects`."""

    objects: ObjectStore

    async def make_objects(self) -> ObjectStore:
        """Return an empty object store; the concrete test cleans it up."""
        raise AssertionError("the concrete test makes the object store")

    async def setUp(self) -> None:
        self.objects = await self.make_objects()

    async def test_what_was_put_is_read_back(self) -> None:
        data = bytes(range(256)) * 40
        await self.objects.put(KEY, data)
        self.assertEqual(await self.objects.get(KEY), data)

    async def test_an_object_that_is_not_there_is_none_everywhere(self) -> None:
        self.assertIsNone(await self.objects.get(KEY))
        self.assertIsNone(await self.objects.get_range(KEY, 0, 10))
        self.assertIsNone(await self.objects.size(KEY))

    async def test_an_empty_object_is_an_object(self) -> None:
        await self.objects.put(KEY, b"")
        self.assertEqual(await self.objects.get(KEY), b"")
        self.assertIsNotNone(await self.objects.size(KEY))

    async def test_a_part_is_read_and_ends_with_the_object(self) -> None:
        await self.objects.put(KEY, b"0123456789")
        self.assertEqual(await self.objects.get_range(KEY, 0, 4), b"0123")
        self.assertEqual(await self.objects.get_range(KEY, 3, 4), b"3456")
        self.assertEqual(await self.objects.get_range(KEY, 8, 50), b"89")
        self.assertEqual(await self.objects.get_range(KEY, 10, 5), b"")

    async def test_the_size_is_at_least_that_of_the_bytes(self) -> None:
        await self.objects.put(KEY, b"x" * 1000)
        self.assertGreaterEqual(await self.objects.size(KEY), 1000)

    async def test_putting_the_same_object_again_is_harmless(self) -> None:
        for _ in range(2):
            await self.objects.put(KEY, b"the same")
        self.assertEqual(await self.objects.get(KEY), b"the same")

    async def test_deleted_objects_are_gone_and_absent_ones_no_error(self) -> None:
        keys = [f"global/{number:04}" for number in range(5)]
        await gather([self.objects.put(key, b"x") for key in keys])
        await self.objects.delete([*keys[:3], "global/none"])
        self.assertIsNone(await self.objects.get(keys[0]))
        self.assertEqual([key for key, _, _ in await self.objects.keys()], keys[3:])
        await self.objects.delete([])

    async def test_keys_are_listed_ascending_in_pages_by_prefix(self) -> None:
        keys = ["account/7/a.1", "domain/b.org/a.1", "domain/b.org/b.2", "domain/b.org/c.3", "global/z.9"]
        await gather([self.objects.put(key, b"12345") for key in reversed(keys)])
        listed = await self.objects.keys()
        self.assertEqual([key for key, _, _ in listed], keys)
        self.assertTrue(all(size >= 5 for _, size, _ in listed))
        page = await self.objects.keys(prefix="domain/", limit=2)
        self.assertEqual([key for key, _, _ in page], keys[1:3])
        rest = await self.objects.keys(prefix="domain/", after=page[-1][0], limit=2)
        self.assertEqual([key for key, _, _ in rest], keys[3:4])
        self.assertEqual(await self.objects.keys(prefix="nothing/"), [])

    async def test_many_objects_are_put_and_read_at_once(self) -> None:
        made = {f"global/{number:02}": b"%d" % number * 100 for number in range(20)}
        await gather([self.objects.put(key, data) for key, data in made.items()])
        read = await gather([self.objects.get(key) for key in made])
        self.assertEqual(read, list(made.values()))
