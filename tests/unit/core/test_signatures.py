"""Signatures of texts: they leave out, and never what has the text."""

import random
from collections.abc import Iterator

from twisted.trial import unittest

from sora.core import limits
from sora.core.signatures import Signatures, Words, common, row_octets, sought
from sora.core.text import fold

LETTERS = "abcdeé日本語東京ß \n"


def made(texts: "list[str | None]") -> bytes:
    """Make the bits of a segment."""
    signatures = Signatures(Words())
    for text in texts:
        exhaust(signatures.add(None if text is None else text.encode()))
    exhaust(signatures.end())
    return signatures.bits()


def exhaust(steps: Iterator[None]) -> int:
    """Do work to its end, and return how many turns others had."""
    return sum(1 for _ in steps)


def may_have(bits: bytes, count: int, needle: str) -> list[int]:
    """Return which messages a segment does not leave out."""
    width = row_octets(count)
    places = len(bits) // width
    rows = [bits[place % places * width : (place % places + 1) * width] for place in sought(needle)]
    return [at for at, bit in enumerate(common(rows, count)) if bit]


class SignatureTests(unittest.SynchronousTestCase):
    """core/signatures.py"""

    def test_what_has_the_text_is_never_left_out(self) -> None:
        chance = random.Random(20261121)  # noqa: S311  the same each time
        texts = [fold("".join(chance.choices(LETTERS, k=chance.randrange(400)))) for _ in range(100)]
        bits = made(list(texts))
        left_out = 0
        for _ in range(500):
            text = chance.choice(texts)
            start = chance.randrange(len(text) + 1)
            needle = text[start : start + chance.randrange(1, 12)]
            if sought(needle):
                having = {at for at, text in enumerate(texts) if needle in text}
                found = may_have(bits, len(texts), needle)
                self.assertLessEqual(having, set(found), needle)
                left_out += len(texts) - len(found)
        self.assertGreater(left_out, 10_000)

    def test_what_lacks_the_text_is_mostly_left_out(self) -> None:
        chance = random.Random(7)  # noqa: S311  the same each time
        texts = [" ".join(f"{chance.randrange(10**6):06}" for _ in range(100)) for _ in range(64)]
        bits = made(list(texts))
        for needle in ("123456", "x2345", "4567 567"):
            having = [at for at, text in enumerate(texts) if needle in text]
            self.assertLess(len(may_have(bits, 64, needle)) - len(having), 8, needle)

    def test_one_sign_of_cjk_is_enough_and_two_letters_are_not(self) -> None:
        self.assertEqual(
            [bool(sought(text)) for text in ("日", "ab", "a b c", "éa", "é", "", " \n")], [1, 0, 0, 1, 0, 0, 0]
        )
        texts = ["東京", "京都", "日本"]
        self.assertEqual(may_have(made([*texts, *["x" * 40] * 5]), 8, "京"), [0, 1])

    def test_runs_of_four_tell_apart_what_runs_of_three_do_not(self) -> None:
        bits = made(["the station", "sta tat ati tio ion"])
        self.assertEqual(may_have(bits, 2, "station"), [0])

    def test_a_message_without_a_text_is_never_left_out(self) -> None:
        bits = made(["some words", None, "other words", None])
        self.assertEqual(may_have(bits, 4, "nothing of it"), [1, 3])

    def test_an_empty_text_is_always_left_out(self) -> None:
        self.assertEqual(may_have(made(["", "word"]), 2, "word"), [1])

    def test_rows_grow_with_the_texts_and_are_bounded(self) -> None:
        chance = random.Random(1)  # noqa: S311  the same each time

        def text(words: int) -> str:
            return " ".join("".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(words))

        sizes = [len(made([text(words) for _ in range(8)])) for words in (5, 50, 500, 5_000)]
        self.assertLess(sizes[0], sizes[1])
        self.assertLess(sizes[1], sizes[2])
        self.assertEqual(sizes[3], limits.TEXT_PLACES_MAX)

    def test_many_different_words_are_sorted_in_between_without_loss(self) -> None:
        chance = random.Random(2)  # noqa: S311  the same each time
        texts = [" ".join(f"{chance.randrange(10**9):09}" for _ in range(3_000)) for _ in range(8)]
        bits = made(list(texts))
        for at, text in enumerate(texts):
            for word in text.split()[::500]:
                self.assertIn(at, may_have(bits, 8, word))

    def test_others_have_their_turn_in_long_texts(self) -> None:
        signatures = Signatures(Words())
        chance = random.Random(3)  # noqa: S311  the same each time
        texts = [" ".join(f"{chance.randrange(10**9):09}" for _ in range(5_000)) for _ in range(13)]
        self.assertGreater(sum(exhaust(signatures.add(text.encode())) for text in texts), 100)
        exhaust(signatures.add(texts[0].encode()))
        self.assertGreater(exhaust(signatures.end()), 10)

    def test_a_text_of_nothing_but_noise_is_never_left_out(self) -> None:
        noise = random.Random(4).randbytes(60_000).hex()  # noqa: S311  the same each time
        self.assertEqual(may_have(made([noise, "word"]), 2, "nothing of it"), [0])

    def test_half_of_a_pair_and_nul_are_sought_as_they_are_stored(self) -> None:
        self.assertEqual(sought("ab\0cd"), sought("abcd"))
        self.assertEqual(sought("ab\ud800cd"), sought("ab?cd"))

    def test_a_long_text_asks_for_no_more_than_its_bound(self) -> None:
        self.assertLessEqual(len(sought("abcdefghijklmnopqrstuvwxyz" * 30)), limits.TEXT_GRAMS_MAX)
