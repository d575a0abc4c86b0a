"""How much is called for one operation: calls of Python and C functions, counted by the interpreter, without a clock.

The table below says what was counted; more than `TOLERANCE` above it fails. Who makes an operation dearer on
purpose, or cheaper, writes the new number there.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.trial import unittest

from sora.store.model import Named, NewMessage, Want
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import MemoryWorld

ADDRESS: Final = "anna@example.org"
TOLERANCE: Final = 1.15
LOOSE: Final = 0.05
"""So that nothing counted may stay nothing."""
MESSAGES: Final = 1_000

CALLS: Final = {
    # Six of them count it for the metrics and ask whether others should have their turn.
    "a pipelined NOOP": 42.0,
    "a row of UID and FLAGS": 0.0,
    "a row of UID, FLAGS and MODSEQ": 0.0,
    "a row of a listing with ENVELOPE": 0.0,
    "a message found by its flags": 0.0,
    # With what the memory store does; so has the delivery.
    "a message whose flags are changed": 45.8,
    "a delivery": 835.0,
    "a phone's return": 2_166.0,
}


def counted(work: Callable[[], object]) -> int:
    """Return how many functions are called by `work`."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


class CallTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.world = MemoryWorld(Dialog("calls", [Account(ADDRESS, "tide", [])], {}, (), []))
        self.wait(self.world.set_up())
        self.account = self.world.ids[ADDRESS]

    def wait(self, work: Any) -> Any:
        """Return the result of what ends at once."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def client(self, factory: Any, *begin: bytes) -> MemoryClient:
        """Connect and send what comes first."""
        client = MemoryClient(factory, self.world.clock)
        for line in begin:
            self.wait(client.send(line + b"\r\n"))
        return client

    def selected(self) -> MemoryClient:
        """Connect a client that has a mailbox of many messages selected; its rows are ready to be read."""

        async def fill() -> None:
            prepare = self.world.appender.prepare
            bodies = [await prepare(simple(n), account=self.account, domain="example.org") for n in range(MESSAGES)]
            messages = self.world.store.messages
            await messages.insert([NewMessage(Named(self.account, "INBOX"), body, b"") for body in bodies])
            row = await self.world.store.mailboxes.find(self.account, "INBOX")
            uids = range(1, MESSAGES + 1)
            wanted = Want.INTERNAL_DATE | Want.SIZE | Want.ENVELOPE | Want.STRUCTURE
            listed = {count: await messages.listing(row.id, uids[:count], wanted) for count in (200, MESSAGES)}
            messages.listing = lambda mailbox, uids, want: succeed(listed[len(uids)])

        self.wait(fill())
        return self.client(self.world.imap(), b"a LOGIN anna@example.org tide", b"b SELECT INBOX")

    def each(self, send: Callable[[int], object], few: int, many: int) -> float:
        """Return what one more operation calls, whatever is called once for all of them."""
        send(few)
        less = counted(lambda: send(few))
        return (counted(lambda: send(many)) - less) / (many - few)

    def hold(self, name: str, calls: float) -> None:
        """Hold what was counted against the table."""
        self.assertLess(calls, CALLS[name] * TOLERANCE + LOOSE, f"{name}: counted {calls:.1f}")

    def test_a_noop(self) -> None:
        client = self.client(self.world.imap(), b"a LOGIN anna@example.org tide")
        self.hold("a pipelined NOOP", self.each(lambda n: self.wait(client.send(b"n NOOP\r\n" * n)), 10, 50))
        self.assertTrue(client.rest().endswith(b"n OK completed\r\n"))

    def test_returns(self) -> None:
        # An empty mailbox: the memory store counts its messages one by one.
        factory = self.world.imap()
        select = b"c SELECT INBOX (QRESYNC (1 1 1:1000))"

        def come(times: int) -> None:
            for _ in range(times):
                client = self.client(factory, b"a LOGIN anna@example.org tide", b"b ENABLE QRESYNC", select, b"d IDLE")
                self.assertTrue(client.rest().endswith(b"+ idling\r\n"))
                self.wait(client.hang_up())

        self.hold("a phone's return", self.each(come, 2, 6))

    def command(self, name: str, command: bytes, answer: bytes) -> None:
        """Count what a command calls for each message."""
        client = self.selected()

        def send(count: int) -> None:
            self.wait(client.send(b"c " + command.replace(b"$n", b"%d" % count) + b"\r\n"))

        self.hold(name, self.each(send, 200, MESSAGES))
        lines = client.rest().splitlines()
        self.assertTrue(lines[-1].startswith(b"c OK"), lines[-1])
        self.assertRegex(lines[-2], answer)

    def test_flags(self) -> None:
        self.command("a row of UID and FLAGS", b"FETCH 1:$n (UID FLAGS)", rb"FETCH \(UID 1000 FLAGS")

    def test_modseqs(self) -> None:
        self.command("a row of UID, FLAGS and MODSEQ", b"FETCH 1:$n (UID FLAGS MODSEQ)", rb"FETCH \(UID 1000 .*MODSEQ")

    def test_listings(self) -> None:
        self.command(
            "a row of a listing with ENVELOPE",
            b"FETCH 1:$n (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
            rb"FETCH \(UID 1000 FLAGS .* BODYSTRUCTURE",
        )

    def test_searches(self) -> None:
        self.command("a message found by its flags", b"UID SEARCH 1:$n UNSEEN", rb"SEARCH 1 2 3 .* 1000")

    def test_stores(self) -> None:
        self.command("a message whose flags are changed", b"STORE 1:$n FLAGS (\\Flagged)", rb"1000 FETCH \(FLAGS")

    def test_deliveries(self) -> None:
        client = self.client(self.world.lmtp(), b"LHLO client.example.com")
        numbers = iter(range(10_000))

        def send(count: int) -> None:
            begin = b"MAIL FROM:<b@example.com>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n"
            self.wait(client.send(b"".join(begin + simple(next(numbers)) + b".\r\n" for _ in range(count))))

        self.hold("a delivery", self.each(send, 5, 20))
        self.assertEqual(self.wait(self.world.count(ADDRESS, "INBOX")), 30)
        self.assertEqual(client.rest().count(b"stored"), 30)
