"""The object store's contract over a directory, plain and sealed."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial import unittest

from sora.disk.bodies import DirectoryObjectStore
from sora.s3.seal import KeyRing, SealedObjectStore
from sora.store.interfaces import ObjectStore
from tests.contract.objects import ObjectStoreContract


class DirectoryObjectsTests(ObjectStoreContract, unittest.TestCase):
    """Objects in a directory."""

    async def make_objects(self) -> ObjectStore:
        store = DirectoryObjectStore(Path(self.mktemp()), reactor=reactor)
        self.addCleanup(store.close)
        return store


class SealedDirectoryObjectsTests(DirectoryObjectsTests):
    """Sealed objects in a directory."""

    async def make_objects(self) -> ObjectStore:
        return SealedObjectStore(await super().make_objects(), KeyRing([b"k" * 32]), reactor=reactor)
