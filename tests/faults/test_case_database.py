"""D7, P8: PostgreSQL goes away, comes back, or another takes its place; service goes on by itself."""

import contextlib
import signal
from typing import Any

from twisted.internet import reactor

from sora import aio
from sora.admin.storage_check import ORPHAN_AGE, StorageCheck
from sora.mail.mailboxes import DEFAULTS
from sora.postgres.migrate import migrate
from sora.postgres.store import open_store
from tests.faults.broken import BACK_WITHIN, BrokenTests
from tests.faults.clients import Lost
from tests.faults.cut import Act, Side
from tests.faults.standby import pair
from tests.integration.serving import ANNA, PASSWORD_HASH, in_thread, message


class _Later:
    """A clock that is a day and more ahead."""

    def seconds(self) -> float:
        """Return the time."""
        return float(reactor.seconds()) + ORPHAN_AGE + 60  # type: ignore[attr-defined]


class AwayTests(BrokenTests):
    """The database is away for the server; the test still reaches it."""

    async def test_p8_service_is_back_soon_after_the_database_and_sessions_are_in_step(self) -> None:
        await self.broken()
        self.assertEqual(await self.deliver(message("before")), 250)
        session, idler = await self.imap(), await self.imap()
        idling = aio.start(idler.command("IDLE"))
        self.cut.away = True
        self.cut.sever()
        self.assertEqual(await self.deliver(message("meanwhile")), 451)
        refused = await session.command("UID STORE 1 +FLAGS (\\Seen)")
        self.assertEqual(refused.status, "NO", refused)
        # Long enough for every wait between two attempts to have grown to its end.
        await self.pause(3.0)
        self.cut.away = False
        self.assertLess(await self.back(message("after")), BACK_WITHIN)
        await self.in_step(session, [1, 2])
        await self.until(lambda: len(idler.numbers) == 2, BACK_WITHIN)
        self.assertFalse(idling.called and idler.bye)
        idler.close()
        with contextlib.suppress(Lost):
            await idling

    async def test_d7_a_large_delivery_cut_short_is_refused_and_its_object_is_found_and_not_lost(self) -> None:
        sora = await self.broken("[storage]\nstaging_max = 1000\n")
        large = message("large", 5_000)
        self.eat(rb"insert_messages\(", side=Side.ASKED)
        self.assertEqual(await self.deliver(large), 451)
        assert sora.storage is not None
        left = await sora.storage.objects.keys()
        self.assertEqual(len(left), 1, "it is not certain that nothing refers to it, so it stays")
        clock: Any = _Later()
        check = StorageCheck(self.store.audit, sora.storage.objects, clock=clock)
        self.assertEqual([finding.kind async for finding in check.findings()], ["object-orphan"])
        self.assertEqual(await self.deliver(large), 250)
        check = StorageCheck(self.store.audit, sora.storage.objects, clock=clock)
        self.assertEqual([finding.where async for finding in check.findings()], [left[0][0]])

    async def test_d7_a_large_delivery_whose_answer_is_lost_keeps_its_object(self) -> None:
        sora = await self.broken("[storage]\nstaging_max = 1000\n")
        large = message("large", 5_000)
        self.eat(rb"insert_messages\(")
        self.assertEqual(await self.deliver(large), 451)
        session = await self.imap()
        (line,) = await self.ok(session, "UID FETCH 1 (BODY.PEEK[])")
        self.assertIn(large, line)
        clock: Any = _Later()
        assert sora.storage is not None
        check = StorageCheck(self.store.audit, sora.storage.objects, clock=clock)
        self.assertEqual([finding async for finding in check.findings()], [])

    async def test_p10_a_database_that_stalls_holds_nobody_but_those_it_has(self) -> None:
        await self.broken()
        session = await self.imap()
        stalled = self.eat(rb"insert_messages\(", act=Act.STALL)
        delivery = aio.start(self.deliver(message("stalled")))
        await stalled.struck.wait()
        self.assertEqual(await self.uids(), [1])
        await self.ok(session, "NOOP")
        stalled.release()
        self.assertEqual(await delivery, 250)


class FailoverTests(BrokenTests):
    """A primary with a synchronous standby; `[database].hosts` names both."""

    timeout = 120

    async def _set_up(self) -> None:
        self.primary, self.standby = await in_thread(pair)
        self.addCleanup(self.primary.stop)
        self.addCleanup(self.standby.stop)
        name = self.primary.create()
        self.settings = self.primary.settings(name)
        await migrate(self.settings, reactor)
        store = open_store(self.settings, reactor)
        await store.start()
        await store.accounts.create(ANNA, PASSWORD_HASH, DEFAULTS)
        await store.stop()
        self.state = type(self.primary.directory)(self.mktemp()).absolute()
        self.state.mkdir(parents=True)
        await self.stand_before(str(self.primary.directory))

    def text(self, *tables: str, state: Any = None) -> str:
        hosts = f'hosts = ["{self.primary.directory}", "{self.standby.directory}"]'
        return super().text(*tables, state=state).replace(f'hosts = ["127.0.0.1"]\nport = {self.cut.port}', hosts)

    async def test_p8_a_promoted_standby_takes_over_and_nothing_acknowledged_is_missing(self) -> None:
        await self.broken()
        session = await self.imap()
        for number in range(5):
            self.assertEqual(await self.deliver(message(f"number {number}")), 250)
        await self.in_step(session, [1, 2, 3, 4, 5])
        await in_thread(self.primary.halt, signal.SIGKILL)
        self.assertEqual(await self.deliver(message("meanwhile")), 451)
        self.assertEqual((await session.command("STATUS INBOX (MESSAGES)")).status, "NO")
        await in_thread(self.standby.promote)
        self.assertLess(await self.back(message("after")), BACK_WITHIN)
        await self.in_step(session, [1, 2, 3, 4, 5, 6])
        self.assertEqual(await self.uids(), [1, 2, 3, 4, 5, 6])
        store = open_store(self.standby.settings(self.settings.name), reactor)
        await store.start()
        findings = await store.audit.findings()
        await store.stop()
        self.assertEqual(findings, [])
