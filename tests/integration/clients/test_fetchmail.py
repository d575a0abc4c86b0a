"""fetchmail fetches by IMAP, into files and onward by LMTP."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase
from tests.integration.clients.programs import environment

NO_MAIL = 1
KEEPER = """#!/bin/sh
exec cat > "$(mktemp {directory}/kept/XXXXXXXX)"
"""
# Without `invisible` fetchmail adds a Received field of its own.
POLL = """
set no bouncemail
set invisible
set pidfile "{directory}/pid"
poll localhost service {port} protocol IMAP auth password
    username "{user}" password "{password}" {options}
"""


class FetchmailTests(ClientTestCase):
    programs: ClassVar = ("fetchmail",)

    def setUp(self) -> None:
        super().setUp()
        (self.directory / "kept").mkdir()
        keeper = self.directory / "keeper"
        keeper.write_text(KEEPER.format(directory=self.directory))
        keeper.chmod(0o700)
        self.to_files = f'mda "{keeper}"'

    def configure(self, options: str, *, tls: bool) -> Path:
        control = self.directory / "fetchmailrc"
        control.touch(mode=0o600)
        secure = f'ssl sslproto "auto" sslcertck sslcertfile "{self.lab.certificate}"' if tls else 'no ssl sslproto ""'
        control.write_text(
            POLL.format(
                directory=self.directory,
                port=self.lab.imaps if tls else self.lab.imap,
                user=self.account.address,
                password=self.account.password,
                options=f"no rewrite {options} {secure}",
            )
        )
        return control

    def fetchmail(self, options: str, tls: bool = True, expect: int = 0) -> None:
        control = self.configure(options, tls=tls)
        self.run_program("fetchmail", "-f", str(control), "--nosyslog", "-v", expect=expect)

    def kept(self) -> list[bytes]:
        """Return what arrived in files, with the line ends of the wire and without what fetchmail adds."""
        found = [path.read_bytes().replace(b"\n", b"\r\n") for path in (self.directory / "kept").iterdir()]
        return sorted(oracle.without_fields(data, (b"Return-Path:", b"Delivered-To:")) for data in found)

    def test_fetches_everything_once_and_leaves_it_there(self) -> None:
        sent = corpus.messages(7)
        oracle.append(self.lab, self.account, sent)
        self.fetchmail(f"keep {self.to_files}")
        self.assertEqual(self.kept(), sorted(sent))
        found = oracle.held(self.lab, self.account)
        self.assertEqual([(one.data, one.flags) for one in found], [(data, {"\\Seen"}) for data in sent])
        self.fetchmail(f"keep {self.to_files}", tls=False, expect=NO_MAIL)
        self.assertEqual(len(self.kept()), 7)

    def test_a_waiting_fetchmail_is_told_of_new_mail(self) -> None:
        oracle.append(self.lab, self.account, corpus.messages(1))
        control = self.configure(f"keep idle {self.to_files}", tls=True)
        said = self.directory / "said"
        with said.open("wb") as output:
            waiting = subprocess.Popen(
                ["fetchmail", "-f", str(control), "--nosyslog", "-v"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.directory),
                cwd=self.directory,
            )
        try:
            self.until(lambda: b" IDLE\n" in said.read_bytes(), said)
            oracle.deliver(self.lab, self.account, corpus.messages(1, first=1))
            self.until(lambda: len(self.kept()) == 2, said)
        finally:
            waiting.terminate()
            waiting.wait(10)
        self.assertEqual([oracle.without_trace(data) for data in self.kept()], sorted(corpus.messages(2)))

    def until(self, true: Callable[[], bool], said: Path) -> None:
        deadline = time.monotonic() + 10
        while not true():
            self.assertLess(time.monotonic(), deadline, said.read_text())
            time.sleep(0.02)

    def test_fetches_and_deletes(self) -> None:
        sent = corpus.messages(7)
        oracle.append(self.lab, self.account, sent)
        self.fetchmail(f"no keep fetchall {self.to_files}", tls=False)
        self.assertEqual(self.kept(), sorted(sent))
        self.assertEqual(oracle.held(self.lab, self.account), [])

    def test_moves_mail_from_one_account_to_another_by_lmtp(self) -> None:
        other = self.lab.account()
        sent = corpus.messages(14)
        oracle.deliver(self.lab, self.account, sent)
        self.fetchmail(f'no keep fetchall lmtp smtphost "127.0.0.1/{self.lab.lmtp}" smtpname "{other.address}"')
        self.assertEqual(oracle.held(self.lab, self.account), [])
        found = [one.data[one.data.index(b"From: Sender") :] for one in oracle.held(self.lab, other)]
        self.assertEqual(found, sent)
