"""V13 over PostgreSQL and TCP: bytes out are bytes in, for odd mail appended and delivered."""

from twisted.internet import reactor

from tests.dialogs.world import TcpWorld
from tests.integration.database import DatabaseTests
from tests.property import bytes_kept
from tests.property.odd_mail import corpus

COUNT = 24


class BytesInPostgresTests(DatabaseTests):
    """The same check as over memory, of fewer messages."""

    async def test_v13_what_came_in_by_both_ways_is_fetched_octet_by_octet(self) -> None:
        world = TcpWorld(self.store, bytes_kept.SCENE, reactor)
        await world.set_up()
        self.addCleanup(world.wheel.stop)
        mails = corpus(COUNT)
        lmtp = reactor.listenTCP(0, world.lmtp(), interface="127.0.0.1")
        self.addCleanup(lmtp.stopListening)
        world.port = lmtp
        peer = await bytes_kept.greeted(world)
        for raw in mails:
            await bytes_kept.deliver(peer, raw)
        await peer.hang_up()
        world.listen(world.imap())
        self.addCleanup(world.port.stopListening)
        client = await bytes_kept.signed_in(world)
        try:
            for uid, raw in enumerate(mails, 1):
                await bytes_kept.check(self, client, uid, raw, delivered=True)
            # An empty message would cancel the command (RFC 3502 6.3.11).
            for uid, raw in enumerate(filter(None, mails), COUNT + 1):
                await bytes_kept.append(client, raw)
                await bytes_kept.check(self, client, uid, raw)
        finally:
            await client.hang_up()
            await world.authenticator.stop()
