"""Delivery: who gets what, under which trace header, stored once, and what each recipient is answered."""

from typing import Any

from twisted.internet.defer import fail, succeed

from sora.core.errors import (
    AddressInvalid,
    CommitUnknown,
    DatabaseUnavailable,
    NoSuchAccount,
    NoSuchMailbox,
    ObjectStoreUnavailable,
    OverQuota,
    Temporary,
)
from sora.mail.append import DedupScope
from sora.mail.deliver import Envelope, Target
from sora.store.model import TRACE_FIELDS, AccountStatus, Inserted
from tests.unit.deliver.base import ENVELOPE, MAIL, DeliverCase


class ResolveTests(DeliverCase):
    def test_case_detail_and_aliases_lead_to_the_account(self) -> None:
        self.account("anna@example.org", "info@example.org")
        for text in ("anna@example.org", "Anna@EXAMPLE.org", "anna+lists@example.org", "info+x@example.org"):
            [target] = self.targets(text)
            self.assertEqual(target.recipient.address, "anna@example.org")
        self.assertEqual(self.targets("anna+lists@example.org")[0].detail, "lists")

    def test_unknown_and_malformed_addresses_are_told_apart_and_harm_nobody(self) -> None:
        self.account("anna@example.org")
        found = self.run_now(self.deliverer.resolve(["bob@example.org", "anna@example.org", "@"]))
        self.assertEqual([type(one) for one in found], [NoSuchAccount, Target, AddressInvalid])

    def test_a_suspended_account_still_gets_mail(self) -> None:
        account = self.account("anna@example.org")
        self.successResultOf(self.store.accounts.set_status(account, AccountStatus.SUSPENDED))
        self.assertIsInstance(self.deliver("anna@example.org")[0], Inserted)

    def test_trouble_with_the_database_is_temporary_never_unknown(self) -> None:
        for trouble in (DatabaseUnavailable("gone"), NoSuchMailbox("odd"), RuntimeError("bug")):
            self.patch(self.accounts, "recipients", lambda _, trouble=trouble: fail(trouble))
            [found] = self.run_now(self.deliverer.resolve(["anna@example.org"]))
            self.assertTrue(found.temporary)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class StoringTests(DeliverCase):
    def setUp(self) -> None:
        super().setUp()
        for name in ("a@example.org", "b@example.org", "c@example.net"):
            self.account(name)

    def test_recipients_of_one_domain_share_one_body(self) -> None:
        answers = self.deliver("a@example.org", "b@example.org", "c@example.net")
        self.assertTrue(all(isinstance(answer, Inserted) for answer in answers))
        refs = [self.inbox(name)[0].ref for name in ("a@example.org", "b@example.org", "c@example.net")]
        ids = [ref.id for ref in refs if ref is not None]
        self.assertEqual(len(ids), 3)
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_the_scope_decides_who_shares(self) -> None:
        for scope, count in ((DedupScope.ACCOUNT, 3), (DedupScope.GLOBAL, 1)):
            self.make(scope=scope)
            raw = f"Subject: {scope}\r\n\r\n".encode()
            self.deliver("a@example.org", "b@example.org", "c@example.net", raw=raw)
            rows = [self.inbox(name)[-1].ref for name in ("a@example.org", "b@example.org", "c@example.net")]
            self.assertEqual(len({row.id for row in rows if row is not None}), count)

    def test_each_copy_has_its_own_trace_header(self) -> None:
        self.deliver("a+x@example.org", "b@example.org")
        trace = self.inbox("a@example.org")[0].trace
        assert trace is not None
        lines = trace.split(b"\r\n")
        self.assertEqual(lines[0], b"Return-Path: <sender@example.net>")
        self.assertEqual(lines[1], b"Delivered-To: a+x@example.org")
        self.assertEqual(lines[2], b"Received: from client.example.net ([192.0.2.7])")
        self.assertRegex(lines[3], rb"^\tby mx\.example\.org with LMTP id [0-9a-f]{13,}$")
        self.assertTrue(lines[4].startswith(b"\tfor <a+x@example.org>; "))
        self.assertEqual(lines[5], b"")
        self.assertNotIn(b"b@example.org", trace)
        names = {line.partition(b":")[0].decode().lower() for line in lines if line and not line.startswith(b"\t")}
        self.assertEqual(names, TRACE_FIELDS, "a store looks for no other field in a trace")

    def test_no_value_can_add_a_header_line(self) -> None:
        evil = Envelope("x\r\nBcc: all@example.org\0", "h\nX: 1", "1\r2", "LMTP")
        [target] = self.targets("a@example.org")
        self.run_now(self.deliverer.deliver(evil, [target], MAIL))
        trace = self.inbox("a@example.org")[0].trace
        assert trace is not None
        self.assertEqual(trace.count(b"\n"), 5)
        self.assertEqual(trace.count(b"\r"), 5)
        self.assertNotIn(b"\0", trace)

    def test_no_trace_line_is_longer_than_998_octets(self) -> None:
        local = "ä" * 200
        self.account(f"{local}@example.org")
        envelope = Envelope("é" * 220 + "@example.net", "h" * 255, "2001:db8::1", "UTF8LMTPS")
        self.run_now(self.deliverer.deliver(envelope, self.targets(f"{local}@example.org"), MAIL))
        trace = self.inbox(f"{local}@example.org")[0].trace
        assert trace is not None
        self.assertLessEqual(max(map(len, trace.split(b"\r\n"))), 998)

    def test_the_same_recipient_named_twice_gets_one_copy_and_two_answers(self) -> None:
        answers = self.deliver("a@example.org", "A@example.org")
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(len(self.inbox("a@example.org")), 1)


