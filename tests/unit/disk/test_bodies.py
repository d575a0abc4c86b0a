"""A directory as an object store: durable in the right order, closed to strange keys and strange eyes."""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial import unittest

from sora.aio import gather
from sora.core.errors import ObjectStoreUnavailable, StorageFull
from sora.disk.bodies import DirectoryObjectStore

STRANGE = (
    "a",
    "a/b",
    "a+/b",
    "a+",
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "//x",
    "./x",
    "a/../b",
    "%",
    "%2E",
    "ü/é\u0301",
    "nul\0and\nnewline",
    "domain/example.org/ab/abcdef.0123",
)


class DirectoryTests(unittest.TestCase):
    """`DirectoryObjectStore` beyond the contract."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = DirectoryObjectStore(self.path, reactor=reactor)
        self.addCleanup(self.store.close)

    def files(self) -> list[Path]:
        return [Path(folder) / name for folder, _, names in os.walk(self.path) for name in names]

    async def test_every_key_stays_within_the_directory_and_apart_from_the_others(self) -> None:
        for key in STRANGE:
            await self.store.put(key, b"of " + key.encode())
        for key in STRANGE:
            self.assertEqual(await self.store.get(key), b"of " + key.encode())
        self.assertEqual([key for key, _, _ in await self.store.keys()], sorted(STRANGE))
        inside = self.path.resolve()
        self.assertTrue(all(file.resolve().is_relative_to(inside / "objects") for file in self.files()))
        self.assertEqual(len(self.files()), len(STRANGE))
        await self.store.delete(STRANGE)
        self.assertEqual(self.files(), [])

    async def test_paging_by_any_key_gives_the_rest(self) -> None:
        for key in STRANGE:
            await self.store.put(key, b"")
        ordered = sorted(STRANGE)
        for index, key in enumerate(ordered):
            rest = [found for found, _, _ in await self.store.keys(after=key, limit=3)]
            self.assertEqual(rest, ordered[index + 1 : index + 4])
        self.assertEqual([key for key, _, _ in await self.store.keys(prefix="a")], ["a", "a+", "a+/b", "a/../b", "a/b"])

    async def test_only_the_owner_may_look(self) -> None:
        await self.store.put("a/b", b"")
        for file in self.files():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        for folder in (self.path, self.path / "objects", self.path / "objects" / "a+"):
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)

    async def test_d1_file_and_directories_are_synced_before_a_put_is_done(self) -> None:
        done: list[str] = []
        sync, rename = os.fsync, os.rename

        def name(descriptor: int) -> str:
            return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

        def recorded_sync(descriptor: int) -> None:
            sync(descriptor)
            done.append(f"sync {'file' if len(name(descriptor)) == 32 else name(descriptor)}")

        def recorded_rename(file: str, target: str) -> Any:
            done.append("rename")
            return rename(file, target)

        self.patch(os, "fsync", recorded_sync)
        self.patch(os, "rename", recorded_rename)
        await self.store.put("a/b", b"data")
        self.assertEqual(done[-3:], ["sync file", "rename", "sync a+"])
        self.assertLess(done.index("sync objects"), done.index("sync file"))
        done.clear()
        await self.store.put("a/c", b"data")
        self.assertEqual(done, ["sync file", "rename", "sync a+"])
        done.clear()
        await gather([self.store.put(f"a/{number}", b"data") for number in range(3)])
        self.assertEqual(done, ["sync file"] * 3 + ["rename"] * 3 + ["sync a+"])

    async def test_a_full_disk_is_named_and_leaves_nothing(self) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "fsync", lambda _: None)
        await self.store.put("there/first", b"")
        self.patch(os, "fsync", full)
        with self.assertRaises(StorageFull):
            await self.store.put("there/second", b"data")
        self.assertEqual(len(self.files()), 1)

    async def test_one_that_cannot_be_stored_harms_no_other_of_its_moment(self) -> None:
        sync, failures = os.fsync, [OSError(errno.EIO, "Input/output error")]

        def failing_once(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("+"):
                sync(descriptor)
            elif failures:
                raise failures.pop()

        await self.store.put("a/0", b"")
        self.patch(os, "fsync", failing_once)
        puts = [self.store.put(f"a/{number}", b"data") for number in range(1, 4)]
        puts.append(self.store.put("x" * 300, b"a name no file can have"))
        with self.assertRaises(ObjectStoreUnavailable):
            await puts[0]
        await gather(puts[1:3])
        with self.assertRaises(ObjectStoreUnavailable):
            await puts[3]
        self.assertEqual([key for key, _, _ in await self.store.keys()], ["a/0", "a/2", "a/3"])
        self.assertEqual(len(self.files()), 3)

    async def test_a_directory_that_cannot_be_synced_fails_all_that_it_should_hold(self) -> None:
        await self.store.put("a/0", b"")
        await self.store.put("b/0", b"")
        sync = os.fsync

        def failing(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("a+"):
                raise OSError(errno.EIO, "Input/output error")
            sync(descriptor)

        self.patch(os, "fsync", failing)
        first, other, second = (self.store.put(key, b"data") for key in ("a/1", "b/1", "a/2"))
        for put in (first, second):
            with self.assertRaises(ObjectStoreUnavailable):
                await put
        await other

    async def test_who_gives_up_waiting_harms_no_other(self) -> None:
        given_up, other = self.store.put("a", b"1"), self.store.put("b", b"2")
        given_up.cancel()
        await other
        with self.assertRaises(CancelledError):
            await given_up

    async def test_another_error_of_the_file_system_is_unavailable(self) -> None:
        self.path.write_bytes(b"a file")
        with self.assertRaises(ObjectStoreUnavailable):
            await self.store.put("a", b"")

    async def test_a_directory_deleted_meanwhile_is_made_again(self) -> None:
        await self.store.put("a/b", b"1")
        shutil.rmtree(self.path / "objects")
        await self.store.put("a/b", b"2")
        self.assertEqual(await self.store.get("a/b"), b"2")

    async def test_what_a_crash_left_half_written_is_swept_away_later(self) -> None:
        arriving = self.path / "arriving"
        arriving.mkdir(parents=True)
        for name, age in (("old", 100_000), ("young", 10)):
            (arriving / name).write_bytes(b"half")
            when = time.time() - age
            os.utime(arriving / name, (when, when))
        await self.store.put("a", b"")
        self.assertEqual(os.listdir(arriving), ["young"])
        self.assertEqual([key for key, _, _ in await self.store.keys()], ["a"])

    async def test_a_key_too_long_for_a_file_name_is_refused(self) -> None:
        with self.assertRaises(ObjectStoreUnavailable):
            await self.store.put("x" * 300, b"")

    async def test_what_waits_for_a_thread_is_done_before_closing(self) -> None:
        puts = [self.store.put(f"{number}", b"x") for number in range(20)]
        await self.store.close()
        await gather(puts)
        self.assertEqual(len(self.files()), 20)
