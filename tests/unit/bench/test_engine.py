"""The load driver against a peer that says what the test wants."""

import socket
import threading

from bench.engine import Driver, Line, ScriptFailed, Step, Tick
from bench.mail import message
from bench.scripts import Imap, delivery
from twisted.trial import unittest


class EngineTests(unittest.SynchronousTestCase):
    """A script is sent step by step, and each answer is waited for to its end."""

    def peer(self, *answers: tuple[bytes, list[bytes]]) -> Line:
        """Return a line to a peer that, whenever it has got the octets of a pair, sends its pieces."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve() -> None:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock:
                for wanted, pieces in answers:
                    got = b""
                    while len(got) < len(wanted) and (chunk := sock.recv(65536)):
                        got += chunk
                    for piece in pieces if got == wanted else [b"- unexpected\r\n"]:
                        sock.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        line = Line(listener.getsockname())
        self.addCleanup(line.close)
        return line

    def test_a_tagged_answer_in_pieces_ends_a_script(self) -> None:
        line = self.peer((b"", [b"* OK hi\r\n"]), (b"x1 NOOP\r\n", [b"* 3 EX", b"ISTS\r\nx", b"1 OK done\r", b"\n"]))
        script = [Step(b"", b"* OK"), Imap().command("NOOP")]
        outcome = Driver().run([(line, [script])], seconds=5)
        self.assertEqual((len(outcome.latencies), outcome.octets), (1, 9 + 12 + 12))

    def test_lines_are_counted_before_the_last_one_is_judged(self) -> None:
        envelope, text = delivery("a@example.org", b"Hi\r\n")
        line = self.peer((envelope.send, [b"250 a\r\n", b"250 b\r\n354 go\r\n"]), (text.send, [b"250 kept\r\n"]))
        self.assertEqual(len(Driver().run([(line, [[envelope, text]])], seconds=5).latencies), 1)

    def test_a_refusal_fails_the_run(self) -> None:
        envelope, text = delivery("a@example.org", b"Hi\r\n")
        line = self.peer((envelope.send, [b"250 a\r\n550 no such user\r\n503 no\r\n"]))
        self.assertRaises(ScriptFailed, Driver().run, [(line, [[envelope, text]])], seconds=5)

    def test_a_tagged_no_fails_the_run(self) -> None:
        line = self.peer((b"x1 NOOP\r\n", [b"x1 NO\r\n"]))
        self.assertRaises(ScriptFailed, Driver().run, [(line, [[Imap().command("NOOP")]])], seconds=5)

    def test_a_peer_that_hangs_up_fails_the_run(self) -> None:
        line = self.peer((b"x1 NOOP\r\n", [b"* BYE\r\n"]))
        self.assertRaises(ScriptFailed, Driver().run, [(line, [[Imap().command("NOOP")]])], seconds=5)

    def test_no_script_is_begun_after_the_time(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        line = Line(listener.getsockname())
        self.assertEqual(Driver().run([(line, [[Imap().command("NOOP")]])], seconds=0).latencies, [])

    def test_a_step_pauses_before_it_is_sent_and_what_comes_meanwhile_is_let_go_by(self) -> None:
        line = self.peer((b"x1 IDLE\r\n", [b"+ go\r\n", b"* 4 EXISTS\r\n"]), (b"DONE\r\n", [b"x1 OK\r\n"]))
        script = [Imap().idle(), Step(b"DONE\r\n", b"x1 ", done=b"OK", pause=0.02)]
        outcome = Driver().run([(line, [script])], seconds=5)
        self.assertGreaterEqual(outcome.latencies[0], 0.02)

    def test_a_first_pause_is_not_part_of_the_latency(self) -> None:
        line = self.peer((b"x1 NOOP\r\n", [b"x1 OK\r\n"]))
        step = Imap().command("NOOP")
        step.pause = 0.05
        outcome = Driver().run([(line, [[step]])], seconds=5)
        self.assertGreaterEqual(outcome.seconds, 0.05)
        self.assertLess(outcome.latencies[0], 0.05)

    def test_what_still_pauses_at_the_end_is_given_up(self) -> None:
        line = Line(("127.0.0.1", 1), fresh=True)
        outcome = Driver().run([(line, [[Step(b"", b"", pause=60.0)]])], seconds=0.02)
        self.assertEqual(outcome.latencies, [])
        self.assertLess(outcome.seconds, 5)

    def test_a_tick_is_called_again_and_again_while_scripts_run(self) -> None:
        calls: list[int] = []
        line = Line(("127.0.0.1", 1), fresh=True)
        Driver().run([(line, [[Step(b"", b"", pause=60.0)]])], seconds=0.1, tick=Tick(0.02, lambda: calls.append(1)))
        self.assertGreater(len(calls), 2)


class MailTests(unittest.SynchronousTestCase):
    """The messages that are measured with."""

    def test_they_have_about_the_size_asked_for(self) -> None:
        for octets in (2048, 30720):
            self.assertLess(abs(len(message(7, octets)) - octets), octets // 10)

    def test_they_are_the_same_each_time_and_differ_by_number(self) -> None:
        self.assertEqual(message(3, 2048), message(3, 2048))
        self.assertNotEqual(message(3, 2048), message(4, 2048))

    def test_no_line_is_too_long_or_begins_with_a_dot(self) -> None:
        for line in message(5, 30720).split(b"\r\n"):
            self.assertLess(len(line), 998)
            self.assertNotEqual(line[:1], b".")
