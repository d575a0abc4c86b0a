"""Threads: RFC 5256 3, by its steps, and what a hostile mail can make of them."""

from collections.abc import Sequence

from twisted.trial import unittest

from sora.imap.thread import Columns, Forest, ordered_subject, references, refs, written

Mail = tuple[str, Sequence[str], int, str]
"""Its id, what it refers to, when it was sent, its subject."""


def columns(mails: Sequence[Mail], *, arrived: Sequence[int] | None = None) -> Columns:
    """Write mails as columns, ids and subjects as numbers."""
    ids: dict[str, int] = {"": 0}
    subjects: dict[str, int] = {"": 0}
    return Columns(
        own=[ids.setdefault(own, len(ids)) for own, _, _, _ in mails],
        references=[[ids.setdefault(one, len(ids)) for one in others] for _, others, _, _ in mails],
        sent=[sent for _, _, sent, _ in mails],
        arrived=arrived or [sent for _, _, sent, _ in mails],
        subjects=[subjects.setdefault(text.removeprefix("re: "), len(subjects)) for _, _, _, text in mails],
        replies=[text.startswith("re: ") for _, _, _, text in mails],
    )


def shown(forest: Forest) -> str:
    """Write a forest with the mails counted from 1."""
    return written(forest, range(1, forest.count + 1)).decode()


class ReferencesTests(unittest.SynchronousTestCase):
    """REFERENCES."""

    def check(self, expected: str, *mails: Mail) -> None:
        self.assertEqual(shown(references(columns(mails))), expected)

    def test_nothing_has_no_threads(self) -> None:
        self.check("")

    def test_a_chain_and_a_fork(self) -> None:
        self.check("(1 2 3)", ("a", [], 1, "x"), ("b", ["a"], 2, "re: x"), ("c", ["a", "b"], 3, "re: x"))
        self.check("(1 (2)(3))", ("a", [], 1, "x"), ("b", ["a"], 2, "re: x"), ("c", ["a"], 3, "re: x"))

    def test_the_order_of_arrival_does_not_matter(self) -> None:
        self.check("(3 2 1)", ("c", ["a", "b"], 3, "re: x"), ("b", ["a"], 2, "re: x"), ("a", [], 1, "x"))

    def test_what_is_missing_is_skipped_but_holds_several_together(self) -> None:
        self.check("(1 2)", ("a", [], 1, "x"), ("c", ["a", "gone"], 2, "y"))
        self.check("((1)(2))", ("a", ["gone"], 1, "x"), ("b", ["gone"], 2, "y"))
        self.check("((1)(2))", ("a", ["gone", "too"], 1, "x"), ("b", ["gone", "also"], 2, "y"))
        self.check("(1)", ("a", ["gone", "too"], 1, "x"))

    def test_threads_and_siblings_stand_by_sent_date_and_then_by_number(self) -> None:
        self.check("(3)(1)(2)", ("a", [], 5, "x"), ("b", [], 5, "y"), ("c", [], 1, "z"))
        self.check("(1 (3)(2))", ("a", [], 1, "x"), ("b", ["a"], 9, "x"), ("c", ["a"], 2, "x"))

    def test_a_dummy_stands_where_its_first_child_would(self) -> None:
        self.check("((3)(1))(2)", ("a", ["q"], 9, "x"), ("b", [], 5, "y"), ("c", ["q"], 1, "z"))

    def test_equal_ids_are_the_first_messages_only(self) -> None:
        self.check("(1 3)(2)", ("a", [], 1, "x"), ("a", [], 2, "y"), ("b", ["a"], 3, "z"))

    def test_a_reply_without_references_joins_its_subject(self) -> None:
        self.check("(1 2)", ("a", [], 1, "x"), ("b", [], 2, "re: x"))
        self.check("(2 1)", ("a", [], 1, "re: x"), ("b", [], 2, "x"))

    def test_equal_subjects_without_a_reply_become_siblings(self) -> None:
        self.check("((1)(2)(3))", ("a", [], 1, "x"), ("b", [], 2, "x"), ("c", [], 3, "x"))
        self.check("((1)(2))", ("a", [], 1, "re: x"), ("b", [], 2, "re: x"))

    def test_empty_subjects_join_nothing(self) -> None:
        self.check("(1)(2)", ("a", [], 1, ""), ("b", [], 2, ""))

    def test_threads_under_dummies_join_by_subject(self) -> None:
        self.check(
            "((1)(2)(3)(4))", ("a", ["p"], 1, "x"), ("b", ["p"], 2, "x"), ("c", ["q"], 3, "x"), ("d", ["q"], 4, "x")
        )
        self.check("((1)(2)(3))", ("a", ["p"], 1, "x"), ("b", ["p"], 2, "x"), ("c", [], 3, "x"))

    def test_the_last_reference_overrules_what_others_said(self) -> None:
        self.check("(1)(3 4 2)", ("x", [], 0, "1"), ("w", ["x", "a"], 1, "2"), ("y", [], 2, "3"), ("a", ["y"], 3, "4"))

    def test_loops_are_never_linked(self) -> None:
        self.check("(1)", ("a", ["a"], 1, "x"))
        self.check("(2 1)", ("a", ["b"], 1, "x"), ("b", ["a"], 2, "y"))
        self.check("(3 2 1)", ("a", ["b"], 1, "x"), ("b", ["c"], 2, "y"), ("c", ["a"], 3, "z"))


class OtherAlgorithmsTests(unittest.SynchronousTestCase):
    """ORDEREDSUBJECT and REFS."""

    def test_ordered_subject_has_no_grandchildren(self) -> None:
        mails = [("a", [], 4, "x"), ("b", [], 2, "y"), ("c", [], 1, "re: x"), ("d", [], 3, "x")]
        self.assertEqual(shown(ordered_subject(columns(mails))), "(3 (4)(1))(2)")
        self.assertEqual(shown(ordered_subject(columns(mails[:2]))), "(2)(1)")

    def test_refs_knows_no_subjects_and_puts_the_newest_arrival_last(self) -> None:
        mails = [("a", [], 1, "x"), ("b", [], 2, "re: x"), ("c", ["a"], 3, "re: x")]
        self.assertEqual(shown(refs(columns(mails))), "(2)(1 3)")
        self.assertEqual(shown(refs(columns(mails, arrived=[1, 9, 3]))), "(1 3)(2)")


class HostileTests(unittest.SynchronousTestCase):
    """Depth and cycles cost no more than their number."""

    def test_a_deep_chain_is_written_without_recursion(self) -> None:
        count = 20_000
        forest = references(columns([(f"{n}", [f"{n - 1}"] if n else [], n, "") for n in range(count)]))
        self.assertEqual(shown(forest), "(" + " ".join(str(n + 1) for n in range(count)) + ")")

    def test_nested_forks_are_written_without_recursion(self) -> None:
        count = 10_000
        mails = [(f"{n}", [f"{(n - 1) // 2 * 2}"] if n else [], n, "") for n in range(count)]
        text = shown(references(columns(mails)))
        self.assertEqual(text.count("("), text.count(")"))
        self.assertGreater(text.count("("), count // 2)

    def test_cycles_of_many_ids_lose_no_message(self) -> None:
        count = 2_000
        mails = [(f"{n}", [f"{(n * k + 1) % count}" for k in range(1, 20)], n % 7, "x") for n in range(count)]
        for make in (references, refs):
            numbers = sorted(
                int(word) for word in shown(make(columns(mails))).replace("(", " ").replace(")", " ").split()
            )
            self.assertEqual(numbers, list(range(1, count + 1)))
