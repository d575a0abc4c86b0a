"""Postfix itself delivers by LMTP: smtp-source sends, a throw-away instance passes it on."""

import re
import smtplib
import tempfile
from pathlib import Path
from typing import ClassVar

from twisted.trial import unittest

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase, Lab, messages_wanted, need
from tests.integration.clients.postfix import Postfix

PROGRAMS = ("postfix", "postconf", "smtp-source")
LIMIT = 600.0
QUEUED_AS = re.compile(rb"with E?SMTP id (\w+)")
LENGTH = 3_000


def smtp_source_body(length: int) -> bytes:
    """Return what smtp-source makes up for a length: numbered lines of 80 octets, filled with X."""
    whole, rest = divmod(length, 80)
    lines = [b"%d" % (number % 10) + b"X" * 77 for number in range(1, whole + 1)]
    return b"\r\n".join([*lines, b"X" * rest, b""])


class PostfixTests(ClientTestCase):
    programs: ClassVar = PROGRAMS

    def setUp(self) -> None:
        super().setUp()
        self.postfix = Postfix(self.directory, self.lab.lmtp)
        self.addCleanup(self.postfix.stop)
        self.postfix.start()

    def test_everything_that_smtp_source_sends_arrives_once(self) -> None:
        wanted = messages_wanted(50)
        self.run_program(
            *("smtp-source", "-c", "-s", "8", "-m", str(wanted), "-l", str(LENGTH)),
            *("-f", "load@example.net", "-t", self.account.address, f"127.0.0.1:{self.postfix.port}"),
            timeout=LIMIT,
        )
        sent = self.postfix.wait_for("sent", wanted, LIMIT)
        found = oracle.held(self.lab, self.account)
        self.assertEqual(len(found), wanted)
        arrived = {match[1].decode() for one in found if (match := QUEUED_AS.search(one.data))}
        self.assertEqual(arrived, {re.search(r"\]: (\w+): to=", line)[1] for line in sent})
        (body,) = {one.data.partition(b"\r\n\r\n")[2] for one in found}
        self.assertEqual(body, smtp_source_body(LENGTH))
        self.assertEqual([one.uid for one in found], list(range(1, wanted + 1)))
        self.assertEqual(self.postfix.outcomes("deferred") + self.postfix.outcomes("bounced"), [])

    def test_bytes_arrive_as_they_were_sent(self) -> None:
        sent = corpus.messages(messages_wanted(21))
        with smtplib.SMTP("127.0.0.1", self.postfix.port) as client:
            for data in sent:
                client.sendmail("you@example.net", [self.account.address], data, mail_options=["BODY=8BITMIME"])
        self.postfix.wait_for("sent", len(sent), LIMIT)
        found = [oracle.without_trace(one.data) for one in oracle.held(self.lab, self.account)]
        self.assertEqual(sorted(found), sorted(sent))

    def test_one_message_to_several_is_answered_for_each(self) -> None:
        other = self.lab.account()
        recipients = [self.account.address, other.address.replace("@", "+detail@"), "nobody@example.org"]
        with smtplib.SMTP("127.0.0.1", self.postfix.port) as client:
            client.sendmail("", recipients, corpus.message(0))
        sent = self.postfix.wait_for("sent", 2, LIMIT)
        (bounced,) = self.postfix.wait_for("bounced", 1, LIMIT)
        self.assertIn("to=<nobody@example.org>", bounced)
        self.assertIn("550 5.1.1", bounced)
        self.assertEqual(len(sent), 2)
        for account in (self.account, other):
            (one,) = oracle.held(self.lab, account)
            self.assertEqual(oracle.without_trace(one.data), corpus.message(0))


class AwayTests(unittest.SynchronousTestCase):
    def test_what_comes_while_the_server_is_away_arrives_when_it_is_back(self) -> None:
        need(PROGRAMS)
        made = tempfile.TemporaryDirectory(prefix="sora-client-", ignore_cleanup_errors=True)
        self.addCleanup(made.cleanup)
        sent = corpus.messages(8)
        with Lab() as lab:
            account = lab.account()
            postfix = Postfix(Path(made.name), lab.lmtp)
            self.addCleanup(postfix.stop)
            postfix.start()
            with smtplib.SMTP("127.0.0.1", postfix.port) as client:
                client.sendmail("you@example.net", [account.address], sent[0])
                postfix.wait_for("sent", 1, LIMIT)
                lab.stop()
                for data in sent[1:]:
                    client.sendmail("you@example.net", [account.address], data, mail_options=["BODY=8BITMIME"])
            postfix.wait_for("deferred", len(sent) - 1, LIMIT)
            lab.start()
            postfix.wait_for("sent", len(sent), LIMIT)
            found = [oracle.without_trace(one.data) for one in oracle.held(lab, account)]
        self.assertEqual(sorted(found), sorted(sent))
