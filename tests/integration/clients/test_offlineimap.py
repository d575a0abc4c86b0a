"""offlineimap keeps a Maildir and an account the same, in both directions."""

from typing import ClassVar

from tests.integration.clients import corpus, maildirs, oracle
from tests.integration.clients.lab import ClientTestCase, messages_wanted

CONFIGURATION = """
[general]
accounts = lab
metadata = {directory}/metadata

[Account lab]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {directory}/mail

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {certificate}
usecompression = {compression}
folderfilter = lambda name: name in ("INBOX", "Archive", "Near")
"""
# offlineimap marks what it uploads in order to recognise it.
MARK = (b"X-OfflineIMAP:",)
LIMIT = 600.0


class OfflineimapTests(ClientTestCase):
    programs: ClassVar = ("offlineimap",)

    def setUp(self) -> None:
        super().setUp()
        self.inbox = self.directory / "mail" / "INBOX"
        self.configure()

    def configure(self, compression: str = "no") -> None:
        (self.directory / "offlineimaprc").write_text(
            CONFIGURATION.format(
                port=self.lab.imaps,
                user=self.account.address,
                password=self.account.password,
                certificate=self.lab.certificate,
                compression=compression,
                directory=self.directory,
            )
        )

    def offlineimap(self, *options: str) -> str:
        done = self.run_program(
            "offlineimap", "-c", "offlineimaprc", "-o", "-1", "-u", "basic", *options, timeout=LIMIT
        )
        return done.stdout + done.stderr

    def assert_same(self, count: int) -> dict[str, frozenset[str]]:
        far = oracle.by_content(oracle.held(self.lab, self.account), strip=MARK)
        near = maildirs.by_content(self.inbox, strip=MARK)
        self.assertEqual(len(far), count)
        self.assertEqual(near, far)
        return far

    def test_both_sides_become_and_stay_the_same(self) -> None:
        wanted = messages_wanted(20)
        part = wanted // 10
        oracle.append(self.lab, self.account, corpus.messages(wanted))
        self.offlineimap()
        self.assertEqual(set(self.assert_same(wanted)), {oracle.digest(data) for data in corpus.messages(wanted)})
        uids = [one.uid for one in oracle.held(self.lab, self.account)]
        oracle.change_flags(self.lab, self.account, uids[:part], "+FLAGS (\\Flagged \\Seen)")
        oracle.expunge(self.lab, self.account, uids[part : 2 * part])
        near = {one.content(MARK): one for one in maildirs.filed(self.inbox)}
        ours = [near[oracle.digest(corpus.message(number))] for number in range(2 * part, 4 * part)]
        for one in ours[:part]:
            maildirs.reflag(one.path, "FRS")
        for one in ours[part:]:
            maildirs.remove(one.path)
        oracle.deliver(self.lab, self.account, corpus.messages(part, first=100_000))
        maildirs.put(self.inbox, corpus.messages(part, first=200_000), "new", "F")
        self.offlineimap()
        table = self.assert_same(wanted)
        self.assertFalse(set(table) & {one.content(MARK) for one in ours[part:]})
        self.assertEqual(sum(flags == {"\\Flagged", "\\Answered", "\\Seen"} for flags in table.values()), part)
        self.assertEqual(sum(flags == {"\\Flagged"} for flags in table.values()), part)

    def test_it_compresses(self) -> None:
        """offlineimap knows neither CONDSTORE nor QRESYNC; of what it can, COMPRESS is what changes the stream."""
        oracle.append(self.lab, self.account, corpus.messages(7))
        self.configure(compression="yes")
        said = self.offlineimap("-d", "imap")
        self.assertRegex(said, r"COMPRESS DEFLATE(?s:.)*OK DEFLATE active")
        self.assert_same(7)

    def test_a_mailbox_made_here_is_made_there(self) -> None:
        sent = corpus.messages(3)
        maildirs.make(self.directory / "mail" / "Near")
        maildirs.put(self.directory / "mail" / "Near", sent, "near")
        self.offlineimap()
        found = {one.content(MARK) for one in oracle.held(self.lab, self.account, "Near")}
        self.assertEqual(found, set(map(oracle.digest, sent)))
