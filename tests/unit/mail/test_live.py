"""Mailboxes in memory: shared, refreshed with one query, and never behind what was promised."""

from twisted.internet.defer import CancelledError
from twisted.trial import unittest

from sora.aio import start
from sora.core.errors import DatabaseUnavailable, NoSuchMailbox
from sora.core.flags import DELETED, SEEN, Change
from sora.core.rights import ALL, Edit
from sora.mail.change import Changer
from sora.mail.live import Live
from sora.mail.sharing import Settings, Sharing
from sora.store.model import FlagChange, NewMailbox
from tests.contract.mail import new_message
from tests.unit.mail.post import Post


class LiveTests(unittest.SynchronousTestCase):
    def setUp(self):
        self.post = Post(self)

    def test_an_unknown_mailbox_is_an_error(self):
        self.failureResultOf(start(self.post.live.open(self.post.account, "No", claim_recent=True)), NoSuchMailbox)

    def test_two_sessions_share_one_version(self):
        self.post.deliver(None, None)
        first, second = self.post.open(), self.post.open()
        self.assertIs(first.version, second.version)

    def test_a_known_mailbox_is_opened_with_one_query_for_its_changes(self):
        self.post.deliver(None, None)
        self.post.open().close()
        self.post.mailboxes.calls.clear()
        again = self.post.open()
        self.assertEqual(self.post.mailboxes.calls, ["changes"])
        self.assertEqual((list(again.version.uids), again.recent_from), ([1, 2], 3))

    def test_mail_that_came_while_nobody_had_it_open_is_there_and_recent(self):
        self.post.deliver()
        self.post.open().close()
        self.post.deliver()
        examined = self.post.open(claim_recent=False)
        self.assertEqual((list(examined.version.uids), examined.recent_from), ([1, 2], 2))
        examined.close()
        selected = self.post.open()
        self.assertEqual(selected.recent_from, 2)
        selected.close()
        self.assertEqual(self.post.open().recent_from, 3)

    def test_new_mail_is_claimed_by_the_query_for_changes(self):
        post = self.post
        post.deliver(None)
        post.open().close()
        post.deliver(None, None)
        post.mailboxes.calls.clear()
        first, second = post.open(), post.open()
        self.assertEqual(post.mailboxes.calls, ["changes", "changes"])
        self.assertEqual((first.recent_from, second.recent_from), (2, 4))
        self.assertEqual(list(second.version.uids), [1, 2, 3])

    def opened_since(self, modseq):
        return start(self.post.live.open(self.post.account, "INBOX", claim_recent=False, vanished_since=modseq))

    def test_what_left_comes_with_the_query_that_opens_a_mailbox_known_or_not(self):
        post = self.post
        uids = post.deliver(None, None, None, flags=DELETED)
        since = post.done(post.store.mailboxes.find(post.account, "INBOX")).highest_modseq
        post.done(post.store.messages.expunge(post.id("INBOX"), uids[:2], post.actor))
        for call in ("open", "changes"):
            post.mailboxes.calls.clear()
            opened = self.successResultOf(self.opened_since(since))
            self.assertEqual((post.mailboxes.calls, list(opened.departed)), ([call], uids[:2]))
            self.assertEqual(list(opened.opened.uids), uids[2:])
        self.assertIsNone(self.successResultOf(self.opened_since(since + 9)).departed)

    def test_what_left_is_not_known_if_another_answer_has_overtaken_this_one(self):
        post = self.post
        uids = post.deliver(None, None, flags=DELETED)
        mailbox = post.open()
        since = mailbox.version.modseq
        post.mailboxes.holding.add("changes")
        opening = self.opened_since(since)
        post.done(Changer(post.messages).expunge(mailbox, uids[:1], post.actor))
        post.mailboxes.release()
        opened = self.successResultOf(opening)
        self.assertIsNone(opened.departed)
        self.assertEqual(list(opened.opened.uids), uids[1:])

    def test_what_left_is_not_asked_where_nothing_can_have(self):
        post = self.post
        post.deliver(flags=DELETED)
        mailbox = post.open()
        post.mailboxes.calls.clear()
        self.assertEqual(list(post.done(mailbox.departed_since(mailbox.version.modseq))), [])
        self.assertEqual(post.mailboxes.calls, [])
        since = mailbox.version.modseq
        post.done(Changer(post.messages).expunge(mailbox, None, post.actor))
        self.assertEqual(list(post.done(mailbox.departed_since(since))), [1])

    def test_a_name_that_leads_to_another_mailbox_now_is_followed(self):
        post = self.post
        post.deliver(name="Sent")
        old = post.open("Sent")
        post.done(post.store.mailboxes.rename(post.account, "Sent", "Old"))
        post.done(post.store.mailboxes.create(post.account, NewMailbox("Sent")))
        new = post.open("Sent")
        self.assertNotEqual(new.row.id, old.row.id)
        self.assertEqual(list(new.version.uids), [])

    def test_the_feed_brings_a_new_version_and_tells_the_listeners(self):
        mailbox = self.post.open()
        heard = []
        cancel = mailbox.listen(lambda: heard.append(list(mailbox.version.uids)))
        self.post.deliver()
        self.assertEqual(heard, [[1]])
        cancel()
        self.post.deliver()
        self.assertEqual(heard, [[1]])

    def test_mail_committed_while_the_mailbox_was_being_opened_is_not_missed(self):
        post = self.post
        post.mailboxes.holding.add("open")
        opening = start(post.live.open(post.account, "INBOX", claim_recent=True))
        post.deliver()
        post.mailboxes.release()
        self.assertEqual(list(self.successResultOf(opening).version.uids), [1])

    def test_a_deleted_mailbox_is_told_and_not_an_error(self):
        post = self.post
        mailbox = post.open("Junk")
        heard = []
        mailbox.listen(lambda: heard.append(mailbox.deleted))
        post.done(post.store.mailboxes.delete(post.account, "Junk", post.actor))
        self.assertEqual(heard, [True])
        post.done(mailbox.refresh())
        self.assertTrue(mailbox.deleted)
        mailbox.close()
        self.failureResultOf(start(post.live.open(post.account, "Junk", claim_recent=True)), NoSuchMailbox)

    def test_refreshes_at_once_are_one_query_in_flight_and_one_queued(self):
        post = self.post
        mailbox = post.open()
        post.mailboxes.calls.clear()
        post.mailboxes.holding.add("changes")
        first = start(mailbox.refresh())
        later = [start(mailbox.refresh()) for _ in range(5)]
        self.assertEqual(post.mailboxes.calls, ["changes"])
        post.mailboxes.release()
        self.successResultOf(first)
        for one in later:
            self.assertNoResult(one)
        post.mailboxes.release()
        for one in later:
            self.successResultOf(one)
        self.assertEqual(post.mailboxes.calls, ["changes", "changes"])

    def test_a_cancelled_refresh_harms_no_other(self):
        post = self.post
        mailbox = post.open()
        post.mailboxes.holding.add("changes")
        first, second = start(mailbox.refresh()), start(mailbox.refresh())
        third = start(mailbox.refresh())
        second.cancel()
        self.failureResultOf(second, CancelledError)
        post.mailboxes.release()
        post.mailboxes.release()
        self.successResultOf(first)
        self.successResultOf(third)

    def test_a_failed_refresh_fails_its_waiters_and_the_next_one_works(self):
        post = self.post
        mailbox = post.open()
        post.mailboxes.failing["changes"] = DatabaseUnavailable("away")
        self.failureResultOf(start(mailbox.refresh()), DatabaseUnavailable)
        post.done(mailbox.refresh())

    def test_a_lost_feed_makes_everybody_look_again(self):
        post = self.post
        mailbox = post.open()
        listeners, post.store.state.listeners = post.store.state.listeners, {}
        post.deliver()
        self.assertEqual(list(mailbox.version.uids), [])
        post.store.state.listeners = listeners
        post.store.lose_feed()
        self.assertEqual(list(mailbox.version.uids), [1])

    def test_few_idle_mailboxes_are_kept_and_none_is_listened_to(self):
        post = Post(self, idle_mailboxes_max=1)
        for name in ("INBOX", "Sent"):
            post.open(name).close()
        self.assertEqual(post.store.state.listeners, {})
        post.mailboxes.calls.clear()
        post.open("Sent")
        post.open("INBOX")
        self.assertEqual(post.mailboxes.calls, ["changes", "open"])

    def test_a_mailbox_closed_twice_is_left_once(self):
        one, two = self.post.open(), self.post.open()
        one.close()
        one.close()
        self.post.deliver()
        self.assertEqual(list(two.version.uids), [1])

    def test_stopping_ends_listening(self):
        self.post.open()
        self.post.done(self.post.live.stop())
        self.assertEqual(self.post.store.state.listeners, {})

    def test_an_own_store_is_visible_without_another_query(self):
        post = self.post
        post.deliver(None, None)
        mailbox = post.open()
        # The feed's news comes later than the answer, as it does from PostgreSQL.
        post.store.state.listeners.clear()
        post.mailboxes.calls.clear()
        post.done(Changer(post.messages).store(mailbox, [FlagChange((1,), Change.ADD, SEEN, ("Work",))]))
        self.assertEqual(post.mailboxes.calls, [])
        self.assertEqual((list(mailbox.version.flags), mailbox.version.keywords), ([SEEN, 0], {1: ("Work",)}))

    def test_an_own_store_after_an_unheard_change_costs_one_refresh(self):
        post = self.post
        post.deliver(None, None)
        mailbox = post.open()
        post.store.state.listeners.clear()
        post.deliver()
        post.mailboxes.calls.clear()
        post.done(Changer(post.messages).store(mailbox, [FlagChange((1,), Change.ADD, SEEN, ())]))
        self.assertEqual(post.mailboxes.calls, ["changes"])
        self.assertEqual((list(mailbox.version.uids), list(mailbox.version.flags)), ([1, 2, 3], [SEEN, 0, 0]))

    def test_an_own_store_announced_before_its_answer_costs_no_query(self):
        post = self.post
        post.deliver(None, None)
        mailbox = post.open()
        post.mailboxes.calls.clear()
        post.done(Changer(post.messages).store(mailbox, [FlagChange((1,), Change.ADD, SEEN, ())]))
        self.assertEqual((post.mailboxes.calls, list(mailbox.version.flags)), ([], [SEEN, 0]))

    def test_what_others_did_while_a_store_was_under_way_is_read_after_its_answer(self):
        post = self.post
        post.deliver(None)
        mailbox = post.open()
        post.mailboxes.calls.clear()
        post.messages.holding.add("store")
        storing = start(Changer(post.messages).store(mailbox, [FlagChange((1,), Change.ADD, SEEN, ())]))
        post.deliver()
        self.assertEqual(post.mailboxes.calls, [])
        post.messages.release()
        self.successResultOf(storing)
        self.assertEqual((post.mailboxes.calls, list(mailbox.version.uids)), (["changes"], [1, 2]))

    def test_a_change_announced_while_a_query_sees_it_is_not_asked_for_again(self):
        post = self.post
        mailbox = post.open()
        post.mailboxes.calls.clear()
        post.mailboxes.holding.add("changes")
        post.deliver()
        post.deliver()
        post.mailboxes.release()
        self.assertEqual(list(mailbox.version.uids), [1])
        post.mailboxes.release()
        self.assertEqual((post.mailboxes.calls, list(mailbox.version.uids)), (["changes"] * 2, [1, 2]))

    def test_a_modseq_is_reached_by_the_query_that_its_announcement_began(self):
        post = self.post
        mailbox = post.open()
        post.mailboxes.calls.clear()
        post.mailboxes.holding.add("changes")
        (inserted,) = post.done(post.store.messages.insert([new_message(mailbox.row.id)]))
        reaching = start(mailbox.reach(inserted.modseq))
        post.mailboxes.release()
        self.successResultOf(reaching)
        self.assertEqual((post.mailboxes.calls, list(mailbox.version.uids)), (["changes"], [1]))

    def test_a_mailbox_deleted_while_it_was_being_opened_is_seen_to_be_gone(self):
        post = self.post
        post.mailboxes.holding.add("open")
        opening = start(post.live.open(post.account, "Junk", claim_recent=True))
        post.done(post.store.mailboxes.delete(post.account, "Junk", post.actor))
        post.mailboxes.release()
        self.assertTrue(self.successResultOf(opening).deleted)


