"""Judges what an account holds after a fault by what was acknowledged before it."""

import hashlib
import re
from collections import Counter
from typing import Final

import attrs

from tests.faults.clients import ImapSession, Lost
from tests.faults.ledger import MAILBOXES, Arrival, Copies, Copy, Ledger, Letters

_ROW: Final = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)")
_LETTER: Final = re.compile(rb"X-Letter: (\d+)\r\n")
_NUMBER: Final = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) (\d+)\]")


@attrs.frozen
class Found:
    """A message as a client sees it; `digest` is None if its octets were not asked for."""

    uid: int
    letter: int
    flags: frozenset[str]
    digest: bytes | None = None


@attrs.frozen
class Problem:
    """Something that is not as it must be; `kind` is lost, doubled, flags, octets, numbers or refused."""

    kind: str
    text: str


@attrs.define
class Look:
    """One account, read by a session of its own."""

    boxes: dict[str, list[Found]] = attrs.field(factory=dict)
    numbers: dict[str, dict[str, int]] = attrs.field(factory=dict)


def flags_of(text: bytes) -> frozenset[str]:
    """Return flags as written, without \\Recent, which belongs to sessions."""
    return frozenset(text.decode().split()) - {"\\Recent"}


def row_of(line: bytes) -> Found | None:
    """Read a line of FETCH (UID FLAGS and the letter's number), or of any other sort."""
    match = _ROW.match(line)
    return None if match is None else Found(int(match[1]), _letter(line), flags_of(match[2]))


def uids_of(text: bytes) -> list[int]:
    """Return the UIDs that APPENDUID names."""
    match = re.search(rb"\[APPENDUID \d+ ([\d:,]+)\]", text)
    return _expanded(match[1]) if match is not None else []


def copied_of(text: bytes) -> tuple[list[int], list[int]]:
    """Return the UIDs that COPYUID names, there and here."""
    match = re.search(rb"\[COPYUID \d+ ([\d:,]+) ([\d:,]+)\]", text)
    return (_expanded(match[1]), _expanded(match[2])) if match is not None else ([], [])


def _expanded(text: bytes) -> list[int]:
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


def digest_of(data: bytes) -> bytes:
    """Return the digest of a message without what delivery put before it."""
    start = data.find(b"X-Letter: ")
    return hashlib.sha256(data[max(start, 0) :]).digest()


async def look(session: ImapSession, ledger: Ledger, *, everything: bool = False) -> Look:
    """Read an account's mailboxes; octets of what was not verified yet, or of everything. Raises `Lost`."""
    seen = Look()
    for mailbox in MAILBOXES:
        session.numbers = []
        opened = await session.command(f"EXAMINE {mailbox}")
        if not opened.ok:
            raise Lost(f"EXAMINE {mailbox}: {opened.text.decode()}")
        found = [_NUMBER.search(line) for line in opened.untagged]
        seen.numbers[mailbox] = {match[1].decode(): int(match[2]) for match in found if match is not None}
        rows = await _fetch(session, "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Letter)])")
        boxes = {uid: Found(uid, _letter(line), flags) for uid, flags, line in rows}
        unread = [uid for uid in boxes if everything or (mailbox, uid) not in ledger.verified]
        for start in range(0, len(unread), 100):
            uids = ",".join(map(str, unread[start : start + 100]))
            for uid, _, line in await _fetch(session, uids, "(UID FLAGS BODY.PEEK[])"):
                data = line.partition(b"}\r\n")[2][:-1]
                boxes[uid] = attrs.evolve(boxes[uid], digest=digest_of(data))
        seen.boxes[mailbox] = list(boxes.values())
    return seen


async def _fetch(session: ImapSession, uids: str, items: str) -> list[tuple[int, frozenset[str], bytes]]:
    answer = await session.command(f"UID FETCH {uids} {items}")
    if not answer.ok:
        raise Lost(f"UID FETCH: {answer.text.decode()}")
    rows = ((_ROW.match(line), line) for line in answer.untagged)
    return [(int(match[1]), flags_of(match[2]), line) for match, line in rows if match is not None]


def _letter(line: bytes) -> int:
    match = _LETTER.search(line)
    return int(match[1]) if match is not None else 0


