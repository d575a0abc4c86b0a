"""What a new user meets: who gets a demonstration account, and what is printed."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.config.load import parse
from sora.mail.mailboxes import DEFAULTS
from sora.net.listeners import TcpAddress
from sora.sasl.passwords import verify
from sora.service.first_run import DEMO, greet, welcome
from sora.store.memory import MemoryStore

COST = "[auth]\nbcrypt_cost = 10\n"
DATABASE = '[database]\nhosts = ["db.example.org"]\n'
S3 = '[s3]\nendpoint = "https://s3.example.org"\nbucket = "mail"\n'


class GreetTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.store = MemoryStore(Clock())
        self.addresses = {"lmtp": TcpAddress("127.0.0.1", 2003), "imap": TcpAddress("", 1143)}

    def greet(self, tables: str = "") -> list[str]:
        """Greet and return the lines that were printed."""
        printed = io.StringIO()
        self.patch(sys, "__stdout__", printed)
        places: Any = SimpleNamespace(plain_address=self.addresses.get)
        configuration = parse(COST + tables).in_state(self.state)
        self.successResultOf(Deferred.fromCoroutine(welcome(configuration, self.store.accounts)))
        greet(configuration, places)
        return [line for line in printed.getvalue().splitlines() if line]

    def accounts(self) -> list[str]:
        return [row.address for row in self.successResultOf(self.store.accounts.rows())]

    def test_an_empty_store_gets_an_account_whose_password_only_its_owner_can_read(self) -> None:
        lines = self.greet()
        file = self.state / "demo-password"
        self.assertEqual(self.accounts(), [DEMO])
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        login = self.successResultOf(self.store.accounts.login(DEMO))
        assert login is not None
        [credential] = login.credentials
        self.assertTrue(verify(file.read_text().strip().encode(), credential.hash))
        self.assertEqual(len(lines), 3)
        self.assertIn("smtplib.LMTP('127.0.0.1', 2003)", lines[0])
        self.assertIn("imap://127.0.0.1:1143/INBOX", lines[1])
        self.assertIn(str(self.state.absolute()), lines[2])
        self.assertNotIn(file.read_text().strip(), "".join(lines))

    def test_a_file_that_others_could_read_is_closed_to_them(self) -> None:
        file = self.state / "demo-password"
        file.write_text("")
        file.chmod(0o644)
        self.greet()
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    def test_the_second_start_says_the_same_and_makes_nothing(self) -> None:
        first = self.greet()
        made = (self.state / "demo-password").read_text()
        self.assertEqual(self.greet(), first)
        self.assertEqual((self.state / "demo-password").read_text(), made)
        self.assertEqual(self.accounts(), [DEMO])

    def test_who_has_accounts_of_their_own_gets_none_and_hears_nothing(self) -> None:
        self.successResultOf(self.store.accounts.create("anna@example.org", "x", DEFAULTS))
        self.assertEqual(self.greet(), [])
        self.assertEqual(self.accounts(), ["anna@example.org"])
        self.assertFalse((self.state / "demo-password").exists())

    def test_storage_that_is_configured_is_nobodys_first_try(self) -> None:
        for tables in (DATABASE, S3, DATABASE + S3):
            self.assertEqual(self.greet(tables), [])
            self.assertEqual(self.accounts(), [])

    def test_lines_that_could_not_work_are_not_printed(self) -> None:
        for missing in ("lmtp", "imap"):
            kept = dict(self.addresses)
            del self.addresses[missing]
            self.assertEqual(self.greet(), [])
            self.addresses = kept
