"""D12: no room on the disk, no descriptors, no memory left: what cannot be done is refused for now, and comes back.

And a clock that is set: nobody notices.

These start whole servers and take their time: `make faults` runs them.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial import unittest

from sora import aio
from tests.faults import clients
from tests.faults.clients import Lost
from tests.faults.kill import USERS, KillRun
from tests.faults.world import LONG, PASSWORD, Layout, faketime

DISK = "200m"
HUNGER = ((16 << 20, 24 << 20), (1 << 20, 1 << 20), (20 << 20, 6 << 20), (0, 60_000), (40 << 20, 10 << 20))
"""Octets of address space each process is left, and of each mail that comes then: it runs out at several points."""
BACK_WITHIN = 35.0
"""Seconds: a PostgreSQL without room for its log ends itself, and is started again after half a minute at most."""


class FullDiskTests(unittest.TestCase):
    """The state directory, with PostgreSQL and the bodies, on a small disk of its own."""

    timeout = 240
    if LONG:
        skip = LONG

    def setUp(self) -> None:
        self.disk = Path(tempfile.mkdtemp(prefix="sora-faults-disk-"))
        self.addCleanup(shutil.rmtree, self.disk, True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(self.disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise unittest.SkipTest("no disk can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.disk)], check=False)

    async def test_d12_a_full_disk_is_452_and_service_recovers_by_itself(self) -> None:
        run = KillRun(reactor, seed=12, layout=Layout.EMBEDDED, workers=0, state=self.disk / "state")
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        await self.load(run, 1.0)
        await run.settle()
        before = dict(run.driver.counts.kinds)
        codes: list[int] = []
        note = run.driver._note

        def noted(letter: Any, name: str, code: int | None) -> None:
            codes.append(code or 0)
            note(letter, name, code)

        run.driver._note = noted  # type: ignore[method-assign]
        ballast = self.disk / "ballast"
        self.fill(ballast)
        await self.load(run, 4.0)
        self.assertIn(452, codes)
        self.assertEqual({code // 100 for code in codes} - {0, 2, 4}, set(), codes)
        ballast.unlink()
        began = reactor.seconds()  # type: ignore[attr-defined]
        await run.world.served(limit=BACK_WITHIN, user=USERS[0])
        self.assertLess(reactor.seconds() - began, BACK_WITHIN)  # type: ignore[attr-defined]
        # PostgreSQL may have had to end itself: the last changes of flags were not on the disk yet.
        await run.settle(since=began - 10)
        await self.load(run, 1.0)
        self.assertGreater(run.driver.counts.kinds["deliver"], before["deliver"])
        await run.settle()
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])

    def fill(self, ballast: Path) -> None:
        """Leave half a megabyte."""
        room = os.statvfs(self.disk)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_bsize - 524_288)

    async def load(self, run: KillRun, seconds: float) -> None:
        """Put load on it for a while."""
        run.driver.begin()
        await aio.sleep(reactor, seconds)  # type: ignore[arg-type]
        await run.driver.end()


class NoDescriptorsTests(unittest.TestCase):
    """A server that may open few files, and more clients than that."""

    timeout = 120
    if LONG:
        skip = LONG

    async def test_d12_without_descriptors_those_connected_are_served_and_others_when_there_is_room(self) -> None:
        run = KillRun(reactor, seed=13, layout=Layout.OWN, workers=0, descriptors=80)
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        session = await clients.imap(reactor, run.world.imap, USERS[0], PASSWORD)
        self.assertTrue((await session.command("SELECT INBOX")).ok)
        crowd: list[clients.LmtpSession] = []
        arriving: list[Deferred[Any]] = []
        for _ in range(100):
            coming = aio.start(self.come(run, crowd))
            arriving.append(coming)
        await aio.sleep(reactor, 1.0)  # type: ignore[arg-type]
        self.assertLess(len(crowd), 80)
        self.assertTrue((await session.command("NOOP")).ok)
        for one in crowd:
            one.close()
        for coming in arriving:
            coming.cancel()
        await run.world.served(limit=20.0, user=USERS[0])
        run.driver.begin()
        await aio.sleep(reactor, 0.5)  # type: ignore[arg-type]
        await run.driver.end()
        session.close()
        await run.settle()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])
        self.assertGreater(run.driver.counts.acknowledged, 10)

    async def come(self, run: KillRun, crowd: list[clients.LmtpSession]) -> None:
        """Connect, if there is room."""
        with contextlib.suppress(Lost, CancelledError):
            crowd.append(await clients.lmtp(reactor, run.world.lmtp))


class NoMemoryTests(unittest.TestCase):
    """A server that is given no more memory than it has, and large mail by everybody at once."""

    timeout = 240
    if LONG:
        skip = LONG

    async def test_d12_without_memory_large_mail_is_refused_for_now_and_nothing_acknowledged_is_lost(self) -> None:
        run = KillRun(reactor, seed=14, layout=Layout.OWN, workers=2)
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        run.driver.begin()
        await aio.sleep(reactor, 1.0)  # type: ignore[arg-type]
        refused = 0
        for spare, size in HUNGER:
            run.world.starve(spare)
            refused += sum(await aio.gather([aio.start(self.bulky(run, size)) for _ in range(4)]))
            run.world.feed()
            await aio.sleep(reactor, 0.5)  # type: ignore[arg-type]
        self.assertGreater(refused, 0)
        await run.driver.end()
        await run.world.served(limit=20.0, user=USERS[0])
        before = run.driver.counts.acknowledged
        run.driver.begin()
        await aio.sleep(reactor, 1.0)  # type: ignore[arg-type]
        await run.driver.end()
        self.assertGreater(run.driver.counts.acknowledged, before)
        await run.settle()
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])

    async def bulky(self, run: KillRun, size: int) -> int:
        """Append a mail of so many octets, to a mailbox of its own; tells whether it was refused."""
        try:
            session = await clients.imap(reactor, run.world.imap, USERS[0], PASSWORD)
        except Lost:
            return 1
        try:
            answer = await session.command("APPEND Junk", b"Subject: bulky\r\n\r\n" + b"x" * size)
        except Lost:
            return 1
        finally:
            session.close()
        self.assertIn(answer.status, ("OK", "NO"))
        return 0 if answer.ok else 1


class ClockTests(unittest.TestCase):
    """A server whose clock is set while it works."""

    timeout = 240
    if LONG:
        skip = LONG
    elif faketime() is None:
        skip = "libfaketime is not installed"

    async def test_a_clock_that_jumps_delays_nothing_and_loses_nothing(self) -> None:
        await self.jump(Layout.OWN)

    async def test_nor_does_one_that_postgresql_has_in_common(self) -> None:
        await self.jump(Layout.EMBEDDED)

    async def jump(self, layout: Layout) -> None:
        """Set the clock to and fro under load."""
        run = KillRun(reactor, seed=15, layout=layout, workers=2, wrong_clock=True)
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        idle = await clients.imap(reactor, run.world.imap, USERS[0], PASSWORD)
        self.assertTrue((await idle.command("SELECT Junk")).ok)
        for difference in ("+0", "+36h", "-36h", "+10y", "+0"):
            run.world.set_clock(difference)
            before = run.driver.counts.acknowledged
            run.driver.begin()
            await aio.sleep(reactor, 1.5)  # type: ignore[arg-type]
            await run.driver.end()
            self.assertGreater(run.driver.counts.acknowledged, before + 20, difference)
            self.assertTrue((await idle.command("NOOP")).ok, difference)
            await run.settle()
        idle.close()
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])
