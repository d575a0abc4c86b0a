"""What a mail account is, as naively as it can be said: names, and messages under ascending numbers."""

import itertools
from collections.abc import Iterable

import attrs

DELETED, SEEN = "\\Deleted", "\\Seen"


@attrs.define
class Letter:
    """A message: which letter it is a copy of, and its flags."""

    number: int
    flags: set[str]


@attrs.define(eq=False)
class Box:
    """A mailbox."""

    letters: dict[int, Letter] = attrs.field(factory=dict)
    """By UID, ascending."""
    next_uid: int = 1
    validity: int | None = None
    """As the server told it; None until it did."""
    gone: bool = False
    serial: int = attrs.field(factory=itertools.count(1).__next__)
    """Which mailbox it is, in the order in which they were made."""

    def add(self, number: int, flags: Iterable[str]) -> int:
        """Add a letter and return its UID."""
        uid, self.next_uid = self.next_uid, self.next_uid + 1
        self.letters[uid] = Letter(number, set(flags))
        return uid

    def expunge(self, uids: Iterable[int] | None = None) -> None:
        """Remove what is marked deleted, among some or all."""
        for uid in list(self.letters) if uids is None else uids:
            if uid in self.letters and DELETED in self.letters[uid].flags:
                del self.letters[uid]

    def take(self, other: "Box", uids: Iterable[int], *, moving: bool) -> list[tuple[int, int]]:
        """Copy or move letters of another mailbox; returns the pairs of old and new UIDs."""
        pairs = []
        for uid in sorted(set(uids) & set(other.letters)):
            letter = other.letters.pop(uid) if moving else other.letters[uid]
            pairs.append((uid, self.add(letter.number, letter.flags)))
        return pairs


@attrs.define
class Account:
    """The mailboxes of one user, by name."""

    boxes: dict[str, Box] = attrs.field(factory=lambda: {"INBOX": Box()})

    def create(self, name: str) -> bool:
        """Create a mailbox with its missing parents; returns whether that is allowed."""
        if name in self.boxes:
            return False
        levels = name.split("/")
        for depth in range(1, len(levels) + 1):
            self.boxes.setdefault("/".join(levels[:depth]), Box())
        return True

    def delete(self, name: str) -> bool:
        """Delete a mailbox that nothing lies below."""
        if name not in self.boxes or name == "INBOX" or self._below(name):
            return False
        self.boxes.pop(name).gone = True
        return True

    def rename(self, old: str, new: str) -> bool:
        """Rename a mailbox and what lies below it; INBOX gives away its messages and stays."""
        if old not in self.boxes or new in self.boxes or new.startswith(old + "/"):
            return False
        if any(new + name.removeprefix(old) in self.boxes for name in self._below(old)):
            return False
        if old == "INBOX":
            self.create(new)
            inbox = self.boxes["INBOX"]
            self.boxes[new].take(inbox, list(inbox.letters), moving=True)
            return True
        moved = {new + name.removeprefix(old): self.boxes.pop(name) for name in [old, *self._below(old)]}
        if "/" in new:
            self.create(new.rpartition("/")[0])
        self.boxes.update(moved)
        return True

    def _below(self, name: str) -> list[str]:
        return [other for other in self.boxes if other.startswith(name + "/")]

    def plain(self) -> dict[str, list[tuple[int, int, frozenset[str]]]]:
        """Return everything as comparable values: (UID, letter, flags) by mailbox."""
        return {
            name: [(uid, letter.number, frozenset(letter.flags)) for uid, letter in box.letters.items()]
            for name, box in self.boxes.items()
        }
