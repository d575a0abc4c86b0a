"""Mailbox names and what users do with mailboxes."""

from twisted.trial import unittest

from sora.aio import start
from sora.core.errors import Impossible, LimitReached, MailboxExists, MailboxNameInvalid
from sora.mail.mailboxes import MailboxUseCases, canonical, valid
from tests.unit.mail.post import Post


class NameTests(unittest.SynchronousTestCase):
    def test_inbox_is_inbox_in_any_case_as_the_first_level_only(self):
        self.assertEqual(canonical("inBox"), "INBOX")
        self.assertEqual(canonical("inbox/a"), "INBOX/a")
        self.assertEqual(canonical("a/inbox"), "a/inbox")
        self.assertEqual(canonical("inboxes"), "inboxes")

    def test_names_are_composed_and_one_separator_at_the_end_is_dropped(self):
        self.assertEqual(valid("Cafe\u0301/"), "Caf\u00e9")

    def test_names_nobody_could_use_are_refused(self):
        for name in ("", "/", "/a", "a//b", "a/./b", "..", "a\0b", "a\r\nb", "a\ud800", "a*", "%", "a//"):
            self.assertRaises(MailboxNameInvalid, valid, name)

    def test_long_and_deep_names_reach_a_limit(self):
        self.assertRaises(LimitReached, valid, "ä" * 501)
        self.assertRaises(LimitReached, valid, "/".join("a" * 33))
        self.assertEqual(valid("/".join("a" * 32)), "/".join("a" * 32))


class UseCaseTests(unittest.SynchronousTestCase):
    def setUp(self):
        self.post = Post(self)
        self.cases = MailboxUseCases(self.post.store.mailboxes)

    def names(self):
        return {row.name for row in self.post.done(self.cases.listing(self.post.account)).mailboxes}

    def refused(self, error, work):
        self.failureResultOf(start(work), error)

    def test_a_new_account_has_the_usual_mailboxes_with_their_use_subscribed(self):
        rows = self.post.done(self.cases.listing(self.post.account)).mailboxes
        uses = {row.name: row.special_use for row in rows}
        self.assertEqual(
            uses,
            {"INBOX": None} | {name: f"\\{name}" for name in ("Archive", "Drafts", "Junk", "Sent", "Trash")},
        )
        self.assertTrue(all(row.subscribed for row in rows))

    def test_inbox_can_neither_be_created_nor_deleted(self):
        post = self.post
        self.refused(MailboxExists, self.cases.create(post.account, "Inbox"))
        self.refused(Impossible, self.cases.delete(post.account, "inbox", post.actor))

    def test_create_makes_the_levels_above_and_find_takes_any_spelling_of_inbox(self):
        self.post.done(self.cases.create(self.post.account, "a/b/"))
        self.assertLessEqual({"a", "a/b"}, self.names())
        self.assertEqual(self.post.done(self.cases.find(self.post.account, "iNBOX")).name, "INBOX")

    def test_a_mailbox_cannot_be_renamed_below_itself_nor_over_another(self):
        post = self.post
        self.refused(Impossible, self.cases.rename(post.account, "Sent", "Sent/old", post.actor))
        self.refused(MailboxExists, self.cases.rename(post.account, "Sent", "sent".title(), post.actor))
        self.refused(MailboxExists, self.cases.rename(post.account, "Sent", "inbox", post.actor))
        self.refused(MailboxExists, self.cases.rename(post.account, "Sent", "Junk", post.actor))

    def test_renaming_inbox_moves_its_messages_and_leaves_it(self):
        self.post.deliver()
        self.post.done(self.cases.rename(self.post.account, "INBOX", "INBOX/old", self.post.actor))
        self.assertLessEqual({"INBOX", "INBOX/old"}, self.names())
        rows = {row.name: row.messages for row in self.post.done(self.cases.listing(self.post.account)).mailboxes}
        self.assertEqual((rows["INBOX"], rows["INBOX/old"]), (0, 1))
