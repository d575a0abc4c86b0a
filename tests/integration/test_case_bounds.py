"""What peers can make a server hold or do: slow readers (L10), login storms (L13), over TCP and PostgreSQL."""

import socket
import time

from twisted.internet.threads import deferToThread

from sora.aio import gather
from sora.core import limits
from sora.net.conversation import Conversation
from sora.sasl.passwords import hash_password
from tests.integration.serving import ANNA, HOST, PASSWORD, TIMEOUT, Answers, ServiceTests, in_thread, message
from tests.integration.turns import Turns

STORM = 60
TURN_MAX = 0.05
"""Seconds that a turn of the reactor may take (Promise: others wait no longer)."""
LARGE = 900_000
COUNT = 60
KERNEL_MAX = 12_000_000
"""Octets that the two ends' socket buffers may hold between them."""


class Deaf:
    """A client that asks and does not read until it is told to."""

    def __init__(self, answers: Answers) -> None:
        self.socket = socket.socket()
        # Set before connecting, so that the window is small from the start.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect((HOST, answers.ports["imap"]))
        self.say(f'a LOGIN {ANNA} "{PASSWORD}"\r\nb SELECT INBOX\r\n'.encode())
        self.until(b"\r\nb OK")

    def say(self, data: bytes) -> None:
        """Send, as far as the server takes it."""
        self.socket.sendall(data)

    def until(self, end: bytes) -> int:
        """Read until something comes and return how much that was."""
        size, tail = 0, b""
        while end not in tail:
            data = self.socket.recv(262_144)
            assert data, "the server hung up"
            size += len(data)
            tail = tail[-len(end) :] + data
        return size


class SlowReaderTests(ServiceTests):
    """A server that counts what it writes."""

    async def _set_up(self) -> None:
        await super()._set_up()
        self.written = 0
        flush = Conversation.flush

        def counted(conversation: Conversation[object]) -> None:
            self.written += conversation._output_size
            flush(conversation)

        self.patch(Conversation, "flush", counted)
        self.sora, self.answers = await self.serve()

    async def still(self) -> int:
        """Wait until the server writes no more and return how much it has written."""
        before = -1
        while before != self.written:
            before = self.written
            await self.pause(0.3)
        return before

    async def test_l10_large_messages_wait_for_a_reader_who_then_gets_all_of_them(self) -> None:
        await in_thread(self.answers.deliver, message("large", LARGE))
        client = await deferToThread(Deaf, self.answers)
        self.addCleanup(client.socket.close)
        self.written = 0
        numbers = "FETCH 1 BODY.PEEK[]\r\n"
        client.say("".join(f"c{number} {numbers}" for number in range(COUNT)).encode())
        self.assertLess(await self.still(), KERNEL_MAX)
        self.assertLess(KERNEL_MAX, LARGE * COUNT)
        size = await deferToThread(client.until, f"c{COUNT - 1} OK".encode())
        self.assertGreater(size, LARGE * COUNT)

    async def test_l10_commands_of_a_client_that_does_not_read_are_not_carried_out_for_ever(self) -> None:
        client = await deferToThread(Deaf, self.answers)
        self.addCleanup(client.socket.close)
        self.written = 0
        client.socket.settimeout(2)
        command = b"c CAPABILITY\r\n" * 1_000
        sent = 0
        try:
            while sent < 4 * KERNEL_MAX:
                await deferToThread(client.say, command)
                sent += len(command)
        except TimeoutError:
            pass
        # Answers are ten times as long as the commands: the server stopped listening long before the client stopped.
        self.assertLess(sent, 4 * KERNEL_MAX)
        self.assertLess(await self.still(), KERNEL_MAX)

    async def test_l10_an_answer_that_is_one_message_is_written_in_pieces(self) -> None:
        await in_thread(self.answers.deliver, message("large", 10 * LARGE))
        client = await deferToThread(Deaf, self.answers)
        self.addCleanup(client.socket.close)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.patch(limits, "WRITE_PIECE_MAX", 65_536)
        self.written = 0
        client.say(b"c FETCH 1 BODY.PEEK[]\r\n")
        self.assertLess(await self.still(), 10 * LARGE)
        await deferToThread(client.until, b"c OK")


class StormTests(ServiceTests):
    """Everyone signs in at once, as after a proxy's restart."""

    async def test_l13_a_storm_of_logins_waits_in_its_queue_and_keeps_nobody_else_waiting(self) -> None:
        small = "[auth]\nhashing_threads = 1\nhashing_queue = 8\nthrottle = false\n"
        _, answers = await self.start(self.text().replace("[auth]\n", small))
        turns = Turns()
        turns.start()
        self.addCleanup(turns.stop)
        before = turns.take()
        said = await gather([in_thread(_sign_in, answers, number) for number in range(STORM)])
        # One hash takes more than a turn may: it was done elsewhere.
        self.assertGreater(await in_thread(_hash_time), TURN_MAX)
        self.assertLess(max(before, turns.take()), TURN_MAX)
        self.assertEqual(set(said), {b"[AUTHENTICATIONFAILED]", b"[INUSE]"})
        # What does not fit into the queue is refused at once; the rest is looked at.
        self.assertGreaterEqual(said.count(b"[AUTHENTICATIONFAILED]"), 9)


def _sign_in(answers: Answers, number: int) -> bytes:
    with socket.create_connection((HOST, answers.ports["imap"]), TIMEOUT) as client:
        client.sendall(b"a LOGIN %s wrong%d\r\n" % (ANNA.encode(), number))
        file = client.makefile("rb")
        file.readline()
        return file.readline().split()[2]


def _hash_time() -> float:
    began = time.thread_time()
    hash_password("secret", cost=10)
    return time.thread_time() - began