class OwnSeenTests(unittest.SynchronousTestCase):
    """A reader with a \\Seen of his own has a state of his own; the owner's is not touched by what is his alone."""

    def setUp(self):
        self.post = Post(self)
        store = self.post.store
        sharing = Sharing(store.grants, Settings(seen_per_user=True))
        self.live = Live(self.post.mailboxes, store.feed, sharing=sharing)
        self.bob = self.post.done(store.accounts.create("bob@example.org", "x", [NewMailbox("INBOX")]))
        self.post.deliver(None, None)
        inbox = self.post.id("INBOX")
        self.post.done(store.grants.grant(inbox, "bob@example.org", Edit.REPLACE, ALL, negative=False))
        self.owners = self.opened(self.post.account, "INBOX")
        self.first, self.second = (self.opened(self.bob, "Other Users/alice/INBOX") for _ in range(2))
        self.post.mailboxes.calls.clear()

    def opened(self, account, name):
        return self.successResultOf(start(self.live.open(account, name, claim_recent=False)))

    def see(self, mailbox, flags=SEEN):
        changes = [FlagChange((1,), Change.ADD, flags, ())]
        return self.successResultOf(start(Changer(self.post.messages).store(mailbox, changes)))

    def test_sessions_of_one_reader_share_a_version_that_is_not_the_owners(self):
        self.assertIs(self.first.version, self.second.version)
        self.assertIsNot(self.first.version, self.owners.version)
        self.assertEqual((self.owners.reader, self.first.reader), (None, self.bob))

    def test_what_is_a_readers_alone_makes_nobody_else_ask(self):
        before, heard = self.owners.version, []
        self.owners.listen(lambda: heard.append("owner"))
        self.second.listen(lambda: heard.append("reader"))
        self.see(self.first)
        self.assertEqual((self.post.mailboxes.calls, heard), ([], ["reader"]))
        self.assertIs(self.owners.version, before)
        self.assertEqual((self.second.version.flags[0], self.owners.version.flags[0]), (SEEN, 0))

    def test_what_is_everyones_is_asked_for_by_each_who_did_not_do_it(self):
        self.see(self.first, SEEN | DELETED)
        self.assertEqual(self.post.mailboxes.calls, ["changes"])
        self.assertEqual((self.first.version.flags[0], self.owners.version.flags[0]), (SEEN | DELETED, DELETED))

    def test_an_owner_who_changes_something_after_unheard_modseqs_looks_once_more(self):
        self.see(self.first)
        self.see(self.owners, DELETED)
        self.assertEqual(self.owners.version.flags[0], DELETED)
        self.assertEqual(self.first.version.flags[0], SEEN | DELETED)

    def test_without_seen_per_user_all_share_one_state(self):
        live = Live(self.post.mailboxes, self.post.store.feed, sharing=Sharing(self.post.store.grants, Settings()))
        owners = self.successResultOf(start(live.open(self.post.account, "INBOX", claim_recent=False)))
        readers = self.successResultOf(start(live.open(self.bob, "Other Users/alice/INBOX", claim_recent=False)))
        self.assertIs(owners.version, readers.version)
        self.assertIsNone(readers.reader)

    def test_states_that_nobody_has_open_are_forgotten_each_by_itself(self):
        for one in (self.first, self.second, self.owners):
            one.close()
        self.successResultOf(start(self.live.stop()))
        self.opened(self.bob, "Other Users/alice/INBOX")
        self.opened(self.post.account, "INBOX")
        self.assertEqual(self.post.mailboxes.calls, ["open", "open"])
