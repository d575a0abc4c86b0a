"""A server in the test process with the proxy between it and the database: for faults of one statement."""

from typing import Any

from twisted.internet import reactor

from sora.service.run import Sora
from tests.faults import clients
from tests.faults.chaos_s3 import ChaosServer, settings_of
from tests.faults.clients import ImapSession, LmtpSession
from tests.faults.cut import HOST, Act, Cut, Messages, Side, Strike
from tests.integration.database import PORT, server
from tests.integration.serving import ANNA, PASSWORD, Answers, ServiceTests

BACK_WITHIN = 5.0
"""Seconds after which service is there again, once the database is."""
SHORT = 'pool_wait_max = "1s"\nconnect_timeout = "1s"\n'


class BrokenTests(ServiceTests):
    """`self.cut` stands before PostgreSQL; `self.s3`, once asked for, is an S3 with moods."""

    async def _set_up(self) -> None:
        await super()._set_up()
        await self.stand_before(str(server().directory))

    async def stand_before(self, directory: str) -> None:
        """Put the proxy before the PostgreSQL whose socket lies in a directory."""
        self.cut = Cut(reactor, f"{directory}/.s.PGSQL.{PORT}", framing=Messages)
        self.cut.start()
        self.addCleanup(self.cut.stop)

    def text(self, *tables: str, state: Any = None) -> str:
        """Return the text of a configuration that leads through the proxy."""
        text = super().text(*tables, state=state)
        direct = f'hosts = ["{self.settings.socket_dir}"]\nport = {self.settings.port}\n'
        assert direct in text
        through = f'hosts = ["{HOST}"]\nport = {self.cut.port}\nsslmode = "disable"\n{SHORT}'
        return text.replace(direct, through)

    async def broken(self, *tables: str) -> Sora:
        """Start a server; its clients come by `self.imap()` and `self.lmtp()`."""
        sora, answers = await self.serve(*tables)
        self.answers: Answers = answers
        return sora

    def chaos(self) -> str:
        """Start an S3 with moods and return the table that leads to it."""
        self.s3 = ChaosServer(reactor)
        self.addCleanup(self.s3.stop)
        return settings_of(self.s3)

    async def imap(self, mailbox: str = "INBOX") -> ImapSession:
        """Return a session with a selected mailbox."""
        session = await clients.imap(reactor, self.answers.ports["imap"], ANNA, f"{PASSWORD}")
        self.addCleanup(session.close)
        await self.ok(session, f"SELECT {mailbox}")
        return session

    async def lmtp(self) -> LmtpSession:
        """Return an LMTP session."""
        session = await clients.lmtp(reactor, self.answers.ports["lmtp"])
        self.addCleanup(session.close)
        return session

    async def ok(self, session: ImapSession, text: str, *literal: bytes) -> list[bytes]:
        """Send a command that must succeed and return its untagged answers."""
        answer = await session.command(text, *literal)
        self.assertTrue(answer.ok, answer)
        return answer.untagged

    async def deliver(self, data: bytes) -> int:
        """Deliver to the one account and return the last code."""
        answers: dict[str, int] = {}
        session = await self.lmtp()
        await session.deliver([ANNA], data, answers)
        session.close()
        return answers[ANNA]

    def eat(self, pattern: bytes, *, side: Side = Side.ANSWERED, act: Act = Act.CUT) -> Strike:
        """Have the answer to the next such statement be lost."""
        return self.cut.add(Strike(act, side, pattern))

    async def uids(self, mailbox: str = "INBOX") -> list[int]:
        """Return the UIDs that a new session sees."""
        session = await self.imap(mailbox)
        found = await self.ok(session, "UID SEARCH ALL")
        session.close()
        return [int(uid) for line in found if line.startswith(b"* SEARCH") for uid in line.split()[2:]]

    async def in_step(self, session: ImapSession, expected: list[int]) -> None:
        """See that a session that lived through it knows what there is."""
        await self.ok(session, "NOOP")
        await self.ok(session, "UID FETCH 1:* (UID)")
        self.assertEqual((session.numbers, session.confused, session.bye), (expected, [], False))

    async def back(self, data: bytes) -> float:
        """Deliver again and again; returns after how many seconds it was taken."""
        began = reactor.seconds()  # type: ignore[attr-defined]
        while await self.deliver(data) != 250:
            self.assertLess(reactor.seconds() - began, 2 * BACK_WITHIN)  # type: ignore[attr-defined]
            await self.pause(0.05)
        return float(reactor.seconds() - began)  # type: ignore[attr-defined]
