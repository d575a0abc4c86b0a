"""V13: bytes out are bytes in, for odd mail, by every way in and every way out."""

import base64

from twisted.trial import unittest

from tests.dialogs.world import MemoryWorld
from tests.property import bytes_kept
from tests.property.odd_mail import corpus

APPENDED = 220
DELIVERED = 120


class BytesTests(unittest.TestCase):
    """Over the store in memory; `tests.integration.test_case_bytes` does the same over PostgreSQL."""

    async def world(self) -> MemoryWorld:
        """Return a server with one account."""
        world = MemoryWorld(bytes_kept.SCENE)
        await world.set_up()
        return world

    async def test_v13_what_is_appended_is_fetched_octet_by_octet(self) -> None:
        world = await self.world()
        world.factory = world.imap()
        client = await bytes_kept.signed_in(world)
        # An empty message would cancel the command (RFC 3502 6.3.11).
        mails = [raw for raw in corpus(APPENDED) if raw]
        for uid, raw in enumerate(mails, 1):
            await bytes_kept.append(client, raw)
            await bytes_kept.check(self, client, uid, raw)

    async def test_v13_what_is_delivered_is_fetched_behind_its_trace_header(self) -> None:
        world = await self.world()
        world.factory = world.lmtp()
        peer = await bytes_kept.greeted(world)
        mails = corpus(DELIVERED)
        for raw in mails:
            await bytes_kept.deliver(peer, raw)
        world.factory = world.imap()
        client = await bytes_kept.signed_in(world)
        for uid, raw in enumerate(mails, 1):
            await bytes_kept.check(self, client, uid, raw, delivered=True)

    async def test_v13_what_comes_by_data_loses_its_stuffing_and_nothing_else(self) -> None:
        lines = [raw.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n" for raw in corpus(DELIVERED)]
        mails = list(dict.fromkeys([*lines, b".\r\n..\r\n.a\r\n", b"\r\n.\r\n\r\n.x\r\n"]))
        world = await self.world()
        world.factory = world.lmtp()
        peer = await bytes_kept.greeted(world)
        for raw in mails:
            await bytes_kept.deliver(peer, raw, as_data=True)
        world.factory = world.imap()
        client = await bytes_kept.signed_in(world)
        for uid, raw in enumerate(mails, 1):
            await bytes_kept.check(self, client, uid, raw, delivered=True)

    async def test_v13_binary_undoes_the_encoding_that_the_sender_applied(self) -> None:
        world = await self.world()
        world.factory = world.imap()
        client = await bytes_kept.signed_in(world)
        for uid, data in enumerate((b"", b"\0\xff\r\n", bytes(range(256)) * 9, b"=\r\n."), 1):
            lines = base64.encodebytes(data).replace(b"\n", b"\r\n")
            raw = b"Content-Type: image/x\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + lines
            await bytes_kept.append(client, raw)
            got = await client.fetch(uid, b"BINARY[1] BINARY.SIZE[1] BODY[1]")
            self.assertEqual(got, {b"BINARY[1]": data, b"BINARY.SIZE[1]": len(data), b"BODY[1]": lines})
