"""Changing messages: visible at once, never doubled, never OK when unsure."""

from twisted.trial import unittest

from sora.aio import start
from sora.core.errors import CommitUnknown, DatabaseUnavailable
from sora.core.flags import DELETED, Change
from sora.mail.change import Changer
from sora.store.model import FlagChange
from tests.unit.mail.post import Post


class ChangeTests(unittest.SynchronousTestCase):
    def setUp(self):
        self.post = Post(self)
        self.post.deliver(None, None, None)
        self.mailbox = self.post.open()
        self.changer = Changer(self.post.messages)
        self.post.mailboxes.calls.clear()

    def deafen(self):
        self.post.store.state.listeners.clear()

    def delete(self, *uids):
        return self.changer.store(self.mailbox, [FlagChange(uids, Change.ADD, DELETED, ())])

    def test_an_expunge_is_visible_without_another_query(self):
        self.deafen()
        self.post.done(self.delete(1, 3))
        gone = self.post.done(self.changer.expunge(self.mailbox, [1, 2], self.post.actor))
        self.assertEqual((gone, list(self.mailbox.version.uids)), ([1], [2, 3]))
        self.assertEqual(self.post.mailboxes.calls, [])

    def test_several_changes_in_one_store_are_all_visible(self):
        self.deafen()
        changes = [FlagChange((1,), Change.ADD, DELETED, ()), FlagChange((2,), Change.REPLACE, 0, ("a",))]
        self.post.done(self.changer.store(self.mailbox, changes))
        self.assertEqual((list(self.mailbox.version.flags), self.mailbox.version.keywords), ([8, 0, 0], {2: ("a",)}))

    def test_of_two_changes_of_one_message_in_one_store_the_last_is_visible(self):
        self.deafen()
        changes = [FlagChange((1,), Change.REPLACE, flags, words) for flags, words in ((8, ("a",)), (1, ("b",)))]
        self.post.done(self.changer.store(self.mailbox, changes))
        self.assertEqual((self.mailbox.version.flags[0], self.mailbox.version.keywords), (1, {1: ("b",)}))

    def test_a_store_or_expunge_whose_commit_is_unknown_is_an_error_and_shows_what_is(self):
        self.deafen()
        self.post.messages.failing["store"] = CommitUnknown("lost")
        self.failureResultOf(start(self.delete(1)), CommitUnknown)
        self.assertEqual(self.mailbox.version.flags[0], DELETED)
        self.post.messages.failing["expunge"] = CommitUnknown("lost")
        self.failureResultOf(start(self.changer.expunge(self.mailbox, None, self.post.actor)), CommitUnknown)
        self.assertEqual(list(self.mailbox.version.uids), [2, 3])

    def test_a_copy_into_the_open_mailbox_is_visible(self):
        self.deafen()
        copied = self.post.done(self.changer.copy(self.mailbox, [2], self.mailbox.row.id))
        self.assertEqual((copied.target, list(self.mailbox.version.uids)), ((4,), [1, 2, 3, 4]))

    def test_a_copy_elsewhere_asks_nothing_more(self):
        self.post.done(self.changer.copy(self.mailbox, [2], self.post.id("Sent")))
        self.assertEqual(self.post.mailboxes.calls, [])

    def test_a_move_takes_the_messages_away(self):
        self.deafen()
        moved = self.post.done(self.changer.move(self.mailbox, [1, 2], self.post.id("Sent"), self.post.actor))
        self.assertEqual((moved.source, list(self.mailbox.version.uids)), ((1, 2), [3]))

    def test_a_copy_whose_commit_is_unknown_is_an_error_and_not_repeated(self):
        self.post.messages.failing["copy"] = CommitUnknown("lost")
        self.post.messages.calls.clear()
        self.failureResultOf(start(self.changer.copy(self.mailbox, [2], self.post.id("Sent"))), CommitUnknown)
        self.assertEqual(self.post.messages.calls, ["copy"])
        self.assertEqual(list(self.post.open("Sent").version.uids), [1])

    def test_a_move_whose_commit_is_unknown_is_an_error_and_shows_what_is_left(self):
        self.deafen()
        self.post.messages.failing["move"] = CommitUnknown("lost")
        moving = start(self.changer.move(self.mailbox, [1], self.post.id("Sent"), self.post.actor))
        self.failureResultOf(moving, CommitUnknown)
        self.assertEqual(list(self.mailbox.version.uids), [2, 3])

    def test_an_unknown_commit_stays_unknown_when_the_database_is_away(self):
        self.deafen()
        self.post.messages.failing["move"] = CommitUnknown("lost")
        self.post.mailboxes.failing["changes"] = DatabaseUnavailable("away")
        moving = start(self.changer.move(self.mailbox, [1], self.post.id("Sent"), self.post.actor))
        self.failureResultOf(moving, CommitUnknown)

    def test_a_committed_move_stays_one_when_it_cannot_be_read_back(self):
        self.deafen()
        self.post.mailboxes.failing["changes"] = DatabaseUnavailable("away")
        moved = self.post.done(self.changer.move(self.mailbox, [1], self.post.id("Sent"), self.post.actor))
        self.assertEqual(moved.source, (1,))
