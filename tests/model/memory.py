"""What a client that resynchronises keeps of a mailbox between its connections, and what it makes of the answers."""

import re

import attrs

_UID = re.compile(rb"\bUID (\d+)")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_MODSEQ = re.compile(rb"\bMODSEQ \((\d+)\)")
_HIGHEST = re.compile(rb"\* OK \[HIGHESTMODSEQ (\d+)\]")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)\Z")


def numbers(text: str) -> list[int]:
    """Read a set of numbers."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def plain(flags: bytes) -> set[str]:
    """Return flags as words, without \\Recent, of which the model knows nothing."""
    return {word for word in flags.decode().split() if word != "\\Recent"}


def vanished(line: bytes) -> tuple[bool, list[int]] | None:
    """Read VANISHED: whether it says EARLIER, and the UIDs."""
    found = _VANISHED.match(line)
    return None if found is None else (found[1] is not None, numbers(found[2].decode()))


@attrs.define
class Memory:
    """A mailbox as its client believes it to be, from nothing but what it was told."""

    validity: int = 0
    modseq: int = 0
    """Up to which it has been told everything (RFC 7162 6)."""
    flags: dict[int, set[str]] = attrs.field(factory=dict)
    """By UID, ascending."""

    def take(self, untagged: list[bytes]) -> None:
        """Take in the answers to one command."""
        highest, settled = self.modseq, None
        for line in untagged:
            uid, flags, modseq = _UID.search(line), _FLAGS.search(line), _MODSEQ.search(line)
            code, gone = _HIGHEST.match(line), vanished(line)
            if gone is not None:
                for one in gone[1]:
                    self.flags.pop(one, None)
            if code is not None:
                settled = int(code[1])
            if modseq is not None:
                highest = max(highest, int(modseq[1]))
            if uid is not None and flags is not None:
                self.flags[int(uid[1])] = plain(flags[1])
        # While an expunge waits the server says how far everything was told, whatever modseqs it shows.
        self.modseq = settled if settled is not None else highest

    def parameter(self, how: int) -> tuple[str, set[int]]:
        """Write the QRESYNC parameter in one of several ways; returns also the UIDs that it asks about."""
        uids = sorted(self.flags)
        known, asked, match = "", set(uids), ""
        if how & 1 and uids:
            asked = set(uids[:: 1 + how // 8 % 3])
            known = " " + ",".join(map(str, sorted(asked)))
        if how & 2 and uids:
            places = range(0, len(uids), 1 + how // 4 % 3)
            match = f" ({','.join(str(at + 1) for at in places)} {','.join(str(uids[at]) for at in places)})"
        return f"(QRESYNC ({self.validity} {self.modseq}{known}{match}))", asked