def judge(ledger: Ledger, seen: Look, letters: Letters, *, now: float, since: float | None = None) -> list[Problem]:
    """Return what is wrong, and have the ledger go on from what is there.

    A change that was not answered must be made as a whole or not at all. With `since`, changes of flags after that
    moment may be gone (PostgreSQL's host or postmaster was killed, and flags are committed without waiting).
    """
    problems = _octets(ledger, seen, letters)
    problems += _numbers(ledger, seen)
    outcomes = [_Comparison(ledger, copies, arrivals, since) for copies, arrivals in ledger.outcomes(now)]
    for one in outcomes:
        one.compare(seen)
    best = min(outcomes, key=lambda one: len(one.problems))
    problems += best.problems
    ledger.copies = best.after
    ledger.perhaps -= best.arrived
    ledger.met |= best.arrived
    ledger.owed.clear()
    ledger.pending = None
    for mailbox, box in ledger.copies.items():
        ledger.known[mailbox] = max(ledger.known[mailbox], *box, 0)
    return [Problem(one.kind, f"{ledger.user} {one.text}") for one in problems]


class _Comparison:
    """One of the outcomes that may be, beside what is there."""

    def __init__(self, ledger: Ledger, copies: Copies, arrivals: list[Arrival], since: float | None) -> None:
        self._ledger = ledger
        self._copies = copies
        self._arrivals = Counter(arrivals)
        self._since = since
        self.problems: list[Problem] = []
        self.arrived: set[int] = set()
        """Letters whose delivery turned out to have been made."""
        self.after: Copies = {}

    def compare(self, seen: Look) -> None:
        """Fill `problems` and `after`."""
        for mailbox in MAILBOXES:
            left = dict(self._copies[mailbox])
            self.after[mailbox] = {}
            for one in seen.boxes[mailbox]:
                known = left.pop(one.uid, None)
                self.after[mailbox][one.uid] = Copy(one.letter, one.flags, known.past if known is not None else [])
                if known is not None:
                    self._same(mailbox, one, known)
                else:
                    self._new(mailbox, one)
            for uid, copy in left.items():
                self._say("lost", f"{mailbox} UID {uid}: letter {copy.letter} is gone")
        for letter in self._ledger.owed - self.arrived:
            self._say("lost", f"INBOX: letter {letter} was acknowledged and never came")
        for arrival, count in self._arrivals.items():
            if count > 0:
                self._say("lost", f"{arrival.mailbox}: letter {arrival.letter} is half of a change")

    def _same(self, mailbox: str, one: Found, known: Copy) -> None:
        if one.letter != known.letter:
            self._say("octets", f"{mailbox} UID {one.uid}: letter {one.letter} instead of {known.letter}")
        elif not known.may_have(one.flags, self._since):
            self._say("flags", f"{mailbox} UID {one.uid}: {sorted(one.flags)} instead of {sorted(known.flags)}")

    def _new(self, mailbox: str, one: Found) -> None:
        arrival = Arrival(mailbox, one.letter, one.flags)
        delivered = mailbox == "INBOX" and one.letter not in self._ledger.met and one.letter not in self.arrived
        if self._arrivals[arrival] > 0:
            self._arrivals[arrival] -= 1
        elif delivered and (one.letter in self._ledger.owed or one.letter in self._ledger.perhaps):
            self.arrived.add(one.letter)
        else:
            self._say("doubled", f"{mailbox} UID {one.uid}: letter {one.letter} is not expected here")
        if one.uid <= self._ledger.known[mailbox]:
            self._say("numbers", f"{mailbox} UID {one.uid} is new, though {self._ledger.known[mailbox]} was there")

    def _say(self, kind: str, text: str) -> None:
        self.problems.append(Problem(kind, text))


def _octets(ledger: Ledger, seen: Look, letters: Letters) -> list[Problem]:
    problems = []
    for mailbox, found in seen.boxes.items():
        for one in found:
            if one.digest is None:
                if (mailbox, one.uid) not in ledger.verified:
                    problems.append(Problem("octets", f"{mailbox} UID {one.uid}: cannot be read"))
            elif one.digest != letters.digests.get(one.letter):
                problems.append(Problem("octets", f"{mailbox} UID {one.uid}: not the octets of letter {one.letter}"))
            else:
                ledger.verified.add((mailbox, one.uid))
    return problems


def _numbers(ledger: Ledger, seen: Look) -> list[Problem]:
    problems = []
    for mailbox, numbers in seen.numbers.items():
        validity = numbers.get("UIDVALIDITY", 0)
        if ledger.validities.setdefault(mailbox, validity) != validity:
            problems.append(Problem("numbers", f"{mailbox}: UIDVALIDITY {validity}"))
        top = max([*(one.uid for one in seen.boxes[mailbox]), *ledger.copies[mailbox], ledger.known[mailbox]])
        if numbers.get("UIDNEXT", 0) <= top:
            problems.append(Problem("numbers", f"{mailbox}: UIDNEXT {numbers.get('UIDNEXT')}, but UID {top} was given"))
    return problems
