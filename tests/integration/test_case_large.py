"""L12: a mailbox of very many messages is read, marked, moved and emptied, and nobody else waits for it."""

import os
import socket

from twisted.internet.threads import deferToThread

from tests.integration.serving import ANNA, HOST, PASSWORD, Answers, ServiceTests
from tests.integration.turns import Turns

MESSAGES = int(os.environ.get("SORA_LARGE_MESSAGES", "50000"))
TURN_MAX = 0.05
"""Seconds of processor time that a turn of the reactor may take."""
FILL = """
INSERT INTO bodies (id, scope, hash, size, object_key, stored, thread, envelope, structure, body, subject, base_subject,
                    sort_from, sort_to, sort_cc, display_from, display_to, preview)
OVERRIDING SYSTEM VALUE
VALUES (1, 'global', sha256('x'), 5, 'x', true, 1, '()', '()', '()', '', '', '', '', '', '', '', '');
INSERT INTO body_texts (body_id, complete, fields, header_text, body_text) VALUES (1, true, '{}', '', '');
INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags, trace)
SELECT b.id, n, 1, 2, n, 1, now(), 5, 0, '' FROM mailboxes AS b, generate_series(1, %(count)s) AS n
 WHERE b.name = 'INBOX';
UPDATE mailboxes SET uid_next = %(count)s + 1, highest_modseq = 2, messages = %(count)s, unseen = %(count)s,
       recent = %(count)s, size = 5 * %(count)s WHERE name = 'INBOX'
"""
COMMANDS = (
    "SELECT INBOX",
    "UNSELECT",
    "SELECT INBOX",
    "FETCH 1:* (UID FLAGS)",
    "FETCH 1:* (UID INTERNALDATE RFC822.SIZE)",
    "UID SEARCH UNSEEN",
    "UID SEARCH SUBJECT x",
    "STORE 1:* +FLAGS (\\Seen)",
    "STORE 1:* +FLAGS.SILENT (\\Deleted)",
    "COPY 1:* Sent",
    "EXPUNGE",
    "SELECT Sent",
    "UID MOVE 1:* INBOX",
    "NOOP",
)


class Client:
    """A client that counts what it is told."""

    def __init__(self, answers: Answers) -> None:
        self.socket = socket.create_connection((HOST, answers.ports["imap"]), 120)
        self.tags = 0
        self.do(f'LOGIN {ANNA} "{PASSWORD}"')

    def do(self, command: str) -> bytes:
        """Carry out a command, which must succeed, and return what was told."""
        self.tags += 1
        tag = b"t%d " % self.tags
        self.socket.sendall(tag + command.encode() + b"\r\n")
        pieces, tail = [], b""
        while tag not in tail:
            data = self.socket.recv(1 << 20)
            assert data, "the server hung up"
            pieces.append(data)
            tail = tail[-20:] + data
        told = b"".join(pieces)
        assert tag + b"OK" in told, told[-200:]
        return told


class LargeTests(ServiceTests):
    """One user has very many messages; another waits for nothing."""

    timeout = 1_200

    async def test_l12_no_command_over_all_messages_keeps_the_reactor(self) -> None:
        self.sql(FILL, {"count": MESSAGES})
        _, answers = await self.serve()
        client = await deferToThread(Client, answers)
        self.addCleanup(client.socket.close)
        turns = Turns()
        turns.start()
        self.addCleanup(turns.stop)
        longest = {}
        told = {}
        for command in COMMANDS:
            turns.take()
            told[command] = await deferToThread(client.do, command)
            # The turn in which the last answer was written has ended by now.
            await self.pause(0)
            await self.pause(0)
            longest[command] = turns.take()
        if "SORA_LARGE_MESSAGES" in os.environ:
            for command, seconds in longest.items():
                print(f"{command:45} {seconds * 1000:7.1f} ms")  # noqa: T201
        self.assertEqual({command for command, seconds in longest.items() if seconds > TURN_MAX}, set(), longest)
        self.assertEqual(told["EXPUNGE"].count(b" EXPUNGE\r\n"), MESSAGES)
        self.assertEqual(told["UID MOVE 1:* INBOX"].count(b" EXPUNGE\r\n"), MESSAGES)
        self.assertEqual(told["STORE 1:* +FLAGS (\\Seen)"].count(b" FETCH "), MESSAGES)
        self.assertEqual(told["UID SEARCH UNSEEN"].count(b" "), MESSAGES + 4)
        self.assertEqual(self.sql("SELECT messages, unseen FROM mailboxes WHERE name = 'INBOX'"), [(MESSAGES, 0)])
        self.assertEqual(await self.store.audit.findings(), [])
