"""What one account must hold: what was acknowledged, and the few changes that were not answered."""

import hashlib
import random
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import attrs

MAILBOXES: Final = ("INBOX", "Archive", "Trash")
LARGE: Final = 90_000
"""Octets of the letters that are to be larger than the server's `staging_max`."""

HISTORY: Final = 400

Copies = dict[str, dict[int, "Copy"]]


@attrs.frozen
class Letter:
    """A mail of the load, told apart by its number; its octets follow from the seed."""

    number: int
    data: bytes

    @property
    def digest(self) -> bytes:
        """The hash of the octets as sent."""
        return hashlib.sha256(self.data).digest()


class Letters:
    """Writes letters, each once, and remembers the digests of all."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.digests: dict[int, bytes] = {}

    def write(self) -> Letter:
        """Return the next letter."""
        number = len(self.digests) + 1
        drawn = random.Random(f"{self._seed}/letter/{number}")
        size = LARGE if drawn.random() < 0.03 else int(200 * 40 ** drawn.random())
        lines = [b"X-Letter: %d" % number, b"From: bob@example.net", b"Message-ID: <%d.%d@f>" % (number, self._seed)]
        lines += [b"Subject: letter %d" % number, b""]
        while size > 0:
            line = drawn.choice((b"", b".", b"..", b".x")) + drawn.randbytes(drawn.randrange(1, 35)).hex().encode()
            lines.append(line)
            size -= len(line)
        letter = Letter(number, b"\r\n".join(lines) + b"\r\n")
        self.digests[number] = letter.digest
        return letter


@attrs.define
class Copy:
    """A message in a mailbox, as it was acknowledged."""

    letter: int
    flags: frozenset[str] = frozenset()
    past: list[tuple[float, frozenset[str]]] = attrs.field(factory=list)
    """Flags it had, and until when."""

    def become(self, flags: frozenset[str], now: float) -> None:
        """Change the flags; the former ones are remembered."""
        self.past = [*self.past[-8:], (now, self.flags)]
        self.flags = flags

    def may_have(self, flags: frozenset[str], since: float | None) -> bool:
        """Tell whether flags are right; with `since`, changes after that moment may have been lost."""
        if flags == self.flags:
            return True
        return since is not None and any(until >= since and flags == old for until, old in self.past)


@attrs.frozen
class Arrival:
    """A message that must be somewhere under a UID that nobody was told."""

    mailbox: str
    letter: int
    flags: frozenset[str]


@attrs.frozen(kw_only=True)
class Change:
    """A change that was sent; when it is not answered it may be made or not, but not in part."""

    kind: str
    """append, copy, move, store or expunge."""
    mailbox: str
    uids: tuple[int, ...] = ()
    target: str = ""
    letter: int = 0
    flags: frozenset[str] = frozenset()
    add: bool = True

    def made(self, copies: Copies, now: float) -> tuple[Copies, list[Arrival]]:
        """Return what the mailboxes hold once it is made, and what came under UIDs yet unknown."""
        after = {name: {uid: attrs.evolve(copy) for uid, copy in box.items()} for name, box in copies.items()}
        here = after[self.mailbox]
        arrivals: list[Arrival] = []
        if self.kind == "append":
            arrivals = [Arrival(self.mailbox, self.letter, self.flags)]
        elif self.kind in ("copy", "move"):
            arrivals = [Arrival(self.target, here[uid].letter, here[uid].flags) for uid in self.uids]
            if self.kind == "move":
                for uid in self.uids:
                    del here[uid]
        elif self.kind == "store":
            for uid in self.uids:
                flags = here[uid].flags
                here[uid].become(flags | self.flags if self.add else flags - self.flags, now)
        else:
            for uid in [uid for uid in self.uids if uid in here]:
                del here[uid]
        return after, arrivals


@attrs.define
class Ledger:
    """One account, changed by one session only; deliveries may come at any time."""

    user: str
    copies: Copies = attrs.field(factory=lambda: {name: {} for name in MAILBOXES})
    owed: set[int] = attrs.field(factory=set)
    """Letters whose delivery was acknowledged and that nobody has seen yet."""
    perhaps: set[int] = attrs.field(factory=set)
    """Letters whose delivery was sent and not acknowledged."""
    met: set[int] = attrs.field(factory=set)
    """Delivered letters that were seen in INBOX."""
    known: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(MAILBOXES, 0))
    """The UID up to which all messages of a mailbox are known: what comes has a greater one."""
    validities: dict[str, int] = attrs.field(factory=dict)
    pending: Change | None = None
    verified: set[tuple[str, int]] = attrs.field(factory=set)
    """Copies whose octets were compared."""
    history: deque[str] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    """What was done last, for who looks for the reason of a problem."""

    def note(self, text: str) -> None:
        """Write down what happened."""
        self.history.append(f"{datetime.now(UTC):%H:%M:%S.%f} {text}")

    def delivered(self, letter: int) -> None:
        """Take note of an acknowledged delivery."""
        self.note(f"letter {letter} delivered")
        self.perhaps.discard(letter)
        if letter not in self.met:
            self.owed.add(letter)

    def sent(self, letter: int) -> None:
        """Take note of a delivery that is under way."""
        if letter not in self.met:
            self.perhaps.add(letter)

    def meet(self, mailbox: str, uid: int, letter: int, flags: frozenset[str]) -> bool:
        """Take note of a message that was seen; tells whether it was to be expected."""
        known = self.copies[mailbox].get(uid)
        if known is not None:
            return known.letter == letter
        if mailbox != "INBOX" or letter in self.met or uid <= self.known[mailbox]:
            return False
        if letter not in self.owed and letter not in self.perhaps:
            return False
        self.owed.discard(letter)
        self.met.add(letter)
        self.note(f"letter {letter} seen as UID {uid}")
        self.place(mailbox, uid, Copy(letter, flags))
        return True

    def place(self, mailbox: str, uid: int, copy: Copy) -> None:
        """Take note of a message under its UID."""
        self.copies[mailbox][uid] = copy
        if mailbox != "INBOX":
            # Only there deliveries may lie below.
            self.known[mailbox] = max(self.known[mailbox], uid)

    def settled(self, mailbox: str) -> list[int]:
        """Return UIDs of messages whose delivery nobody will try again."""
        return [uid for uid, copy in self.copies[mailbox].items() if copy.letter not in self.perhaps]

    def outcomes(self, now: float) -> Iterator[tuple[Copies, list[Arrival]]]:
        """Yield what may be there: without the change that was not answered, and with it."""
        yield self.copies, []
        if self.pending is not None:
            yield self.pending.made(self.copies, now)
