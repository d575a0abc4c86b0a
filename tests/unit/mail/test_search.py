"""Searching: from the view without a query, by the store, and from bytes."""

from datetime import UTC, date, datetime

from twisted.trial import unittest

from sora.aio import start
from sora.core import criteria as keys
from sora.core.criteria import Criteria
from sora.core.errors import BodyUnavailable
from sora.core.flags import FLAGGED, SEEN
from sora.core.uidset import STAR, UidSet
from sora.imap.view import Expunges, SessionView
from sora.mail.search import Searcher
from sora.mail.search_text import whole
from sora.mail.search_texts import SoughtTexts
from sora.store.evaluate import Facts, evaluate
from tests.contract.mail import message, new_body
from tests.unit.mail.post import Post

UNKNOWN = keys.Text(keys.Field.BODY, "x")


class SearchTests(unittest.SynchronousTestCase):
    def setUp(self):
        self.post = Post(self)
        self.post.deliver(message("one"), flags=SEEN)
        self.post.deliver(message("two"), flags=FLAGGED, keywords=("Work",))
        self.post.deliver(message("three"))

    def look(self):
        self.mailbox = self.post.open()
        self.view = SessionView(self.mailbox.version, recent_from=3)
        self.post.messages.calls.clear()

    def search(self, *steps):
        searcher = Searcher(self.post.messages, self.post.reader, SoughtTexts(self.post.store.text_indexes))
        return start(searcher.search(self.mailbox, self.view, Criteria(steps)))

    def found(self, *steps):
        return self.successResultOf(self.search(*steps))

    def test_flags_uids_and_modseqs_are_answered_without_a_query(self):
        self.look()
        numbers = keys.Numbers(UidSet(((2, STAR),)))
        self.assertEqual(self.found(keys.All()), [1, 2, 3])
        self.assertEqual(self.found(keys.Flag(SEEN)), [1])
        self.assertEqual(self.found(keys.Flag(SEEN, False)), [2, 3])
        self.assertEqual(self.found(keys.Keyword("work")), [2])
        self.assertEqual(self.found(keys.Keyword("work", False)), [1, 3])
        self.assertEqual(self.found(keys.Recent()), [3])
        self.assertEqual(self.found(keys.Recent(False)), [1, 2])
        self.assertEqual(self.found(numbers, keys.Flag(FLAGGED), keys.Not(), keys.And(2)), [3])
        self.assertEqual(self.found(keys.Flag(SEEN), keys.Flag(FLAGGED), keys.Or(2)), [1, 2])
        self.assertEqual(self.found(keys.Uids(UidSet(((STAR, 900),)))), [3])
        self.assertEqual(self.found(keys.ModSeqAtLeast(self.mailbox.version.modseqs[2])), [3])
        self.assertEqual(self.post.messages.calls, [])

    def test_what_is_kept_finds_what_the_store_finds(self):
        """The first search asks the store, the second has the columns read, the third needs nothing."""
        field, relation, of = keys.Field, keys.Relation, keys.DateOf
        cut = new_body(message("cut", Cc="near@x"), text_complete=False)
        self.post.deliver(message("gr\u00fc\u00dfe one", Cc="zoe@example.com"))
        self.post.deliver(body=cut)
        self.look()
        day = date(2026, 3, 4)
        programs = [
            *((keys.Text(field.SUBJECT, needle),) for needle in ("one", "o", "gr\u00fcss", "", "nothing", "e", "\n")),
            *((keys.Text(one, "example"),) for one in (field.FROM, field.TO, field.CC, field.BCC)),
            (keys.Text(field.CC, ""),),
            (keys.Header("cc", "near"), keys.Text(field.SUBJECT, "one"), keys.Or(2)),
            (keys.Header("x-none", ""), keys.Not()),
            (keys.Text(field.CC, "far"), keys.Uids(UidSet(((1, 4),))), keys.And(2)),
            (keys.Text(field.CC, "zoe"), keys.Not(), keys.Uids(UidSet(((1, 4),))), keys.And(2)),
            (keys.Text(field.SUBJECT, "two"), keys.Flag(FLAGGED), keys.Not(), keys.Or(2)),
            *((keys.Dated(one, how, day),) for one in of for how in (relation.BEFORE, relation.ON, relation.SINCE)),
            *((keys.Size(how, 100),) for how in (relation.LARGER, relation.BEFORE)),
            (keys.Within(60, younger=True), keys.Within(60, younger=False), keys.Or(2)),
        ]
        searcher = Searcher(self.post.messages, self.post.reader, SoughtTexts(self.post.store.text_indexes))

        def once(steps):
            self.post.messages.calls.clear()
            return self.post.done(searcher.search(self.mailbox, self.view, Criteria(steps)))

        for steps in programs:
            first = once(steps)
            self.assertEqual(once(steps), first, steps)
            self.assertEqual(once(steps), first, steps)
            self.assertNotIn("search", self.post.messages.calls)
            self.assertNotIn("column", self.post.messages.calls)
        self.assertEqual(once(programs[0]), [1, 4])

    def test_kept_columns_follow_what_arrives_and_goes(self):
        self.look()
        searcher = Searcher(self.post.messages, self.post.reader, SoughtTexts(self.post.store.text_indexes))

        def found(needle):
            step = keys.Text(keys.Field.SUBJECT, needle)
            return self.successResultOf(start(searcher.search(self.mailbox, self.view, Criteria((step,)))))

        self.assertEqual([found("o") for _ in range(3)], [[1, 2]] * 3)
        self.post.deliver(message("four"))
        state = self.post.store.state.mailboxes[self.mailbox.row.id]
        self.post.store.state.bury(state, [state.messages[1]], modseq=state.advance(), actor=self.post.actor)
        self.post.done(self.mailbox.refresh())
        self.assertEqual(found("o"), [1, 2])
        self.view.update(self.mailbox.version, Expunges.FORBIDDEN)
        self.assertEqual(found("o"), [1, 2, 4])
        self.view.update(self.mailbox.version, Expunges.ALLOWED)
        self.assertEqual(found("o"), [2, 4])
        self.assertEqual(found(""), [2, 3, 4])

    def test_an_empty_set_of_numbers_finds_nothing_and_its_opposite_all(self):
        self.look()
        beyond = keys.Uids(UidSet(((700, 900),)))
        self.assertEqual(self.found(beyond), [])
        self.assertEqual(self.found(beyond, keys.Not()), [1, 2, 3])

    def test_an_empty_mailbox_is_searched_in_vain(self):
        self.mailbox = self.post.open("Sent")
        self.view = SessionView(self.mailbox.version, recent_from=1)
        for step in (keys.All(), keys.Numbers(UidSet(((1, STAR),))), UNKNOWN):
            self.assertEqual(self.found(step), [])

    def test_text_is_found_by_the_store_among_what_the_client_was_told_of(self):
        self.look()
        self.post.deliver(message("two again"))
        self.assertEqual(self.found(keys.Text(keys.Field.SUBJECT, "two")), [2])
        self.assertEqual(self.post.messages.calls, ["search"])
        self.view.update(self.mailbox.version, Expunges.FORBIDDEN)
        self.assertEqual(self.found(keys.Text(keys.Field.SUBJECT, "two")), [2, 4])

    def test_expunged_messages_still_counted_are_answered_from_what_was_known(self):
        self.look()
        state = self.post.store.state.mailboxes[self.mailbox.row.id]
        self.post.store.state.bury(state, [state.messages[2]], modseq=state.advance(), actor=self.post.actor)
        self.post.done(self.mailbox.refresh())
        self.assertEqual(self.found(keys.Flag(FLAGGED)), [2])
        self.view.update(self.mailbox.version, Expunges.FORBIDDEN)
        self.assertEqual(self.found(keys.Flag(FLAGGED)), [2])
        self.view.update(self.mailbox.version, Expunges.ALLOWED)
        self.assertEqual(self.found(keys.Flag(FLAGGED)), [])

    def test_where_stored_text_was_cut_the_bytes_decide(self):
        for end in ("needle", "nothing"):
            raw = message("cut", text=f"hay hay {end}\r\n")
            self.post.deliver(body=new_body(raw, body_text="hay", text_complete=False))
        self.look()
        self.assertEqual(self.found(keys.Text(keys.Field.BODY, "needle")), [4])
        self.assertEqual(self.found(keys.Text(keys.Field.BODY, "needle"), keys.Not()), [1, 2, 3, 5])

    def test_a_search_that_bytes_must_decide_fails_if_they_cannot_be_read(self):
        raw = message("cut", text="hay needle\r\n")
        self.post.deliver(body=new_body(raw, staged=False, body_text="hay", text_complete=False))
        self.look()
        self.failureResultOf(self.search(keys.Text(keys.Field.BODY, "needle")), BodyUnavailable)


