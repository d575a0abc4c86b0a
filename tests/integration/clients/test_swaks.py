"""swaks delivers by LMTP."""

from typing import ClassVar

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase

REFUSED_RECIPIENTS = 24


class SwaksTests(ClientTestCase):
    programs: ClassVar = ("swaks",)

    def swaks(self, *options: str, expect: int = 0) -> str:
        where = ("--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(self.lab.lmtp))
        return self.run_program("swaks", *where, *options, expect=expect).stdout

    def test_delivers_every_kind_of_message_with_its_bytes(self) -> None:
        sent = corpus.messages(7)
        for number, data in enumerate(sent):
            file = self.directory / f"{number}.eml"
            # swaks writes CRLF for each end of line.
            file.write_bytes(data.replace(b"\r\n", b"\n"))
            self.swaks("--from", "you@example.net", "--to", self.account.address, "--data", f"@{file}")
        found = oracle.held(self.lab, self.account)
        # swaks ends the data with a line end of its own.
        self.assertEqual([oracle.without_trace(one.data) for one in found], [data + b"\r\n" for data in sent])
        for one in found:
            self.assertTrue(one.data.startswith(b"Return-Path: <you@example.net>\r\n"))
            self.assertIn(f"Delivered-To: {self.account.address}\r\n".encode(), one.data)

    def test_pipelines_to_several_recipients_and_hears_of_each(self) -> None:
        other = self.lab.account()
        detailed = other.address.replace("@", "+lists@")
        said = self.swaks(
            *("--pipeline", "--from", "<>", "--body", "hello", "--header", "Subject: both"),
            *("--to", f"{self.account.address},{detailed},nobody-here@example.org"),
        )
        self.assertIn("550 5.1.1", said)
        self.assertEqual(said.count("> stored\n"), 2, said)
        for account in (self.account, other):
            (one,) = oracle.held(self.lab, account)
            self.assertTrue(one.data.startswith(b"Return-Path: <>\r\n"))

    def test_says_no_when_the_only_recipient_is_unknown(self) -> None:
        said = self.swaks(*("--from", "a@example.net", "--to", "nobody@example.org"), expect=REFUSED_RECIPIENTS)
        self.assertIn("550 5.1.1", said)
        self.assertEqual(oracle.held(self.lab, self.account), [])
