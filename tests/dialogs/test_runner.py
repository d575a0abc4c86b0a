"""The runner itself: a dialog that differs in anything fails."""

from twisted.trial import unittest

from tests.dialogs.runner import Differs, Run
from tests.dialogs.script import Account, Bindings, Dialog, Step, read, simple


class Echo:
    """A server that says what it was made with, whatever it hears."""

    def __init__(self, says: bytes) -> None:
        self.unread = says
        self.heard: list[bytes] = []

    async def connect(self) -> "Echo":
        return self

    async def send(self, data: bytes) -> None:
        self.heard.append(data)

    async def line(self) -> bytes | None:
        line, end, rest = self.unread.partition(b"\r\n")
        if not end:
            return None
        self.unread = rest
        return line

    async def closed(self) -> bool:
        return False

    async def hang_up(self) -> None:
        """Nothing to close."""

    def rest(self) -> bytes:
        return self.unread


class RunnerTests(unittest.TestCase):
    """Dialogs against a server that says one thing."""

    def dialog(self, text: str) -> Dialog:
        """Read a dialog from text."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        from pathlib import Path

        return read(Path(path))

    async def run_over(self, text: str, says: bytes) -> Echo:
        """Hold a dialog."""
        echo = Echo(says)
        await Run(self.dialog(text), echo).hold()
        return echo

    async def test_neighbouring_client_lines_leave_in_one_write(self) -> None:
        echo = await self.run_over("C: a NOOP\nC~ b\\x00\nC: {{x*3}}\nS: ok\nC: c\n", b"ok\r\n")
        self.assertEqual(echo.heard, [b"a NOOP\r\nb\x00xxx\r\n", b"c\r\n"])

    async def test_another_line_differs(self) -> None:
        for text in ("S: no\n", "S: ok then\n", "S? no\n", "S* no\n", "S+ 2 ok\n", "X: closed\n", "S! silence\n"):
            with self.assertRaises(Differs, msg=text):
                await self.run_over(text, b"ok\r\n")

    async def test_what_is_left_unread_differs(self) -> None:
        with self.assertRaises(Differs):
            await self.run_over("S: ok\n", b"ok\r\nmore\r\n")

    async def test_a_line_in_any_order_comes_once(self) -> None:
        await self.run_over("S? * a\nS? * b\n", b"* b\r\n* a\r\n")
        with self.assertRaises(Differs):
            await self.run_over("S? * a\nS? * a\n", b"* a\r\n* b\r\n")

    async def test_only_untagged_lines_are_passed_over(self) -> None:
        await self.run_over("S* a OK\n", b"* 1\r\n* 2\r\na OK\r\n")
        with self.assertRaises(Differs):
            await self.run_over("S* a OK\n", b"b OK\r\na OK\r\n")

    async def test_a_name_stands_for_one_value(self) -> None:
        await self.run_over("S: $a $a $b\nC: $b\n", b"1 1 2\r\n")
        for says in (b"1 2 2\r\n", b"1 1 x y\r\n"):
            with self.assertRaises(Differs):
                await self.run_over("S: $a $a $b\n", says)
        with self.assertRaises(Differs):
            await self.run_over("S: $a\nS: x $a\n", b"1\r\nx 2\r\n")

    def test_flags_that_begin_with_a_dollar_are_no_names(self) -> None:
        self.assertEqual(Bindings().sent(Step("C", "", ":", "$Forwarded $unknown", 1)), b"$Forwarded $unknown\r\n")
        self.assertFalse(Bindings().matches("$Forwarded", b"anything"))

    def test_numbers_and_anything_are_told_apart(self) -> None:
        self.assertTrue(Bindings().matches("[$#] $*", b"[12] any thing"))
        self.assertFalse(Bindings().matches("[$#]", b"[1x]"))

    def test_a_scene_is_read(self) -> None:
        dialog = self.dialog(
            "## remark\n# account a@b.c pw x@b.c\n# mailbox Sent \\Sent subscribed\n# messages INBOX 2 \\Seen\n"
            "# message INBOX <<\nSubject: x\n\ny\n>>\n# setting recent kept\n# begin selected INBOX\nC: hi\n"
        )
        messages = [("INBOX", ["\\Seen"], b"", simple(1)), ("INBOX", ["\\Seen"], b"", simple(2))]
        messages.append(("INBOX", [], b"", b"Subject: x\r\n\r\ny\r\n"))
        account = Account("a@b.c", "pw", ["x@b.c"], [("Sent", "\\Sent", True)], messages)
        self.assertEqual(dialog.accounts, [account])
        self.assertEqual((dialog.settings, dialog.begin), ({"recent": "kept"}, ("selected", "INBOX")))
        self.assertFalse(dialog.memory_only)

    def test_what_is_not_understood_is_an_error(self) -> None:
        for text in ("# frobs\n", "Q: x\n", "C x\n", "# message INBOX <<\nno end\n"):
            with self.assertRaises(ValueError):
                self.dialog(text)
