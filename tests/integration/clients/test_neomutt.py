"""neomutt reads, marks, copies, moves and deletes on its terminal, and files what it sends."""

import email
import email.policy
from pathlib import Path
from typing import ClassVar

from tests.integration.clients import corpus, maildirs, oracle
from tests.integration.clients.lab import ClientTestCase, messages_wanted
from tests.integration.clients.terminal import run_on_terminal

CONFIGURATION = """
set folder = "{scheme}://localhost:{port}/"
set spoolfile = "+INBOX"
set imap_user = "{user}"
set imap_pass = "{password}"
set certificate_file = "{certificate}"
set ssl_starttls = no
set ssl_force_tls = no
set imap_check_subscribed = no
set imap_condstore = yes
set imap_qresync = {qresync}
set header_cache = "{cache}"
set confirmappend = no
set confirmcreate = no
set delete = yes
set quit = yes
set move = no
set sort = mailbox-order
set mark_old = no
set sleep_time = 0
set wait_key = no
set pipe_decode = no
set mbox_type = Maildir
set record = "+Sent"
set postponed = "+Drafts"
set sendmail = "/bin/true"
set from = "{user}"
set realname = "Reader"
set crypt_autosign = no
set mailcap_path = ""
set editor = "/bin/true"
set abort_unmodified = no
set abort_noattach = no
"""
LIMIT = 300.0
# neomutt adds these to what it writes into a Maildir.
ADDED = (b"Status:", b"X-Status:", b"Content-Length:", b"Lines:")