class WholeTextTests(unittest.SynchronousTestCase):
    def test_encoded_words_charsets_and_transfer_encodings_are_undone(self):
        text = whole(
            b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Wed, 4 Mar 2026 23:30:00 +0100\r\n"
            b"Content-Type: text/plain; charset=iso-8859-1\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\nK=F6ln\r\n"
        )
        self.assertEqual(text.fields["subject"], "grüsse")
        self.assertIn("köln", text.body_text)
        self.assertEqual(text.sent_day, date(2026, 3, 4))

    def test_html_is_searched_as_it_reads(self):
        head = b"Content-Type: text/html\r\n\r\n"
        text = whole(head + b"<p>A &amp; B</p><script>hidden</script><!-- gone --><b>bold</b>").body_text
        self.assertIn("a & b", text)
        self.assertIn("bold", text)
        self.assertNotIn("hidden", text)
        self.assertNotIn("gone", text)

    def test_header_fields_beyond_every_bound_are_found(self):
        raw = b"".join(b"X-%d: v\r\n" % n for n in range(12_000)) + b"Subject: last\r\n\r\nbody"
        self.assertEqual(whole(raw).fields["subject"], "last")

    def test_header_fields_of_body_parts_are_found_beyond_every_bound(self):
        part = b"--b\r\nContent-Description: " + b"d" * 1_000 + b"\r\n\r\n\r\n"
        raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 300
        text = whole(raw + b"--b\r\nContent-Disposition: attachment; filename*=utf-8''%C3%89t%C3%A9\r\n\r\n")
        self.assertIn("filename: été", text.header_text)
        self.assertNotIn("été", text.body_text)


