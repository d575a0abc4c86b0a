"""A server whose PostgreSQL goes away and comes back: temporary answers meanwhile, service afterwards."""

import imaplib
import signal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.mail.mailboxes import DEFAULTS
from sora.postgres.migrate import migrate
from sora.postgres.store import open_store
from tests.integration import database
from tests.integration.serving import ANNA, PASSWORD_HASH, Answers, ServiceTests, fetched, in_thread, message

WAIT = 'pool_wait_max = "1s"\nconnect_timeout = "1s"\n'


class DatabaseLossTests(ServiceTests):
    """On a PostgreSQL of its own, which the test ends as it likes."""

    async def _set_up(self) -> None:
        # What was committed must be there after a crash.
        self.patch(database, "SETTINGS", {**database.SETTINGS, "synchronous_commit": "on"})
        self.postgres = await in_thread(database.Server)
        self.addCleanup(self.postgres.stop)
        name = self.postgres.create()
        self.settings = self.postgres.settings(name)
        await migrate(self.settings, reactor)
        store = open_store(self.settings, reactor)
        await store.start()
        await store.accounts.create(ANNA, PASSWORD_HASH, DEFAULTS)
        await store.stop()
        made = self.mktemp()
        self.state = type(self.postgres.directory)(made).absolute()
        self.state.mkdir(parents=True)

    def text(self, *tables: str, **options: Any) -> str:
        return super().text(*tables, **options).replace("allow_unsafe = true\n", f"allow_unsafe = true\n{WAIT}")

    async def kill(self) -> None:
        """End PostgreSQL as a crash does."""
        await in_thread(self.postgres.halt, signal.SIGQUIT)
        await in_thread((self.postgres.directory / "data" / "postmaster.pid").unlink, True)

    async def test_service_goes_on_when_postgresql_is_back(self) -> None:
        _, answers = await self.serve("[local_cache]\nmemory = 0\n")
        self.assertEqual(await in_thread(answers.deliver, message("before")), {})
        await self.until(lambda: self.postgres.execute(self.settings.name, "SELECT 1 FROM staged_bodies") == [])
        idler = await self.idle(answers)
        reader = await in_thread(answers.connect)
        self.addCleanup(reader.shutdown)
        await in_thread(reader.select, "INBOX")
        for round_ in range(2):
            await self.kill()
            refused = await in_thread(answers.deliver, message(f"meanwhile {round_}"))
            self.assertEqual(refused[ANNA][0] // 100, 4, refused)
            self.assertEqual(await in_thread(_code, reader, "STATUS"), "UNAVAILABLE")
            self.assertEqual(await in_thread(_sign_in_code, answers), "UNAVAILABLE")
            await in_thread(self.postgres.start)
            await self.until_delivered(answers, message(f"after {round_}"))
            # The client in IDLE is told, although it was connected when the feed was lost.
            self.assertEqual(await in_thread(idler.next_exists), round_ + 2)
            # The session that was there all the time goes on, too.
            self.assertEqual(await in_thread(_messages, reader), round_ + 2)
        self.assertEqual(await in_thread(answers.inbox), [message("before"), message("after 0"), message("after 1")])

    async def until_delivered(self, answers: Answers, data: bytes) -> None:
        """Deliver again and again, as a mail server does with its queue."""
        deadline = reactor.seconds() + 20  # type: ignore[attr-defined]
        while await in_thread(answers.deliver, data):
            self.assertLess(reactor.seconds(), deadline, "no service")  # type: ignore[attr-defined]
            await self.pause(0.05)

    async def test_stopping_without_a_database_is_still_an_end(self) -> None:
        sora, answers = await self.serve()
        idler = await self.idle(answers)
        await self.kill()
        began = reactor.seconds()  # type: ignore[attr-defined]
        await sora.stopService()
        self.assertLess(reactor.seconds() - began, 10)  # type: ignore[attr-defined]
        self.assertRegex((await in_thread(idler.rest))[-1].decode(), r"\* BYE ")

    async def test_a_delivery_cut_short_by_the_crash_is_not_acknowledged_or_is_there(self) -> None:
        _, answers = await self.serve()
        waiting: list[Deferred[Any]] = [in_thread(answers.deliver, message(f"number {number}")) for number in range(8)]
        await self.pause(0.02)
        await self.kill()
        outcomes = [await one for one in waiting]
        await in_thread(self.postgres.start)
        await self.until_delivered(answers, message("last"))
        kept = await in_thread(answers.inbox)
        for number, refused in enumerate(outcomes):
            if not refused:
                self.assertEqual(kept.count(message(f"number {number}")), 1)
            else:
                self.assertEqual(refused[ANNA][0] // 100, 4, refused)


def _code(client: imaplib.IMAP4, command: str) -> str:
    """Return the response code of a command that is refused."""
    status, data = client.status("INBOX", "(MESSAGES)") if command == "STATUS" else client.noop()
    assert status == "NO", (status, data)
    return data[0].decode().partition("[")[2].partition("]")[0]


def _sign_in_code(answers: Answers) -> str:
    """Return the response code of a refused LOGIN."""
    try:
        answers.connect().shutdown()
    except imaplib.IMAP4.error as error:
        return str(error).partition("[")[2].partition("]")[0]
    return "signed in"


def _messages(client: imaplib.IMAP4) -> int:
    client.noop()
    return len(fetched(client))