class NeomuttTests(ClientTestCase):
    programs: ClassVar = ("neomutt",)

    def neomutt(self, *keys: str, tls: bool = False, qresync: bool | None = None) -> str:
        """Run neomutt on INBOX and press keys; the last is to quit, which writes the changes back.

        With `qresync` told, there is a header cache, and the screen ends with what was said to the server.
        """
        pushed = "".join(keys) + "<quit>"
        spoken = self.directory / "spoken"
        debugging = () if qresync is None else ("-d", "3", "-l", str(spoken))
        command = ("neomutt", "-n", *debugging, "-F", self.configure(tls, qresync), "-e", f"push '{pushed}'")
        screen = run_on_terminal(*command, home=self.directory, timeout=LIMIT)
        return screen if qresync is None else screen + Path(f"{spoken}0").read_text("utf-8", "replace")

    def configure(self, tls: bool, qresync: bool | None) -> str:
        file = self.directory / "neomuttrc"
        file.write_text(
            CONFIGURATION.format(
                scheme="imaps" if tls else "imap",
                port=self.lab.imaps if tls else self.lab.imap,
                user=self.account.address,
                password=self.account.password,
                certificate=self.lab.certificate,
                qresync="yes" if qresync else "no",
                cache="" if qresync is None else self.directory / "headers",
            )
        )
        return str(file)

    def flags(self) -> list[frozenset[str]]:
        return [one.flags for one in oracle.held(self.lab, self.account)]

    def test_saves_every_kind_of_message_with_its_bytes(self) -> None:
        sent = corpus.messages(messages_wanted(21))
        oracle.append(self.lab, self.account, sent)
        saved = self.directory / "saved"
        for tls in (False, True):
            self.neomutt(f"<tag-pattern>~A<enter><tag-prefix><copy-message>{saved}{tls}<enter>", tls=tls)
            found = [one.content(ADDED) for one in maildirs.filed(self.directory / f"saved{tls}")]
            self.assertEqual(sorted(found), sorted(map(oracle.digest, sent)))

    def test_reading_flagging_and_deleting_arrive_at_the_server(self) -> None:
        sent = corpus.messages(6)
        oracle.append(self.lab, self.account, sent)
        screen = self.neomutt(
            "<jump>2<enter><display-message><exit>",
            "<jump>3<enter><flag-message>",
            "<jump>5<enter><delete-message>",
            "<sync-mailbox>",
        )
        self.assertIn("message 00001", screen)
        left = oracle.held(self.lab, self.account)
        self.assertEqual([one.data for one in left], [*sent[:4], sent[5]])
        self.assertEqual(
            [one.flags for one in left],
            [frozenset(), frozenset({"\\Seen"}), frozenset({"\\Flagged"}), frozenset(), frozenset()],
        )

    def test_copies_and_moves_to_other_mailboxes(self) -> None:
        sent = corpus.messages(6)
        oracle.append(self.lab, self.account, sent, flags="(\\Flagged)")
        self.neomutt(
            "<jump>1<enter><copy-message>=Archive<enter>",
            "<tag-pattern>~m 3-4<enter><tag-prefix><save-message>=Moved<enter>",
        )
        self.assertEqual([one.data for one in oracle.held(self.lab, self.account)], [*sent[:2], *sent[4:]])
        for mailbox, expected in (("Archive", sent[:1]), ("Moved", sent[2:4])):
            found = oracle.held(self.lab, self.account, mailbox)
            self.assertEqual([one.data for one in found], expected)
            self.assertTrue(all("\\Flagged" in one.flags for one in found))

    def test_a_header_cache_is_brought_up_to_date_by_condstore(self) -> None:
        self.keep_a_cache(False, r"a\d+ UID FETCH 1:\d+ \(FLAGS\) \(CHANGEDSINCE \d+\)")

    def test_a_header_cache_is_brought_up_to_date_by_qresync(self) -> None:
        self.keep_a_cache(True, r"a\d+ UID FETCH 1:\d+ \(FLAGS\) \(CHANGEDSINCE \d+ VANISHED\)")

    def keep_a_cache(self, qresync: bool, asked: str) -> None:
        """Change the mailbox between two runs; what the second shows and marks is what there is then."""
        oracle.append(self.lab, self.account, corpus.messages(9))
        first = self.neomutt("<sync-mailbox>", qresync=qresync)
        self.assertIn("message 00008", first)
        oracle.change_flags(self.lab, self.account, [2], "+FLAGS (\\Answered)")
        oracle.expunge(self.lab, self.account, [4, 5])
        oracle.append(self.lab, self.account, [corpus.message(9)])
        second = self.neomutt(
            "<tag-pattern>~Q<enter><tag-prefix><flag-message>",
            "<untag-pattern>~A<enter><tag-pattern>message.00007<enter><tag-prefix><flag-message>",
            "<sync-mailbox>",
            qresync=qresync,
        )
        self.assertRegex(second, asked)
        self.assertIn("message 00009", second)
        self.assertNotRegex(second, r"S.*(?:BAD|NO) ")
        flags = {one.uid: one.flags for one in oracle.held(self.lab, self.account)}
        marked = {uid for uid, set_here in flags.items() if "\\Flagged" in set_here}
        self.assertEqual((sorted(flags), marked), ([1, 2, 3, 6, 7, 8, 9, 10], {2, 8}))

    def test_finds_by_the_server(self) -> None:
        oracle.append(self.lab, self.account, corpus.messages(14))
        self.neomutt("<tag-pattern>=b Köln<enter><tag-prefix><flag-message>", "<sync-mailbox>")
        marked = [number for number, flags in enumerate(self.flags()) if "\\Flagged" in flags]
        self.assertEqual(marked, [1, 8])

    def test_files_what_it_sends(self) -> None:
        attached = self.directory / "attached.bin"
        attached.write_bytes(bytes(range(256)))
        self.neomutt("<mail>a@b.example<enter>Liebe Grüße<enter><attach-file>attached.bin<enter><send-message>")
        (sent,) = oracle.held(self.lab, self.account, "Sent")
        message = email.message_from_bytes(sent.data, policy=email.policy.default)
        self.assertEqual(message["Subject"], "Liebe Grüße")
        (part,) = message.iter_attachments()
        self.assertEqual((part.get_filename(), part.get_content()), ("attached.bin", attached.read_bytes()))
        self.assertEqual(sent.flags, {"\\Seen"})