class RetryTests(DeliverCase):
    """D3: a retry after a lost 250 is not a second message; a different mail always is."""

    def setUp(self) -> None:
        super().setUp()
        self.account("a@example.org", "alias@example.org")

    def test_the_same_bytes_again_are_stored_once(self) -> None:
        [first] = self.deliver("a@example.org")
        self.clock.advance(3600)
        [second] = self.deliver("a@example.org")
        assert isinstance(first, Inserted) and isinstance(second, Inserted)
        self.assertTrue(second.duplicate)
        self.assertEqual(second.uid, first.uid)
        self.assertEqual(len(self.inbox("a@example.org")), 1)

    def test_two_mails_with_one_message_id_are_two(self) -> None:
        self.deliver("a@example.org", raw=b"Message-ID: <1@x>\r\n\r\none\r\n")
        self.deliver("a@example.org", raw=b"Message-ID: <1@x>\r\n\r\ntwo\r\n")
        self.assertEqual(len(self.inbox("a@example.org")), 2)

    def test_after_the_window_the_same_bytes_are_a_new_message(self) -> None:
        self.deliver("a@example.org")
        self.clock.advance(86_401)
        self.deliver("a@example.org")
        self.assertEqual(len(self.inbox("a@example.org")), 2)

    def test_another_address_of_the_same_account_is_another_recipient(self) -> None:
        self.deliver("a@example.org")
        self.deliver("alias@example.org")
        self.assertEqual(len(self.inbox("a@example.org")), 2)

    def test_a_window_of_zero_suppresses_nothing(self) -> None:
        self.make(suppress_window=0.0)
        self.deliver("a@example.org")
        self.deliver("a@example.org")
        self.assertEqual(len(self.inbox("a@example.org")), 2)


class FailureTests(DeliverCase):
    """D2: each recipient has its own answer, and a surprise is temporary."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("a@example.org", "b@example.org", "c@example.net"):
            self.account(name)

    def test_one_over_quota_does_not_fail_the_rest(self) -> None:
        insert = self.messages.insert

        def quota(messages: Any) -> Any:
            stored = self.successResultOf(insert([messages[0], messages[2]]))
            return succeed([stored[0], OverQuota("full"), stored[1]])

        self.patch(self.messages, "insert", quota)
        answers = self.deliver("a@example.org", "b@example.org", "c@example.net")
        self.assertEqual([type(one) for one in answers], [Inserted, OverQuota, Inserted])

    def test_a_surprise_is_temporary_for_all_it_concerns(self) -> None:
        for trouble in (RuntimeError("bug"), CommitUnknown("lost"), DatabaseUnavailable("gone")):
            self.patch(self.messages, "insert", lambda _, trouble=trouble: fail(trouble))
            answers = self.deliver("a@example.org", "b@example.org")
            self.assertEqual([getattr(one, "temporary", None) for one in answers], [True, True])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_account_without_inbox_gets_one_and_the_mail(self) -> None:
        insert, calls = self.messages.insert, []

        def missing_once(messages: Any) -> Any:
            calls.append(len(messages))
            return insert(messages) if len(calls) > 1 else succeed([NoSuchMailbox("gone")])

        self.patch(self.messages, "insert", missing_once)
        self.patch(self.mailboxes, "find", lambda *_: fail(NoSuchMailbox("gone")))
        row = self.successResultOf(self.store.accounts.row("a@example.org"))
        made: list[str] = []

        def create(account: Any, mailbox: Any) -> Any:
            made.append(mailbox.name)
            opened = self.successResultOf(self.store.mailboxes.open(row.id, "INBOX", claim_recent=False))
            return succeed(opened.mailbox)

        self.patch(self.mailboxes, "create", create)
        [answer] = self.deliver("a@example.org")
        self.assertIsInstance(answer, Inserted)
        self.assertEqual(made, ["INBOX"])

    def test_filing_that_fails_files_into_inbox(self) -> None:
        async def broken(*_: Any) -> Any:
            raise NoSuchMailbox("script")

        self.make(filing=broken)
        self.assertIsInstance(self.deliver("a@example.org")[0], Inserted)

    def test_an_object_store_that_is_away_fails_only_what_needs_it(self) -> None:
        self.objects.away = True
        [small] = self.deliver("a@example.org")
        self.assertIsInstance(small, Inserted)
        [large] = self.deliver("a@example.org", raw=b"x" * 2000)
        self.assertIsInstance(large, ObjectStoreUnavailable)

    def test_a_message_that_is_too_large_is_refused_for_all(self) -> None:
        answers = self.deliver("a@example.org", "b@example.org", raw=b"x" * 10_001)
        self.assertEqual([type(one).__name__ for one in answers], ["MessageTooLarge"] * 2)

    def test_a_bug_while_describing_is_temporary(self) -> None:
        def bug(_: bytes) -> Any:
            raise ZeroDivisionError

        self.appender._examine = bug
        [answer] = self.run_now(self.deliverer.deliver(ENVELOPE, self.targets("a@example.org"), MAIL))
        self.assertIs(type(answer), Temporary)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
