"""Every command that Python's imaplib offers."""

import contextlib
import imaplib
import ssl
from collections.abc import Callable
from typing import Any

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase
from tests.integration.clients.oracle import checked


def hang_up(client: imaplib.IMAP4) -> None:
    """Close the connection of a client that may have logged out."""
    with contextlib.suppress(OSError):
        client.shutdown()


class ImaplibTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()
        checked(self.client.login(self.account.address, self.account.password))

    def connect(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.lab.imap, timeout=20)
        self.addCleanup(hang_up, client)
        return client

    def fill(self, count: int, mailbox: str = "INBOX") -> None:
        oracle.append(self.lab, self.account, corpus.messages(count), mailbox)

    def test_signs_in_and_out_by_every_way(self) -> None:
        secret = f"\0{self.account.address}\0{self.account.password}".encode()
        plain = self.connect()
        checked(plain.authenticate("PLAIN", lambda _: secret))
        self.assertEqual(plain.logout()[0], "BYE")
        context = ssl.create_default_context(cafile=str(self.lab.certificate))
        tls = imaplib.IMAP4_SSL("localhost", self.lab.imaps, ssl_context=context, timeout=20)
        self.addCleanup(hang_up, tls)
        checked(tls.login(self.account.address, self.account.password))
        self.assertEqual(tls.logout()[0], "BYE")
        wrong = self.connect()
        self.assertRaisesRegex(imaplib.IMAP4.error, "AUTHENTICATIONFAILED", wrong.login, self.account.address, "no")
        checked(wrong.noop())

    def test_capability_namespace_enable_check_noop_recent_response(self) -> None:
        line = checked(self.client.capability())[-1]
        self.assertIn(b"IMAP4rev1", line.split())
        self.assertEqual(checked(self.client.namespace()), [b'(("" "/")) (("Other Users/" "/")) (("Shared/" "/"))'])
        checked(self.client.enable("CONDSTORE"))
        checked(self.client.select())
        checked(self.client.check())
        checked(self.client.noop())
        self.assertEqual(self.client.recent(), ("OK", [b"0"]))
        self.assertEqual(self.client.response("UIDVALIDITY")[0], "UIDVALIDITY")

    def test_makes_renames_subscribes_lists_and_deletes_mailboxes(self) -> None:
        client = self.client
        checked(client.create("Work"))
        checked(client.create('"Work/Plans &- more"'))
        checked(client.rename("Work", '"Old work"'))
        checked(client.subscribe('"Old work"'))
        self.assertEqual(oracle.mailboxes(self.lab, self.account) & {"Old work", "Work"}, {"Old work"})
        self.assertIn("Old work/Plans &- more", oracle.mailboxes(self.lab, self.account))
        self.assertEqual(len(checked(client.lsub('""', '"Old*"'))), 1)
        checked(client.unsubscribe('"Old work"'))
        self.assertEqual(client.lsub('""', '"Old work"'), ("OK", [None]))
        checked(client.delete('"Old work/Plans &- more"'))
        checked(client.delete('"Old work"'))
        self.assertEqual(client.list('""', '"Old*"'), ("OK", [None]))
        self.assertEqual(client.create("INBOX")[0], "NO")
        self.assertEqual(client.delete("Nowhere")[0], "NO")

    def test_appends_fetches_and_reads_status(self) -> None:
        sent = corpus.messages(7)
        for data in sent:
            checked(self.client.append("INBOX", "(\\Seen $Later)", '"02-Feb-2021 10:11:12 +0100"', data))
        (line,) = checked(self.client.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN RECENT)"))
        self.assertRegex(line, rb"MESSAGES 7 .*UIDNEXT 8 .*UNSEEN 0")
        self.assertEqual(checked(self.client.select()), [b"7"])
        for number, data in enumerate(sent, start=1):
            got = checked(self.client.fetch(str(number), "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))
            self.assertEqual(got[0][1], data)
            self.assertIn(b"RFC822.SIZE %d" % len(data), got[0][0])
            self.assertIn(b'"02-Feb-2021 10:11:12 +0100"', got[0][0].replace(b"09:11:12 +0000", b"10:11:12 +0100"))
        (_, header), *_ = checked(self.client.fetch("3", "(RFC822.HEADER)"))
        self.assertEqual(header, sent[2].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        for item in ("ENVELOPE", "BODY", "BODYSTRUCTURE", "ALL", "FULL", "FAST"):
            self.assertEqual(len(checked(self.client.fetch("1:*", item))), 7)

    def test_partial_reads_a_piece(self) -> None:
        self.fill(1)
        checked(self.client.select())
        got = checked(self.client.fetch("1", "(BODY.PEEK[]<10.20>)"))
        self.assertEqual(got[0][1], corpus.message(0)[10:30])

    def test_stores_copies_moves_and_expunges(self) -> None:
        self.fill(6)
        checked(self.client.select())
        checked(self.client.store("1:2", "+FLAGS", "(\\Deleted \\Answered)"))
        checked(self.client.store("3", "FLAGS", "(\\Draft)"))
        checked(self.client.store("3", "-FLAGS", "\\Draft"))
        checked(self.client.copy("3:4", "Archive"))
        checked(self.client.uid("COPY", "5", "Archive"))
        checked(self.client.uid("MOVE", "6", "Trash"))
        # The first is that of the MOVE; the order of the others is the server's to choose.
        self.assertIn(checked(self.client.expunge()), ([b"6", b"2", b"1"], [b"6", b"1", b"1"]))
        self.assertEqual([one.uid for one in oracle.held(self.lab, self.account)], [3, 4, 5])
        archived = [one.data for one in oracle.held(self.lab, self.account, "Archive")]
        self.assertEqual(archived, corpus.messages(3, first=2))
        self.assertEqual(oracle.held(self.lab, self.account, "Trash")[0].data, corpus.message(5))
        self.assertEqual(self.client.copy("1", "Nowhere")[0], "NO")

    def test_searches(self) -> None:
        self.fill(14)
        checked(self.client.select())
        checked(self.client.store("2,4", "+FLAGS", "(\\Flagged)"))
        expected = {
            "ALL": range(1, 15),
            "FLAGGED": (2, 4),
            'SUBJECT "00003"': (4,),
            "NOT FLAGGED 1:5": (1, 3, 5),
            "OR SUBJECT 00001 SUBJECT 00002": (2, 3),
            "SENTON 3-Mar-2024": (3,),
            "LARGER 1000000": (),
        }
        for criteria, numbers in expected.items():
            got = checked(self.client.search(None, criteria))[0]
            self.assertEqual(tuple(map(int, got.split())), tuple(numbers), criteria)
        self.client.literal = "Köln".encode()
        got = checked(self.client.search("UTF-8", "BODY"))[0]
        self.assertEqual(got, b"2 9")
        got = checked(self.client.uid("SEARCH", "HEADER Message-ID 13.lab"))[0]
        self.assertEqual(got, b"14")

    def test_closes_and_unselects(self) -> None:
        self.fill(2)
        checked(self.client.select())
        checked(self.client.store("1", "+FLAGS", "(\\Deleted)"))
        checked(self.client.unselect())
        self.assertEqual(checked(self.client.select()), [b"2"])
        checked(self.client.close())
        self.assertEqual([one.uid for one in oracle.held(self.lab, self.account)], [2])
        checked(self.client.select(readonly=True))
        self.assertEqual(self.client.store("1", "+FLAGS", "(\\Seen)")[0], "NO")

    def test_what_is_not_offered_is_refused_and_the_session_stays_in_step(self) -> None:
        self.fill(1)
        client = self.client
        checked(client.select())
        asked: tuple[tuple[str, Callable[[], Any]], ...] = (
            ("ACL", lambda: client.getacl("INBOX")),
            ("ACL", lambda: client.setacl("INBOX", "other", "lr")),
            ("ACL", lambda: client.deleteacl("INBOX", "other")),
            ("ACL", lambda: client.myrights("INBOX")),
            ("QUOTA", lambda: client.getquota("")),
            ("QUOTA", lambda: client.getquotaroot("INBOX")),
            ("QUOTASET", lambda: client.setquota("", "(STORAGE 1)")),
            ("ANNOTATEMORE", lambda: client.getannotation("INBOX", '"/comment"', '"value.shared"')),
            ("ANNOTATEMORE", lambda: client.setannotation("INBOX", '"/comment"', '("value.shared" "x")')),
            ("AUTH=CRAM-MD5", lambda: client.login_cram_md5("a", "b")),
            ("XPROXYAUTH", lambda: client.proxyauth("other")),
            ("XPARTIAL", lambda: client.partial("1", "RFC822", "1", "10")),
            ("SORT", lambda: client.sort("(SUBJECT)", "UTF-8", "ALL")),
            ("THREAD=REFERENCES", lambda: client.thread("REFERENCES", "UTF-8", "ALL")),
            ("XNONSENSE", lambda: client.xatom("XNONSENSE")),
        )
        offered = checked(client.capability())[0].decode().split()
        refused = 0
        for capability, ask in asked:
            if capability in offered:
                continue
            try:
                status = ask()[0]
            except imaplib.IMAP4.abort:
                raise
            except imaplib.IMAP4.error:
                status = "BAD"
            self.assertIn(status, ("BAD", "NO"), capability)
            checked(client.noop())
            refused += 1
        self.assertGreater(refused, 5)
        self.assertEqual(len(checked(client.fetch("1", "(UID)"))), 1)

    def test_what_is_offered_beyond_the_base_works(self) -> None:
        self.fill(3)
        client = self.client
        checked(client.select())
        self.assertEqual(checked(client.sort("(ARRIVAL)", "UTF-8", "ALL"))[0].split(), [b"1", b"2", b"3"])
        self.assertEqual(checked(client.thread("REFERENCES", "UTF-8", "ALL"))[0].count(b"("), 3)
        roots, quotas = checked(client.getquotaroot("INBOX"))
        self.assertIn(self.account.address.encode(), roots[0])
        self.assertIn(self.account.address.encode(), quotas[0])
