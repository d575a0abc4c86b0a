"""The server as a process: what was acknowledged is there after a restart, and an ordered end is an ordered end."""

import secrets
import signal

from twisted.trial import unittest

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import Account, Lab, shared_lab


class RestartTests(unittest.SynchronousTestCase):
    def test_an_account_made_beside_the_running_server_can_be_used(self) -> None:
        lab = shared_lab()
        account = Account(f"beside-{secrets.token_hex(4)}@example.org", "a secret, with spaces")
        create = ("accounts", "create", "--config", str(lab.config), "--email", account.address, "--password-stdin")
        self.assertEqual(lab.admin(*create, stdin=account.password + "\n"), f"created {account.address}\n")
        oracle.deliver(lab, account, corpus.messages(1))
        self.assertEqual(len(oracle.held(lab, account)), 1)

    def test_database_and_object_store_agree_beside_the_running_server(self) -> None:
        lab = shared_lab()
        account = lab.account()
        oracle.deliver(lab, account, corpus.messages(7))
        oracle.expunge(lab, account, [2, 3])
        lab.admin("check", "--config", str(lab.config))

    def test_mail_flags_and_uids_are_there_after_a_restart(self) -> None:
        sent = corpus.messages(7)
        with Lab() as lab:
            account = lab.account()
            oracle.deliver(lab, account, sent)
            oracle.append(lab, account, corpus.messages(3, first=100), flags="(\\Seen $Later)")
            before = oracle.held(lab, account)
            self.assertIn(lab.stop(), (0, -signal.SIGTERM))
            self.assertNotIn("Traceback", lab.log.read_text())
            lab.start()
            self.assertEqual(oracle.held(lab, account), before)
            oracle.deliver(lab, account, corpus.messages(1, first=200))
            self.assertEqual([one.uid for one in oracle.held(lab, account)], list(range(1, 12)))
        self.assertEqual([oracle.without_trace(one.data) for one in before[:7]], sent)
        self.assertEqual({one.flags for one in before[7:]}, {frozenset({"\\Seen", "$Later"})})
