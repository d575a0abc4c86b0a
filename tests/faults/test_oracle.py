"""The oracle says what is wrong, and nothing of what may be: it is broken here in every way it is to notice."""

import attrs
from twisted.trial import unittest

from tests.faults.ledger import MAILBOXES, Change, Copy, Ledger, Letters
from tests.faults.oracle import Found, Look, copied_of, digest_of, judge, row_of, uids_of

SEEN = frozenset({"\\Seen"})
NONE: frozenset[str] = frozenset()
NOW = 1000.0


class JudgeTests(unittest.SynchronousTestCase):
    """An account of four letters: two in INBOX, one in Archive, and one delivered that nobody has seen yet."""

    def setUp(self) -> None:
        self.letters = Letters(1)
        for _ in range(9):
            self.letters.write()
        self.ledger = Ledger("anna")
        for mailbox, uid, letter in (("INBOX", 3, 1), ("INBOX", 4, 2), ("Archive", 1, 3)):
            self.ledger.place(mailbox, uid, Copy(letter, SEEN))
        self.ledger.known["INBOX"] = 4
        self.ledger.sent(5)
        self.ledger.delivered(5)
        self.there = {"INBOX": [(3, 1, SEEN), (4, 2, SEEN), (5, 5, NONE)], "Archive": [(1, 3, SEEN)], "Trash": []}

    def kinds(self, *, since: float | None = None, **numbers: int) -> list[str]:
        """Judge what is there and return the kinds of problems."""
        boxes = {
            name: [Found(uid, letter, flags, self.letters.digests[letter]) for uid, letter, flags in rows]
            for name, rows in self.there.items()
        }
        look = Look(boxes, {name: {"UIDVALIDITY": 7, "UIDNEXT": 100} | numbers for name in MAILBOXES})
        return [one.kind for one in judge(self.ledger, look, self.letters, now=NOW, since=since)]

    def test_what_was_acknowledged_and_is_there_is_well(self) -> None:
        self.assertEqual(self.kinds(), [])
        self.assertEqual(self.ledger.copies["INBOX"][5].letter, 5)
        self.assertEqual(self.kinds(), [], "and it stays so")

    def test_a_message_that_is_gone_is_lost(self) -> None:
        self.there["INBOX"].pop(0)
        self.assertEqual(self.kinds(), ["lost"])

    def test_a_delivery_that_never_came_is_lost(self) -> None:
        self.there["INBOX"].pop()
        self.assertEqual(self.kinds(), ["lost"])

    def test_a_delivery_that_came_twice_is_doubled(self) -> None:
        self.there["INBOX"].append((6, 5, NONE))
        self.assertEqual(self.kinds(), ["doubled"])

    def test_a_delivery_that_was_not_acknowledged_may_come_or_not_but_once(self) -> None:
        self.ledger.sent(6)
        self.assertEqual(self.kinds(), [])
        self.there["INBOX"].append((6, 6, NONE))
        self.assertEqual(self.kinds(), [])
        self.there["INBOX"].append((7, 6, NONE))
        self.assertEqual(self.kinds(), ["doubled"])

    def test_what_nobody_sent_is_not_expected(self) -> None:
        self.there["Trash"].append((1, 9, NONE))
        self.assertEqual(self.kinds(), ["doubled"])

    def test_a_new_message_below_the_known_ones_has_a_wrong_number(self) -> None:
        self.there["INBOX"][2] = (2, 5, NONE)
        self.assertEqual(self.kinds(), ["numbers"])

    def test_another_uidvalidity_or_a_uidnext_too_small_is_noticed(self) -> None:
        self.assertEqual(self.kinds(), [])
        self.assertEqual(self.kinds(UIDVALIDITY=8), ["numbers"] * 3)
        self.assertEqual(self.kinds(UIDNEXT=1).count("numbers"), 2)

    def test_wrong_octets_are_noticed_once_they_are_read(self) -> None:
        boxes = {"INBOX": [Found(4, 2, SEEN, b"another digest")], "Archive": [], "Trash": []}
        kinds = [one.kind for one in judge(self.ledger, Look(boxes), self.letters, now=NOW)]
        self.assertEqual(kinds.count("octets"), 1)

    def test_a_message_that_was_never_read_is_noticed(self) -> None:
        boxes = {"INBOX": [Found(4, 2, SEEN)], "Archive": [], "Trash": []}
        kinds = [one.kind for one in judge(self.ledger, Look(boxes), self.letters, now=NOW)]
        self.assertEqual(kinds.count("octets"), 1)

    def test_flags_are_exact_unless_their_loss_is_allowed(self) -> None:
        self.ledger.copies["INBOX"][3].become(SEEN | {"\\Flagged"}, NOW - 1)
        self.assertEqual(self.kinds(), ["flags"])
        self.ledger.copies["INBOX"][3].become(SEEN | {"\\Flagged"}, NOW - 1)
        self.assertEqual(self.kinds(since=NOW - 2), [])
        self.setUp()
        self.ledger.copies["INBOX"][3].become(SEEN | {"\\Flagged"}, NOW - 3)
        self.assertEqual(self.kinds(since=NOW - 2), ["flags"])

    def pending(self, kind: str, **fields: object) -> None:
        """Have a change wait for its answer."""
        self.ledger.pending = attrs.evolve(Change(kind=kind, mailbox="INBOX"), **fields)

    def test_a_move_without_an_answer_is_made_as_a_whole_or_not_at_all(self) -> None:
        before = dict(self.there)
        for made, expected in ((0, []), (1, ["lost"]), (2, [])):
            self.setUp()
            self.pending("move", uids=(3, 4), target="Trash")
            self.there = {**before, "INBOX": before["INBOX"][made:]}
            self.there["Trash"] = [(1 + n, 1 + n, SEEN) for n in range(made)]
            self.assertEqual(self.kinds()[:1], expected, made)

    def test_a_message_in_both_places_after_a_move_is_doubled(self) -> None:
        self.pending("move", uids=(3,), target="Trash")
        self.there["Trash"] = [(1, 1, SEEN)]
        self.assertEqual(self.kinds(), ["doubled"])

    def test_a_copy_without_an_answer_is_whole_or_not_there(self) -> None:
        for made, wrong in ((0, False), (1, True), (2, False), (3, True)):
            self.setUp()
            self.pending("copy", uids=(3, 4), target="Trash")
            self.there["Trash"] = [(1 + n, 1 + n % 2, SEEN) for n in range(made)]
            self.assertEqual(bool(self.kinds()), wrong, made)

    def test_an_append_without_an_answer_is_there_once_or_not(self) -> None:
        for made, wrong in ((0, False), (1, False), (2, True)):
            self.setUp()
            self.pending("append", letter=8, flags=SEEN)
            self.there["INBOX"] += [(6 + n, 8, SEEN) for n in range(made)]
            self.assertEqual(bool(self.kinds()), wrong, made)

    def test_flags_without_an_answer_change_on_all_messages_or_on_none(self) -> None:
        for changed, wrong in ((0, False), (1, True), (2, False)):
            self.setUp()
            self.pending("store", uids=(3, 4), flags=frozenset({"\\Flagged"}))
            rows = self.there["INBOX"]
            self.there["INBOX"] = [
                (uid, letter, flags | {"\\Flagged"} if n < changed else flags)
                for n, (uid, letter, flags) in enumerate(rows)
            ]
            self.assertEqual(bool(self.kinds()), wrong, changed)

    def test_an_expunge_without_an_answer_takes_all_or_none(self) -> None:
        before = self.there["INBOX"]
        for gone, wrong in ((0, False), (1, True), (2, False)):
            self.setUp()
            self.pending("expunge", uids=(3, 4))
            self.there["INBOX"] = before[gone:]
            self.assertEqual(bool(self.kinds()), wrong, gone)


