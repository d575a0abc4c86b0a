"""The only place where criteria are answered from a session's view: flags, UIDs, modseqs, and columns that are kept.

All messages at once: a step's result is one big integer with an octet of 0 or 1 for each message, so that
a hundred thousand messages cost a few operations on whole columns.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import compress

from sora.core import criteria as keys
from sora.core.uidset import UidSet
from sora.imap.view import Known

_PLAIN = (
    keys.All | keys.Flag | keys.Keyword | keys.Recent | keys.Uids | keys.ModSeqAtLeast | keys.And | keys.Or | keys.Not
)
Decide = Callable[[keys.Step], tuple[int, int]]
"""Returns which messages match a step that the view does not know, and which may."""


def answerable(criteria: keys.Criteria) -> bool:
    """Tell whether the view knows enough to answer."""
    return all(isinstance(step, _PLAIN) for step in criteria.steps)


def others(criteria: keys.Criteria) -> list[keys.Step]:
    """Return the steps that the view cannot answer."""
    return [step for step in criteria.steps if not isinstance(step, _PLAIN)]


def search(criteria: keys.Criteria, known: Known) -> list[int]:
    """Return the UIDs that match, ascending. Raises `ValueError` if the criteria are not `answerable`."""
    return judge(criteria, known, _unknown)[0]


def _unknown(step: keys.Step) -> tuple[int, int]:
    raise ValueError(f"{type(step).__name__} cannot be answered from the view")


def judge(criteria: keys.Criteria, known: Known, decide: Decide) -> tuple[list[int], list[int]]:
    """Return the UIDs that match and those that may, ascending."""
    count = len(known.uids)
    everything = int.from_bytes(b"\1" * count, "little")
    stack: list[tuple[int, int]] = []
    for step in criteria.steps:
        match step:
            case keys.And(operands):
                yes = maybe = everything
                for _ in range(operands):
                    one, perhaps = stack.pop()
                    yes, maybe = yes & one, maybe & perhaps
            case keys.Or(operands):
                yes = maybe = 0
                for _ in range(operands):
                    one, perhaps = stack.pop()
                    yes, maybe = yes | one, maybe | perhaps
            case keys.Not():
                one, perhaps = stack.pop()
                yes, maybe = everything ^ perhaps, everything ^ one
            case keys.All():
                yes = maybe = everything
            case _ if isinstance(step, _PLAIN):
                yes, wanted = _chosen(step, known)
                if not wanted:
                    yes ^= everything
                maybe = yes
            case _:
                yes, maybe = decide(step)
        stack.append((yes, maybe))
    ((yes, maybe),) = stack
    undecided = maybe ^ yes
    return (
        list(compress(known.uids, yes.to_bytes(count, "little"))),
        list(compress(known.uids, undecided.to_bytes(count, "little"))) if undecided else [],
    )


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
