"""fetchmail fetches by IMAP, into files and onward by LMTP."""

from typing import ClassVar

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase

NO_MAIL = 1
KEEPER = """#!/bin/sh
exec cat > "$(mktemp {directory}/kept/XXXXXXXX)"
"""
# Without `invisible` fetchmail adds a Received field of its own.
POLL = """
set no bouncemail
set invisible
set pidfile "{directory}/pid"
poll localhost service {port} protocol IMAP auth password {tls}
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

    def fetchmail(self, options: str, tls: bool = True, expect: int = 0) -> str:
        control = self.directory / "fetchmailrc"
        control.touch(mode=0o600)
        secure = f'ssl sslproto "auto" sslcertck sslcertfile "{self.lab.certificate}"' if tls else 'no ssl sslproto ""'
        control.write_text(
            POLL.format(
                directory=self.directory,
                port=self.lab.imaps if tls else self.lab.imap,
                user=self.account.address,
                password=self.account.password,
                tls="",
                options=f"no rewrite {options} {secure}",
            )
        )
        done = self.run_program("fetchmail", "-f", str(control), "--nosyslog", "-v", expect=expect)
        return done.stdout + done.stderr

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
