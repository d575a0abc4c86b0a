"""What a text has in common with all that is in it: the only place that makes and asks signatures of texts.

Grams are the runs of three and of four octets in the words of a text in UTF-8; ASCII white space divides words. Each
stands for a place, and a segment is a table of bits: a row for each place, in it a bit for each message that has such
a gram. A text that contains another has all its grams, so a message that lacks one of the bits need not be looked at.
Octets instead of characters make one sign of CJK enough, and serve trace headers, which are compared as octets. With
runs of three alone nearly every long text would have all of an ordinary word.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from sora.core import limits

_PLACES_MIN: Final = 256
_FULL: Final = 0.35
"""The part of the bits that may be set: two places then leave out seven of eight messages that lack the text."""
_OCTETS_MAX: Final = 4 * limits.TEXT_PLACES_MAX
"""Octets of different words that are worth being told apart: a text of more has nearly all bits."""
_WORDS_MAX: Final = 8 * _OCTETS_MAX
"""Octets of words that are remembered with their messages before they become grams: 15 MB in all."""
_OCTETS_AT_ONCE: Final = 4_000
_SHORT: Final = 20
_REMEMBERED_MAX: Final = 50_000
"""Words: 15 MB."""
_NUMBERS: Final = tuple(range(limits.TEXT_PLACES_MAX))
"""One object for each place, however many words have it."""
_EIGHT: Final = tuple(bytes(octet >> bit & 1 for bit in range(8)) for octet in range(256))


def _place(gram: bytes) -> int:
    """Spread grams over places (Fibonacci hashing); of fewer places the low bits tell which."""
    return (int.from_bytes(gram, "big") * 0x9E3779B97F4A7C15 >> 32) % limits.TEXT_PLACES_MAX


def _evenly(grams: set[bytes], most: int) -> list[bytes]:
    found = sorted(grams)
    return found if len(found) <= most else [found[at * len(found) // most] for at in range(most)]


def sought(needle: str) -> tuple[int, ...]:
    """Return places whose bits every text has that contains `needle`; none if no word of it has three octets."""
    long: set[bytes] = set()
    short: set[bytes] = set()
    for word in needle.replace("\0", "").encode("utf-8", "replace").split():
        long.update(word[at : at + 4] for at in range(len(word) - 3))
        short.update(word[at : at + 3] for at in range(len(word) - 2))
    chosen = _evenly(long, limits.TEXT_GRAMS_MAX)
    chosen += _evenly(short, limits.TEXT_GRAMS_MAX - len(chosen))
    return tuple(sorted({_place(gram) for gram in chosen}))


class Words:
    """Knows the places of words; those of short ones are remembered, since texts have many words in common."""

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[int, ...]] = {}

    def places(self, word: bytes) -> tuple[int, ...]:
        """Return the places of a word's grams."""
        places = self._places.get(word)
        if places is None:
            grams = {word[at : at + 3] for at in range(len(word) - 2)}
            grams.update([word[at : at + 4] for at in range(len(word) - 3)])
            places = tuple([_NUMBERS[_place(gram)] for gram in grams])
            if len(word) <= _SHORT and len(self._places) < _REMEMBERED_MAX:
                self._places[word] = places
        return places


class Signatures:
    """Makes the bits of a segment, text after text.

    The work is on the different words of many texts. `add` and `end` yield wherever others may have their turn, every
    few milliseconds.
    """

    def __init__(self, words: Words) -> None:
        self._known = words
        self._count = 0
        self._everywhere = 0
        self._words: dict[bytes, int] = {}
        self._octets = 0
        self._rows = [0] * limits.TEXT_PLACES_MAX

    def add(self, text: bytes | None) -> Iterator[None]:
        """Take in the next message's text; None is one that must always be looked at."""
        holder = 1 << self._count
        self._count += 1
        different = set() if text is None else set(text.split())
        octets = sum(map(len, different))
        if text is None or octets > _OCTETS_MAX:
            self._everywhere |= holder
            return
        words = self._words
        known = words.get
        for word in different:
            words[word] = known(word, 0) | holder
        self._octets += octets
        if self._octets > _WORDS_MAX:
            yield from self.end()

    def end(self) -> Iterator[None]:
        """Take in what is left to do before `bits`."""
        rows, places_of = self._rows, self._known.places
        done = 0
        for word, holders in self._words.items():
            for place in places_of(word):
                rows[place] |= holders
            done += len(word)
            if done > _OCTETS_AT_ONCE:
                done = 0
                yield
        self._words.clear()
        self._octets = 0

    def bits(self) -> bytes:
        """Return the rows, as few as keep them sparse: each of an octet for each eight messages, the first lowest."""
        rows = self._rows
        most = _FULL * self._count
        while len(rows) > _PLACES_MIN:
            half = len(rows) // 2
            fewer = [low | high for low, high in zip(rows[:half], rows[half:], strict=True)]
            if sum([row.bit_count() for row in fewer]) > most * half:
                break
            rows = fewer
        width = row_octets(self._count)
        return b"".join([(row | self._everywhere).to_bytes(width, "little") for row in rows])


def row_octets(count: int) -> int:
    """Return how many octets a row of so many messages has."""
    return (count + 7) // 8


def common(rows: Iterable[bytes], count: int) -> bytes:
    """Return an octet of 0 or 1 for each of `count` messages: whether its bit is set in all rows."""
    every = (1 << count) - 1
    for row in rows:
        every &= int.from_bytes(row, "little")
    return b"".join([_EIGHT[octet] for octet in every.to_bytes(row_octets(count), "little")])[:count]
