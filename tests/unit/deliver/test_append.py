"""Bodies on their way in: keys, staging, objects that must not be left or lost, and an APPEND's witness."""

import re
from typing import Any

from twisted.internet.defer import Deferred, fail

from sora.core.errors import CommitUnknown, DatabaseUnavailable, MessageTooLarge, NoSuchMailbox
from sora.core.ids import AccountId, MailboxId
from sora.mail import append
from sora.mail.append import NewMail
from sora.store.model import Inserted
from tests.unit.deliver.base import DeliverCase

SMALL, LARGE = b"s" * 1000, b"l" * 1001


class AppendTests(DeliverCase):
    def setUp(self) -> None:
        super().setUp()
        self.account("a@example.org")
        row = self.successResultOf(self.store.accounts.row("a@example.org"))
        self.owner = row.id
        self.box = self.successResultOf(self.store.mailboxes.find(row.id, "INBOX")).id

    def append(self, raw: bytes, mailbox: MailboxId | None = None) -> "Deferred[Inserted]":
        target = self.box if mailbox is None else mailbox
        return Deferred.fromCoroutine(
            self.appender.append(target, raw, account=self.owner, domain="example.org", flags=1)
        )

    def test_a_body_up_to_staging_max_travels_with_the_insertion(self) -> None:
        body = self.run_now(self.appender.prepare(SMALL, account=AccountId(7), domain="example.org"))
        self.assertEqual((body.data, body.size, body.scope), (SMALL, 1000, "domain/example.org"))
        self.assertEqual(self.objects.objects, {})

    def test_a_larger_body_is_in_the_object_store_before_it(self) -> None:
        body = self.run_now(self.appender.prepare(LARGE, account=AccountId(7), domain="example.org"))
        self.assertIsNone(body.data)
        self.assertEqual(list(self.objects.objects), [body.object_key])

    def test_a_key_names_scope_and_hash_and_is_never_used_twice(self) -> None:
        bodies = [
            self.run_now(self.appender.prepare(SMALL, account=AccountId(7), domain="example.org")) for _ in range(2)
        ]
        digest = bodies[0].hash.hex()
        for body in bodies:
            self.assertRegex(body.object_key, rf"^domain/example\.org/{digest[:2]}/{digest}\.[0-9a-f]{{16}}$")
        self.assertNotEqual(bodies[0].object_key, bodies[1].object_key)

    def test_an_appended_message_is_there_with_its_flags_and_without_trace(self) -> None:
        inserted = self.successResultOf(self.append(SMALL))
        self.assertEqual(inserted.uid, 1)
        [row] = self.inbox("a@example.org")
        self.assertEqual((row.trace, row.size), (b"", 1000))

    def test_a_message_over_the_limit_is_refused_before_anything_is_stored(self) -> None:
        self.failureResultOf(self.append(b"x" * 10_001), MessageTooLarge)
        self.assertEqual(self.inbox("a@example.org"), [])

    def test_the_object_of_a_refused_insertion_is_deleted(self) -> None:
        self.failureResultOf(self.append(LARGE, MailboxId(999)), NoSuchMailbox)
        self.assertEqual(self.objects.objects, {})

    def test_the_object_of_a_body_that_was_there_is_deleted_and_the_first_one_stays(self) -> None:
        self.successResultOf(self.append(LARGE))
        self.successResultOf(self.append(LARGE))
        self.assertEqual(len(self.objects.objects), 1)
        [first, second] = self.inbox("a@example.org")
        assert first.ref is not None and second.ref is not None
        self.assertEqual(first.ref, second.ref)
        self.assertEqual(list(self.objects.objects), [first.ref.object_key])

    def test_the_object_stays_while_it_is_unknown_whether_it_is_needed(self) -> None:
        for trouble in (CommitUnknown("lost"), RuntimeError("bug")):
            self.objects.objects.clear()
            self.patch(self.messages, "insert", lambda _, trouble=trouble: fail(trouble))
            self.failureResultOf(self.append(LARGE), type(trouble))
            self.assertEqual(len(self.objects.objects), 1)

    def test_a_lost_answer_to_commit_is_read_back_by_the_exact_key(self) -> None:
        """D5: the message is there, so the answer is its UID."""
        insert = self.messages.insert
        self.successResultOf(self.append(b"another"))

        def lost(messages: Any) -> Any:
            self.successResultOf(insert(messages))
            return fail(CommitUnknown("lost"))

        self.patch(self.messages, "insert", lost)
        inserted = self.successResultOf(self.append(SMALL))
        self.assertEqual(inserted.uid, 2)

    def test_a_lost_answer_stays_unknown_without_a_witness(self) -> None:
        self.successResultOf(self.append(SMALL))
        self.patch(self.messages, "insert", lambda _: fail(CommitUnknown("lost")))
        self.failureResultOf(self.append(SMALL), CommitUnknown)

    def test_a_lost_answer_stays_unknown_when_reading_back_fails(self) -> None:
        self.patch(self.messages, "insert", lambda _: fail(CommitUnknown("lost")))
        self.patch(self.mailboxes, "changes", lambda *_: fail(DatabaseUnavailable("gone")))
        self.failureResultOf(self.append(SMALL), CommitUnknown)

    def append_all(self, *raws: bytes, mailbox: MailboxId | None = None) -> "Deferred[list[Inserted]]":
        target = self.box if mailbox is None else mailbox
        mails = [NewMail(raw) for raw in raws]
        return Deferred.fromCoroutine(self.appender.append_all(target, mails, account=self.owner, domain="example.org"))

    def test_of_several_messages_that_are_refused_no_object_stays(self) -> None:
        self.failureResultOf(self.append_all(LARGE, b"x" + LARGE, mailbox=MailboxId(999)), NoSuchMailbox)
        self.assertEqual(self.objects.objects, {})
        self.failureResultOf(self.append_all(LARGE, SMALL, b"x" * 10_001), MessageTooLarge)
        self.assertEqual((self.objects.objects, self.inbox("a@example.org")), ({}, []))

    def test_equal_messages_together_are_one_object(self) -> None:
        first, second = self.successResultOf(self.append_all(LARGE, LARGE))
        self.assertEqual((first.uid, second.uid, first.body), (1, 2, second.body))
        assert first.body is not None
        self.assertEqual(list(self.objects.objects), [first.body.object_key])

    def test_what_is_too_much_to_be_staged_together_is_in_the_object_store_first(self) -> None:
        self.patch(append, "STAGED_TOGETHER_MAX", 2000)
        done = self.successResultOf(self.append_all(SMALL, b"t" * 900, b"u" * 500, b"v" * 90))
        staged = [one.body is not None and one.body.staged for one in done]
        self.assertEqual((staged, len(self.objects.objects)), ([True, True, False, True], 1))

    def test_after_a_lost_answer_one_message_tells_of_those_with_it(self) -> None:
        insert = self.messages.insert_whole
        self.successResultOf(self.append(SMALL))

        def lost(messages: Any) -> Any:
            self.successResultOf(insert(messages))
            return fail(CommitUnknown("lost"))

        self.patch(self.messages, "insert_whole", lost)
        # The first was there before and is no witness.
        inserted = self.successResultOf(self.append_all(SMALL, b"new"))
        self.assertEqual([one.uid for one in inserted], [2, 3])
        self.failureResultOf(self.append_all(SMALL, SMALL), CommitUnknown)

    def test_scope_names_are_what_the_collector_expects(self) -> None:
        self.assertTrue(re.match(r"domain/", self.appender.scope(account=AccountId(7), domain="example.org")))