class EvaluateTests(unittest.SynchronousTestCase):
    def result(self, *steps, **facts):
        known = {"uid": 5, "flags": SEEN, "keywords": frozenset({"work"}), "recent": False, "modseq": 7}
        return evaluate(Criteria(steps), Facts(**(known | facts)))

    def test_what_is_not_known_is_none_unless_the_rest_decides(self):
        self.assertIsNone(self.result(UNKNOWN))
        self.assertIsNone(self.result(UNKNOWN, keys.Not()))
        self.assertIs(self.result(UNKNOWN, keys.Flag(FLAGGED), keys.And(2)), False)
        self.assertIsNone(self.result(UNKNOWN, keys.Flag(SEEN), keys.And(2)))
        self.assertIs(self.result(UNKNOWN, keys.Flag(SEEN), keys.Or(2)), True)
        self.assertIsNone(self.result(UNKNOWN, keys.Flag(FLAGGED), keys.Or(2)))

    def test_sizes_and_days_are_compared(self):
        larger = keys.Size(keys.Relation.LARGER, 10)
        self.assertEqual([self.result(larger, size=n) for n in (9, 10, 11, None)], [False, False, True, None])
        since = keys.Dated(keys.DateOf.INTERNAL, keys.Relation.SINCE, date(2026, 1, 2))
        days = [datetime(2026, 1, day, 23, 59, tzinfo=UTC) for day in (1, 2, 3)]
        self.assertEqual([self.result(since, arrived=day) for day in days], [False, True, True])
        saved = keys.Dated(keys.DateOf.SAVED, keys.Relation.ON, date(2026, 1, 2))
        self.assertEqual([self.result(saved, saved=day) for day in (*days, None)], [False, True, False, None])
        self.assertEqual(
            [self.result(keys.Arrived(days[1], later=True), arrived=day) for day in days], [False, True, True]
        )
        self.assertEqual(
            [self.result(keys.Arrived(days[1], later=False), arrived=day) for day in days], [True, True, False]
        )

    def test_ids_are_compared_if_they_are_known(self):
        self.assertEqual([self.result(keys.Id(keys.IdOf.EMAIL, 7), email=n) for n in (7, 8, None)], [True, False, None])
        self.assertEqual([self.result(keys.Id(keys.IdOf.THREAD, None), thread=n) for n in (7, None)], [False, None])

    def test_the_trace_is_part_of_the_header(self):
        text = whole(b"Subject: x\r\n\r\n")
        step = keys.Header("received", "relay")
        self.assertIs(self.result(step, text=text, trace=b"Received: from\r\n RELAY\r\n"), True)
        self.assertIs(self.result(step, text=text), False)
