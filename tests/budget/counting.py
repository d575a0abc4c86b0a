"""A server over PostgreSQL whose round trips are counted: the only place that knows when one has no more to come."""

import itertools
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from sora.core.ids import MailboxId
from sora.postgres.store import PostgresStore
from sora.store.model import Named, NewMessage
from tests.dialogs.connections import TcpClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import TcpWorld
from tests.integration.database import DatabaseTests

USER = "anna@example.org"
PASSWORD = "tide"
MESSAGES = 1_020
"""More than one page of a listing."""
_MARK = MailboxId(2**40)
"""A mailbox that does not exist: its announcement is heard after all those before it."""
_marks = itertools.count(1)


def scene() -> Dialog:
    """Describe one account with two mailboxes."""
    account = Account(USER, PASSWORD, [], mailboxes=[("Archive", None, False)])
    return Dialog("budget", [account], {}, (), [])


class CountedTests(DatabaseTests):
    """Clients of the real front ends, and how often the database was asked for them."""

    async def _set_up(self) -> None:
        await super()._set_up()
        self.world = await self.serve(self.store)
        await self.world.set_up()
        await self.fill(range(MESSAGES))
        self.world.listen(self.world.imap())

    async def serve(self, store: PostgresStore) -> TcpWorld:
        """Make a world over a store, as another process would; it must be made to listen."""
        from twisted.internet import reactor

        world = TcpWorld(store, scene(), reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(world.tear_down()))
        return world

    async def fill(self, numbers: Sequence[int], *, claim: bool = True) -> None:
        """Put mails into INBOX, all at once, and `claim` their \\Recent."""
        account = self.world.ids[USER]
        prepare = self.world.appender.prepare
        bodies = [await prepare(simple(number), account=account, domain="example.org") for number in numbers]
        await self.store.messages.insert([NewMessage(Named(account, "INBOX"), body, b"") for body in bodies])
        if claim:
            await self.store.mailboxes.open(account, "INBOX", claim_recent=True)

    async def connected(self, world: TcpWorld | None = None) -> "Client":
        """Connect; the client hangs up when the test is over."""
        connection = await (world or self.world).connect()
        self.addCleanup(lambda: Deferred.fromCoroutine(connection.hang_up()))
        client = Client(connection, self)
        await client.until(b"* OK")
        return client

    async def signed_in(self, *more: str, world: TcpWorld | None = None) -> "Client":
        """Connect, sign in, and send more commands."""
        client = await self.connected(world)
        for command in (f"LOGIN {USER} {PASSWORD}", *more):
            await client.ask(command)
        return client

    async def settled(self, store: PostgresStore | None = None) -> int:
        """Wait until all that was announced is heard and nothing runs; return the round trips until then."""
        from twisted.internet import reactor

        chosen = store or self.store
        mark = next(_marks)
        heard: Deferred[None] = Deferred()
        forget = chosen.feed.subscribe(_MARK, lambda event: event.modseq == mark and heard.callback(None))
        self.sql(f"NOTIFY sora, '{_MARK}:{mark}'")
        await heard
        forget()
        while chosen.pool.in_use or chosen.pool.waiting:
            await deferLater(reactor, 0)
        return chosen.pool.counters.round_trips


class Client:
    """A client that tells what each command cost."""

    def __init__(self, connection: TcpClient, test: CountedTests) -> None:
        self.connection = connection
        self._test = test
        self._tags = itertools.count(1)

    async def ask(self, command: str, *, ending: bytes = b"OK") -> list[bytes]:
        """Send a command, an APPEND with its mail behind it, and return all lines up to its tagged ending."""
        tag = f"t{next(self._tags)}"
        await self.connection.send(f"{tag} {command}\r\n".encode())
        return await self.until(tag.encode() + b" " + ending)

    async def until(self, start: bytes) -> list[bytes]:
        """Return all lines up to one that begins with `start`."""
        lines: list[bytes] = []
        while not lines or not lines[-1].startswith(start):
            line = await self.connection.line()
            if line is None or (line.split(b" ", 2)[1:2] in ([b"NO"], [b"BAD"]) and not line.startswith(start)):
                raise AssertionError(f"{start!r} did not come: {lines[-3:]!r} {line!r}")
            lines.append(line)
        return lines

    async def cost(self, command: str, *, ending: bytes = b"OK") -> int:
        """Return how many round trips a command takes, with all that it sets off."""
        before = await self._test.settled()
        await self.ask(command, ending=ending)
        return await self._test.settled() - before