class ReadingTests(unittest.SynchronousTestCase):
    """What the oracle reads of answers."""

    def test_rows_and_codes_are_read(self) -> None:
        line = b"* 3 FETCH (UID 9 FLAGS (\\Seen \\Recent) BODY[HEADER.FIELDS (X-Letter)] {16}\r\nX-Letter: 12\r\n\r\n)"
        self.assertEqual(row_of(line), Found(9, 12, SEEN))
        self.assertIsNone(row_of(b"* 3 EXISTS"))
        self.assertEqual(uids_of(b"[APPENDUID 7 12] done"), [12])
        self.assertEqual(copied_of(b"[COPYUID 7 1:3,9 4:6,8] done"), ([1, 2, 3, 9], [4, 5, 6, 8]))

    def test_what_delivery_puts_before_a_letter_does_not_count(self) -> None:
        letter = Letters(1).write()
        self.assertEqual(digest_of(b"Return-Path: <>\r\n" + letter.data), letter.digest)
        self.assertNotEqual(digest_of(letter.data + b"x"), letter.digest)

    def test_letters_are_the_same_again_from_the_same_seed(self) -> None:
        first, second, other = Letters(1), Letters(1), Letters(2)
        self.assertEqual([first.write() for _ in range(5)], [second.write() for _ in range(5)])
        self.assertNotEqual(first.write(), other.write())
