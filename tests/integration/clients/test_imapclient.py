"""imapclient, the library that Python programs use: what it makes of the answers, as numbers, names and dates."""

import ssl
from datetime import date
from typing import Any

from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import Account, ClientTestCase

SUBJECTS = ("Budget", "Grüße aus Köln", "Re: Budget", "apples", "Re: Budget")


def conversation() -> list[bytes]:
    """Return five messages, of which the third answers the first and the last the third."""
    before = {2: "<0@lab>", 4: "<0@lab> <2@lab>"}
    return [
        (
            f"From: Sender {4 - number} <s{number}@example.net>\r\nTo: reader@example.org\r\nSubject: {subject}\r\n"
            f"Date: {number + 1:02d} Mar 2024 10:00:00 +0000\r\nMessage-ID: <{number}@lab>\r\n"
            + (f"References: {before[number]}\r\n" if number in before else "")
            + f"Content-Type: text/plain; charset=utf-8\r\n\r\n{'x' * number} Straße\r\n"
        ).encode()
        for number, subject in enumerate(SUBJECTS)
    ]


class ImapclientTests(ClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect(self.account)

    def connect(self, account: Account) -> Any:
        context = ssl.create_default_context(cafile=str(self.lab.certificate))
        client = IMAPClient("localhost", self.lab.imaps, ssl_context=context, timeout=20)
        self.addCleanup(client.shutdown)
        client.login(account.address, account.password)
        return client

    def select_conversation(self) -> Any:
        oracle.append(self.lab, self.account, conversation())
        return self.client.select_folder("INBOX")

    def test_signs_in_and_says_who_it_is(self) -> None:
        self.assertIn(b"IMAP4REV1", self.client.capabilities())
        self.assertIn(b"sora", self.client.id_({"name": "imapclient"})[0])
        self.assertRaises(LoginError, self.connect, Account(self.account.address, "wrong"))

    def test_selects_and_fetches(self) -> None:
        selected = self.select_conversation()
        self.assertEqual((selected[b"EXISTS"], selected[b"UIDNEXT"], selected[b"READ-WRITE"]), (5, 6, True))
        fetched = self.client.fetch([1, 2], ["ENVELOPE", "FLAGS", "BODYSTRUCTURE", "INTERNALDATE", "BODY.PEEK[]"])
        first = fetched[1]
        self.assertEqual(first[b"ENVELOPE"].subject, b"Budget")
        self.assertEqual(first[b"ENVELOPE"].date.date(), date(2024, 3, 1))
        self.assertEqual(str(first[b"ENVELOPE"].from_[0]), "Sender 4 <s0@example.net>")
        self.assertEqual(first[b"BODYSTRUCTURE"][:3], (b"text", b"plain", (b"charset", b"utf-8")))
        self.assertEqual((first[b"FLAGS"], first[b"INTERNALDATE"].date()), ((b"\\Recent",), date(2024, 3, 1)))
        self.assertEqual(fetched[2][b"BODY[]"], conversation()[1])

    def test_searches_sorts_and_threads(self) -> None:
        self.select_conversation()
        client = self.client
        self.assertEqual(client.search(["SUBJECT", "GRÜSSE"], charset="UTF-8"), [2])
        self.assertEqual(client.search(["NOT", ["SUBJECT", "budget", "SINCE", date(2024, 3, 2)]]), [1, 2, 3, 4, 5])
        self.assertEqual(client.search(["TEXT", "strasse"]), [1, 2, 3, 4, 5])
        self.assertEqual(client.sort("REVERSE DATE"), [5, 4, 3, 2, 1])
        self.assertEqual(client.sort(["SUBJECT", "REVERSE DATE"], ["SUBJECT", "budget"]), [5, 3, 1])
        self.assertEqual(client.sort("FROM"), [1, 2, 3, 4, 5])
        sizes = [len(data) for data in conversation()]
        self.assertEqual(client.sort("SIZE"), sorted(range(1, 6), key=lambda uid: sizes[uid - 1]))
        self.assertEqual(client.thread(), ((1, 3, 5), (2,), (4,)))
        self.assertEqual(client.thread("ORDEREDSUBJECT", ["SUBJECT", "budget"]), ((1, (3,), (5,)),))

    def test_copies_moves_and_expunges(self) -> None:
        self.select_conversation()
        client = self.client
        client.create_folder("Bücher & Mehr")
        self.assertIn("Bücher & Mehr", [name for _, _, name in client.list_folders()])
        client.copy([1, 2], "Bücher & Mehr")
        client.move([3], "Trash")
        client.delete_messages([4])
        client.uid_expunge([4])
        self.assertEqual(client.search(), [1, 2, 5])
        self.assertEqual(client.folder_status("Bücher & Mehr", ["MESSAGES"]), {b"MESSAGES": 2})
        self.assertEqual(client.find_special_folder(b"\\Trash"), "Trash")
        self.assertEqual(client.set_flags([1], [b"\\Flagged"]), {1: (b"\\Flagged", b"\\Recent")})
        self.assertEqual(client.add_flags([1], [b"$Later"]), {1: (b"\\Flagged", b"\\Recent", b"$Later")})
        self.assertEqual(client.remove_flags([1], [b"\\Flagged"]), {1: (b"\\Recent", b"$Later")})

    def test_is_told_while_it_idles(self) -> None:
        self.select_conversation()
        client = self.client
        client.idle()
        oracle.deliver(self.lab, self.account, [corpus.message(0)])
        told = client.idle_check(timeout=20)
        self.assertIn((6, b"EXISTS"), told)
        oracle.expunge(self.lab, self.account, [2])
        told = client.idle_check(timeout=20)
        while not any(line[-1] == b"EXPUNGE" for line in told):
            told = client.idle_check(timeout=20)
        self.assertIn((2, b"EXPUNGE"), told)
        client.idle_done()
        self.assertEqual(client.search(), [1, 3, 4, 5, 6])

    def test_asks_for_what_has_changed(self) -> None:
        client = self.client
        self.assertEqual(client.enable("CONDSTORE"), [b"CONDSTORE"])
        before = self.select_conversation()[b"HIGHESTMODSEQ"]
        oracle.change_flags(self.lab, self.account, [2, 4], "+FLAGS (\\Seen)")
        changed = client.fetch(client.search(), ["FLAGS"], [f"CHANGEDSINCE {before}"])
        flags = (b"\\Seen", b"\\Recent")
        self.assertEqual({uid: data[b"FLAGS"] for uid, data in changed.items()}, {2: flags, 4: flags})
        found = client.search(["MODSEQ", str(before + 1)])
        self.assertEqual((found, found.modseq), ([2, 4], changed[4][b"MODSEQ"][0]))

    def test_reads_quotas_and_namespaces(self) -> None:
        personal, others, shared = self.client.namespace()
        self.assertEqual((personal, others, shared), ((("", "/"),), (("Other Users/", "/"),), (("Shared/", "/"),)))
        roots, _ = self.client.get_quota_root("INBOX")
        self.assertEqual((roots.mailbox, roots.quota_roots), ("INBOX", [f"#user/{self.account.address}"]))

    def test_shares_a_mailbox(self) -> None:
        client, other = self.client, self.lab.account()
        client.create_folder("Team")
        client.setacl("Team", other.address, "lrs")
        self.assertIn((other.address.encode(), b"lrs"), client.getacl("Team"))
        theirs = self.connect(other)
        name = f"Other Users/{self.account.address.partition('@')[0]}/Team"
        self.assertIn(name, [one for _, _, one in theirs.list_folders()])
        client.append("Team", corpus.message(1))
        self.assertEqual(theirs.select_folder(name)[b"EXISTS"], 1)
        self.assertEqual(theirs.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"], corpus.message(1))
        theirs.unselect_folder()
        # As written: imapclient puts no quotes around rights.
        client.setacl("Team", other.address, '""')
        self.assertFalse(theirs.folder_exists(name))
