"""What one session, and one account, may take of a server: time for a command, connections."""

import imaplib

from tests.integration.database import server
from tests.integration.serving import ANNA, HOST, PASSWORD, TIMEOUT, Answers, Idler, ServiceTests, in_thread, message

HASTY = """
[servers.hasty]
type = "imap"
addr = "127.0.0.1:0"
command_timeout = "1s"
max_connections_per_user = 2
"""
WATCHED = 20
"""Folders that a phone may watch: fewer connections for one account, and it looks broken (clients.md C22)."""
VISITS = 30
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state ~ 'transaction'"


class CommandTimeTests(ServiceTests):
    """A command over PostgreSQL that has to wait for a lock."""

    async def test_a_command_given_up_is_rolled_back_and_its_connections_go_on(self) -> None:
        _, answers = await self.serve(HASTY)
        await in_thread(answers.deliver, message("hello"))
        client = await in_thread(imaplib.IMAP4, HOST, answers.ports["hasty"], TIMEOUT)
        await in_thread(client.login, ANNA, PASSWORD)
        await in_thread(client.select, "INBOX")
        blocking = server().connect(self.settings.name)
        self.addCleanup(blocking.close)
        blocking.autocommit = False
        with blocking.cursor() as cursor:
            cursor.execute("SELECT FROM mailboxes FOR UPDATE")
        for _ in range(2):
            condition, text = await in_thread(client.uid, "MOVE", "1", "Trash")
            self.assertEqual((condition, text[0][:8]), ("NO", b"[LIMIT] "))
            # The statement is cancelled in the server, too; until then it might still come through.
            await self.until(lambda: self.sql(WAITING) == [(0,)])
        blocking.rollback()
        self.assertEqual((await in_thread(client.uid, "SEARCH", "ALL"))[1], [b"1"])
        self.assertEqual((await in_thread(client.uid, "MOVE", "1", "Trash"))[0], "OK")
        self.assertEqual((await in_thread(client.uid, "SEARCH", "ALL"))[1], [b""])
        self.assertEqual(self.sql(OPEN), [(0,)])
        await in_thread(client.logout)


class ConnectionsTests(ServiceTests):
    """Many connections of one account."""

    async def test_c22_a_phone_idles_on_twenty_while_short_ones_come_and_go(self) -> None:
        sora, answers = await self.serve()
        idlers: list[Idler] = [await self.idle(answers) for _ in range(WATCHED)]
        for _ in range(VISITS):
            await in_thread(visit, answers)
        await in_thread(answers.deliver, message("hello"))
        self.assertEqual([await in_thread(idler.next_exists) for idler in idlers], [1] * WATCHED)
        assert sora.servers is not None
        users = [factory.services.users for factory in sora.servers.imap]
        self.assertEqual(sorted(map(list, map(dict.values, users))), [[], [WATCHED]])
        for idler in idlers:
            idler.client.send(b"DONE\r\nlast LOGOUT\r\n")
        await self.until(lambda: not any(users))

    async def test_who_has_too_many_is_told_and_others_are_not_concerned(self) -> None:
        _, answers = await self.serve(HASTY)
        port = answers.ports["hasty"]
        two = [await in_thread(imaplib.IMAP4, HOST, port, TIMEOUT) for _ in range(2)]
        for client in two:
            await in_thread(client.login, ANNA, PASSWORD)
        third = await in_thread(imaplib.IMAP4, HOST, port, TIMEOUT)
        with self.assertRaisesRegex(imaplib.IMAP4.error, r"\[LIMIT\]"):
            await in_thread(third.login, ANNA, PASSWORD)
        two[0].shutdown()

        def again() -> bool:
            try:
                return third.login(ANNA, PASSWORD)[0] == "OK"
            except imaplib.IMAP4.error:
                return False

        self.assertTrue(await in_thread(again) or await in_thread(again))
        for client in (two[1], third):
            await in_thread(client.logout)


def visit(answers: Answers) -> None:
    """Come, look, and go, as a phone does for a folder that it does not watch."""
    with answers.connect() as client:
        client.select("INBOX", readonly=True)
        client.uid("SEARCH", "ALL")
