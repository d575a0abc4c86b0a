"""The only place where criteria are answered from a session's view alone: flags, UIDs, modseqs.

All messages at once: a step's result is one big integer with an octet of 0 or 1 for each message, so that
a hundred thousand messages cost a few operations on whole columns.
"""

from array import array
from bisect import bisect_left, bisect_right
from itertools import compress

from sora.core import criteria as keys
from sora.core.uidset import UidSet
from sora.imap.view import Known

_PLAIN = (
    keys.All | keys.Flag | keys.Keyword | keys.Recent | keys.Uids | keys.ModSeqAtLeast | keys.And | keys.Or | keys.Not
)


def answerable(criteria: keys.Criteria) -> bool:
    """Tell whether the view knows enough to answer."""
    return all(isinstance(step, _PLAIN) for step in criteria.steps)


def search(criteria: keys.Criteria, known: Known) -> list[int]:
    """Return the UIDs that match, ascending. Raises `ValueError` if the criteria are not `answerable`."""
    count = len(known.uids)
    everything = int.from_bytes(b"\1" * count, "little")
    stack: list[int] = []
    for step in criteria.steps:
        match step:
            case keys.And(operands):
                result = everything
                for _ in range(operands):
                    result &= stack.pop()
            case keys.Or(operands):
                result = 0
                for _ in range(operands):
                    result |= stack.pop()
            case keys.Not():
                result = everything ^ stack.pop()
            case keys.All():
                result = everything
            case _:
                result, wanted = _chosen(step, known)
                if not wanted:
                    result ^= everything
        stack.append(result)
    (mask,) = stack
    return list(compress(known.uids, mask.to_bytes(count, "little")))


def _chosen(step: keys.Step, known: Known) -> tuple[int, bool]:
    """Return the messages a step names, and whether they or the others are wanted."""
    uids = known.uids
    wanted = True
    match step:
        case keys.Flag(bit, wanted):
            table = bytes(1 if value & bit else 0 for value in range(256))
            return int.from_bytes(known.flags.tobytes().translate(table), "little"), wanted
        case keys.Keyword(name, wanted):
            chosen = bytearray(len(uids))
            for uid, words in known.keywords.items():
                index = bisect_left(uids, uid)
                if index < len(uids) and uids[index] == uid:
                    chosen[index] = any(word.lower() == name for word in words)
        case keys.Recent(wanted):
            first = bisect_left(uids, known.recent_from)
            chosen = bytearray(first) + b"\1" * (len(uids) - first)
        case keys.Uids(named):
            chosen = _named(named, uids)
        case keys.ModSeqAtLeast(modseq):
            chosen = bytearray([value >= modseq for value in known.modseqs])
        case _:
            raise ValueError(f"{type(step).__name__} cannot be answered from the view")
    return int.from_bytes(chosen, "little"), wanted


def _named(named: UidSet, uids: "array[int]") -> bytearray:
    chosen = bytearray(len(uids))
    for low, high in named.resolve(uids[-1] if uids else 0):
        first, end = bisect_left(uids, low), bisect_right(uids, high)
        chosen[first:end] = b"\1" * (end - first)
    return chosen
