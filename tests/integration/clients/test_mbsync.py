"""mbsync keeps a Maildir and an account the same, in both directions."""

from typing import ClassVar

from tests.integration.clients import corpus, maildirs, oracle
from tests.integration.clients.lab import ClientTestCase, messages_wanted

CONFIGURATION = """
IMAPAccount lab
Host localhost
Port {port}
User {user}
Pass {password}
SSLType IMAPS
CertificateFile {certificate}

IMAPStore far
Account lab

MaildirStore near
Path {directory}/mail/
Inbox {directory}/mail/INBOX
SubFolders Verbatim

Channel both
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
"""
# mbsync marks what it copies, wherever to, in order to recognise it.
MARK = (b"X-TUID:",)
LIMIT = 300.0


class MbsyncTests(ClientTestCase):
    programs: ClassVar = ("mbsync",)

    def setUp(self) -> None:
        super().setUp()
        self.inbox = self.directory / "mail" / "INBOX"
        (self.directory / "mail").mkdir()
        (self.directory / "mbsyncrc").write_text(
            CONFIGURATION.format(
                port=self.lab.imaps,
                user=self.account.address,
                password=self.account.password,
                certificate=self.lab.certificate,
                directory=self.directory,
            )
        )

    def mbsync(self) -> str:
        return self.run_program("mbsync", "--config", "mbsyncrc", "both", timeout=LIMIT).stdout

    def assert_same(self, count: int) -> dict[str, frozenset[str]]:
        far = oracle.by_content(oracle.held(self.lab, self.account), strip=MARK)
        near = maildirs.by_content(self.inbox, strip=MARK)
        self.assertEqual(len(far), count)
        self.assertEqual(near, far)
        return far

    def test_both_sides_become_and_stay_the_same(self) -> None:
        wanted = messages_wanted(40)
        half = wanted // 2
        there, here = corpus.messages(half), corpus.messages(wanted - half, first=half)
        oracle.append(self.lab, self.account, there)
        maildirs.make(self.inbox)
        maildirs.put(self.inbox, here, "first", "S")
        self.mbsync()
        table = self.assert_same(wanted)
        self.assertEqual(set(table), {oracle.digest(data) for data in there + here})
        self.assertEqual(sum(flags == {"\\Seen"} for flags in table.values()), len(here))
        self.change_both_sides(wanted)
        before = oracle.held(self.lab, self.account)
        self.mbsync()
        self.assertEqual(oracle.held(self.lab, self.account), before, "a run without news changes nothing")

    def change_both_sides(self, count: int) -> None:
        """Flags, deletions and new mail on both sides in one run; each tenth message is one part of it."""
        part = count // 10
        far = oracle.held(self.lab, self.account)
        uids = [one.uid for one in far]
        oracle.change_flags(self.lab, self.account, uids[:part], "+FLAGS (\\Flagged \\Seen)")
        oracle.change_flags(self.lab, self.account, uids[part : 2 * part], "+FLAGS (\\Answered)")
        gone_there = {one.content(MARK) for one in far[2 * part : 3 * part]}
        oracle.expunge(self.lab, self.account, uids[2 * part : 3 * part])
        later = {one.content(MARK) for one in far[3 * part :]}
        near = [one for one in maildirs.filed(self.inbox) if one.content(MARK) in later]
        for one in near[:part]:
            maildirs.reflag(one.path, "FRS")
        gone_here = {one.content(MARK) for one in near[part : 2 * part]}
        for one in near[part : 2 * part]:
            maildirs.remove(one.path)
        oracle.deliver(self.lab, self.account, corpus.messages(part, first=100_000))
        maildirs.put(self.inbox, corpus.messages(part, first=200_000), "second", "F")
        self.mbsync()
        table = self.assert_same(count)
        self.assertFalse(set(table) & (gone_here | gone_there))
        self.assertEqual(sum(flags == {"\\Flagged", "\\Answered", "\\Seen"} for flags in table.values()), part)

    def test_it_compresses(self) -> None:
        """isync knows neither CONDSTORE nor QRESYNC; of what it can, COMPRESS is what changes the stream."""
        oracle.append(self.lab, self.account, corpus.messages(7))
        maildirs.make(self.inbox)
        # The debugging output holds bodies as they are.
        said = self.run_program("mbsync", "-Dn", "--config", "mbsyncrc", "both", timeout=LIMIT)
        self.assertRegex(said.stdout + said.stderr, r"COMPRESS DEFLATE\r?\n(?s:.)*OK DEFLATE active")
        self.assert_same(7)

    def test_mailboxes_are_made_on_the_other_side(self) -> None:
        sent = corpus.messages(3)
        with oracle.signed_in(self.lab, self.account) as connection:
            oracle.checked(connection.create('"Far away"'))
        oracle.append(self.lab, self.account, sent, "Far away")
        maildirs.make(self.directory / "mail" / "Near by")
        maildirs.put(self.directory / "mail" / "Near by", sent, "near")
        self.mbsync()
        self.assertIn("Near by", oracle.mailboxes(self.lab, self.account))
        found = {one.content(MARK) for one in oracle.held(self.lab, self.account, "Near by")}
        self.assertEqual(found, set(map(oracle.digest, sent)))
        self.assertEqual(set(maildirs.by_content(self.directory / "mail" / "Far away", strip=MARK)), found)
