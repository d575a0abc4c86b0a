"""S3 in moto's shapes: what only a whole S3 has."""

import secrets

from twisted.internet import reactor
from twisted.trial import unittest

from sora.s3.client import S3ObjectStore
from tests.integration import s3_server


class MotoTests(unittest.TestCase):
    """Multipart, many keys, encryption headers, virtual-host style."""

    async def store(self, **changes: object) -> S3ObjectStore:
        settings = s3_server.server().settings(f"mail-{secrets.token_hex(4)}", **changes)
        await s3_server.make_bucket(settings)
        store = S3ObjectStore(settings, reactor)
        self.addCleanup(store.close)
        return store

    async def test_a_multipart_upload_is_put_together_in_order(self) -> None:
        store = await self.store(multipart_threshold=5_242_880, part_size=5_242_880)
        data = secrets.token_bytes(1000) * 12_000
        await store.put("large", data)
        self.assertEqual(await store.get("large"), data)
        self.assertEqual(await store.get_range("large", 5_242_870, 20), data[5_242_870:5_242_890])

    async def test_deletion_of_more_keys_than_one_request_takes(self) -> None:
        store = await self.store()
        await store.put("one", b"1")
        await store.delete(["one", *(f"absent/{number}" for number in range(1500))])
        self.assertEqual(await store.keys(), [])

    async def test_server_side_encryption_is_asked_for(self) -> None:
        store = await self.store(sse="aws:kms", kms_key_id="a-key")
        await store.put("sealed by the server", b"data")
        self.assertEqual(await store.get("sealed by the server"), b"data")
