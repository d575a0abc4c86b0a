"""The object store's contract over S3: a server that checks signatures, moto's, and sealed."""

import secrets

from twisted.internet import reactor
from twisted.trial import unittest

from sora.s3.client import S3ObjectStore
from sora.s3.seal import KeyRing, SealedObjectStore
from sora.s3.settings import S3Settings
from sora.store.interfaces import ObjectStore
from tests.contract.objects import ObjectStoreContract
from tests.integration import fake_s3, s3_server


class CheckedS3ObjectsTests(ObjectStoreContract, unittest.TestCase):
    """Objects in an S3 that verifies each signature and checksum."""

    async def make_objects(self) -> ObjectStore:
        server = fake_s3.Server(reactor)
        settings = S3Settings(
            endpoint=server.endpoint,
            bucket="mail",
            region=fake_s3.REGION,
            prefix="sora/",
            path_style=True,
            allow_http=True,
            access_key=fake_s3.ACCESS,
            secret_key=fake_s3.SECRET,
        )
        store = S3ObjectStore(settings, reactor)
        self.addCleanup(server.stop)
        self.addCleanup(store.close)
        return store


class SealedS3ObjectsTests(CheckedS3ObjectsTests):
    """Sealed objects in the same."""

    async def make_objects(self) -> ObjectStore:
        return SealedObjectStore(await super().make_objects(), KeyRing([b"k" * 32]), reactor=reactor)


class MotoS3ObjectsTests(ObjectStoreContract, unittest.TestCase):
    """Objects in moto's S3."""

    async def make_objects(self) -> ObjectStore:
        settings = s3_server.server().settings(f"mail-{secrets.token_hex(4)}")
        await s3_server.make_bucket(settings)
        store = S3ObjectStore(settings, reactor)
        self.addCleanup(store.close)
        return store
