"""curl lists, fetches, searches, uploads and changes, with and without TLS."""

from typing import ClassVar

from tests.integration.clients import corpus, oracle
from tests.integration.clients.lab import ClientTestCase

UNTRUSTED = 60
LOGIN_DENIED = 67


class CurlTests(ClientTestCase):
    programs: ClassVar = ("curl",)

    def curl(self, path: str, *options: str, tls: bool = False, password: str | None = None, expect: int = 0) -> str:
        secret = self.account.password if password is None else password
        (self.directory / "curlrc").write_text(f'user = "{self.account.address}:{secret}"\n')
        scheme, port = ("imaps", self.lab.imaps) if tls else ("imap", self.lab.imap)
        command = ("curl", "--silent", "--show-error", "--max-time", "20", "--config", "curlrc", *options)
        return self.run_program(*command, f"{scheme}://127.0.0.1:{port}/{path}", expect=expect).stdout

    def trusting(self) -> tuple[str, str]:
        return "--cacert", str(self.lab.certificate)

    def test_lists_mailboxes(self) -> None:
        for tls in (False, True):
            said = self.curl("", *self.trusting(), tls=tls)
            self.assertIn('* LIST (\\HasNoChildren) "/" INBOX', said.replace('"INBOX"', "INBOX"))
            self.assertIn("\\Sent", said)

    def test_fetches_every_kind_of_message_with_its_bytes(self) -> None:
        sent = corpus.messages(7)
        oracle.append(self.lab, self.account, sent)
        for number, data in enumerate(sent, start=1):
            tls = bool(number % 2)
            key = "UID" if number % 3 else "MAILINDEX"
            self.curl(f"INBOX;{key}={number}", "--output", f"{number}.eml", *self.trusting(), tls=tls)
            self.assertEqual((self.directory / f"{number}.eml").read_bytes(), data)

    def test_fetches_a_section(self) -> None:
        oracle.append(self.lab, self.account, corpus.messages(1))
        said = self.curl("INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)")
        self.assertIn("Subject: message 00000", said)
        self.assertNotIn("From:", said)

    def test_uploads_messages_with_their_bytes(self) -> None:
        sent = corpus.messages(7)
        for number, data in enumerate(sent):
            (self.directory / "up.eml").write_bytes(data)
            self.curl("Drafts", "--upload-file", "up.eml", *self.trusting(), tls=bool(number % 2))
        self.assertEqual([one.data for one in oracle.held(self.lab, self.account, "Drafts")], sent)

    def test_searches(self) -> None:
        oracle.append(self.lab, self.account, corpus.messages(12))
        oracle.change_flags(self.lab, self.account, [3, 4], "+FLAGS (\\Flagged)")
        self.assertEqual(self.curl("INBOX?SUBJECT%2000007").strip(), "* SEARCH 8")
        self.assertEqual(self.curl("INBOX?FLAGGED").strip(), "* SEARCH 3 4")
        self.assertEqual(self.curl("INBOX?UID%2011:*%20UNSEEN", *self.trusting(), tls=True).strip(), "* SEARCH 11 12")

    def test_makes_mailboxes_and_changes_flags_by_commands_of_its_own(self) -> None:
        oracle.append(self.lab, self.account, corpus.messages(3))
        self.curl("", "--request", "CREATE Projects/2024")
        self.curl("INBOX", "--request", "STORE 2 +FLAGS (\\Deleted)")
        self.curl("INBOX", "--request", "COPY 1,3 Projects/2024")
        self.curl("INBOX", "--request", "EXPUNGE")
        self.assertEqual([one.uid for one in oracle.held(self.lab, self.account)], [1, 3])
        copies = [one.data for one in oracle.held(self.lab, self.account, "Projects/2024")]
        self.assertEqual(copies, [corpus.message(0), corpus.message(2)])

    def test_does_not_trust_an_unknown_certificate(self) -> None:
        self.curl("", tls=True, expect=UNTRUSTED)

    def test_is_refused_with_a_wrong_password(self) -> None:
        self.curl("", password="wrong", expect=LOGIN_DENIED)
