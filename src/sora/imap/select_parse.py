"""The only place that reads the parameters of SELECT and EXAMINE (RFC 4466 2.1, RFC 7162 3.1.8 and 7)."""

from collections.abc import Callable

from sora.core.uidset import STAR, UidSet
from sora.imap import commands as c
from sora.imap.resync import Match, Resync
from sora.imap.tokens import MODSEQ_MAX, BadSyntax, Cursor


def parse_select(*, read_only: bool) -> Callable[[Cursor], c.Command]:
    """Return the reader of SELECT, or of EXAMINE."""

    def read(cursor: Cursor) -> c.Command:
        mailbox, written = cursor.named()
        condstore = False
        resync = None
        if not cursor.at_end:
            cursor.space()
            for _ in cursor.members("parameters", items_max=8):
                name = cursor.keyword("a parameter")
                if name == b"CONDSTORE":
                    condstore = True
                elif name == b"QRESYNC" and resync is None:
                    cursor.space()
                    resync = _resync(cursor)
                else:
                    raise BadSyntax("unknown or repeated parameter of SELECT")
        return c.Select(mailbox, read_only=read_only, condstore=condstore, resync=resync, written=written)

    return read


def _resync(cursor: Cursor) -> Resync:
    cursor.expect(b"(")
    uid_validity = cursor.number(minimum=1)
    cursor.space()
    modseq = cursor.number(MODSEQ_MAX)
    known = match = None
    if cursor.peek() == b" ":
        cursor.space()
        if cursor.peek() != b"(":
            known = _plain_set(cursor)
            if cursor.peek() == b" ":
                cursor.space()
                match = _match(cursor)
        else:
            match = _match(cursor)
    cursor.expect(b")")
    return Resync(uid_validity, modseq, known, match)


def _plain_set(cursor: Cursor) -> UidSet:
    found = cursor.sequence_set()
    if any(STAR in pair for pair in found.ranges):
        raise BadSyntax("a set that QRESYNC takes has no *")
    return found


def _match(cursor: Cursor) -> Match:
    cursor.expect(b"(")
    numbers = _ascending(_plain_set(cursor))
    cursor.space()
    uids = _ascending(_plain_set(cursor))
    cursor.expect(b")")
    return Match(tuple(_side_by_side(numbers, uids)))


def _ascending(found: UidSet) -> list[tuple[int, int]]:
    last = 0
    for low, high in found.ranges:
        if not last < low <= high:
            raise BadSyntax("sequence match data does not ascend")
        last = high
    return list(found.ranges)


def _side_by_side(numbers: list[tuple[int, int]], uids: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Cut two sets of one size into runs where both go on without a gap."""
    runs = []
    left, right = numbers[::-1], uids[::-1]
    while left and right:
        (number, number_end), (uid, uid_end) = left.pop(), right.pop()
        count = min(number_end - number, uid_end - uid) + 1
        runs.append((number, uid, count))
        if number + count <= number_end:
            left.append((number + count, number_end))
        if uid + count <= uid_end:
            right.append((uid + count, uid_end))
    if left or right:
        raise BadSyntax("sequence match data has not as many numbers as UIDs")
    return runs
