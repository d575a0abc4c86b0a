"""The only place that makes threads of messages (RFC 5256 3): columns in, a forest or its wire form out.

What references say is a peer's word: nothing here recurses, a loop is never linked, and the cost of each message is
bounded whatever it refers to. Messages are numbered from 0 in mailbox order, dummies above them.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import attrs

_BREAKS_MAX: Final = 1_000
"""How often a link may be broken for a better one (step 1.B): each makes what is known of roots void."""
_NONE: Final = -1


@attrs.define
class Columns:
    """What threading needs of messages, in mailbox order; ids and subjects are numbers, equal where the texts are."""

    own: Sequence[int]
    """The message's own id; 0 if it has none."""
    references: Sequence[Sequence[int]]
    """The ids it refers to, the nearest last."""
    sent: Sequence[int]
    """The sent date (RFC 5256 2.2), in any unit."""
    arrived: Sequence[int]
    subjects: Sequence[int]
    """The base subject; 0 if it is empty."""
    replies: Sequence[bool]
    """Whether the subject is that of a reply or forward."""


@attrs.define
class Forest:
    """Threads: the top messages, and the children of each that has some, all in order."""

    top: list[int]
    children: dict[int, list[int]]
    count: int
    """Numbers from here on are dummies."""


def ordered_subject(columns: Columns) -> Forest:
    """Make threads of equal base subjects (ORDEREDSUBJECT)."""
    sent, subjects = columns.sent, columns.subjects
    order = sorted(range(len(sent)), key=lambda one: (subjects[one], sent[one], one))
    threads = [list(group) for _, group in groupby(order, key=subjects.__getitem__)]
    threads.sort(key=lambda thread: (sent[thread[0]], thread[0]))
    return Forest(
        [thread[0] for thread in threads], {thread[0]: thread[1:] for thread in threads if len(thread) > 1}, len(sent)
    )


def references(columns: Columns) -> Forest:
    """Make threads of who refers to whom, then join those of one subject (REFERENCES)."""
    forest = _pruned(_Links(columns).parents, len(columns.own))
    order = _ranks(columns.sent)
    _sort_top(forest, order)
    _Subjects(columns, forest).gather()
    _sort(forest, order)
    return forest


def refs(columns: Columns) -> Forest:
    """Make threads of who refers to whom alone, the thread with the newest arrival last (REFS)."""
    forest = _pruned(_Links(columns).parents, len(columns.own))
    _sort(forest, _ranks(columns.sent))
    newest = {top: max(columns.arrived[one] for one in _members(forest, top)) for top in forest.top}
    # Stable: those that arrived at once stay as they were sent.
    forest.top.sort(key=newest.__getitem__)
    return forest


class _Links:
    """Step 1: who is whose parent. Disjoint sets tell whether a link would close a loop."""

    def __init__(self, columns: Columns) -> None:
        count = len(columns.own)
        self.parents = [_NONE] * count
        self._hints = [_NONE] * count
        """An ancestor of each that has a parent."""
        self._nodes: dict[int, int] = {}
        for number, own in enumerate(columns.own):
            if own:
                self._nodes.setdefault(own, number)
        self._breaks = 0
        for number, ids in enumerate(columns.references):
            self._message(number, ids)

    def _message(self, number: int, ids: Sequence[int]) -> None:
        nodes, parents = self._nodes, self.parents
        before = _NONE
        for one in ids:
            node = nodes.get(one)
            if node is None:
                node = nodes[one] = len(parents)
                parents.append(_NONE)
                self._hints.append(_NONE)
            if before >= 0 and parents[node] < 0 and self._root(before) != node:
                parents[node] = self._hints[node] = before
            before = node
        if parents[number] >= 0 and parents[number] != before:
            if self._breaks == _BREAKS_MAX:
                return
            self._breaks += 1
            parents[number] = _NONE
            self._hints = parents[:]
        if before >= 0 and parents[number] < 0 and self._root(before) != number:
            parents[number] = self._hints[number] = before

    def _root(self, node: int) -> int:
        hints = self._hints
        while (above := hints[node]) >= 0:
            if (higher := hints[above]) >= 0:
                hints[node] = higher
                node = higher
            else:
                node = above
        return node


def _pruned(parents: Sequence[int], count: int) -> Forest:
    """Leave out the dummies, but for those at the top that hold several together (steps 2 and 3)."""
    held: dict[int, int] = {}
    """Of each dummy: the nearest message above it, else the dummy at the top."""
    children: dict[int, list[int]] = {}
    top: list[int] = []
    for number in range(count):
        above = parents[number]
        if above < 0:
            top.append(number)
            continue
        passed = []
        while above >= count and above not in held and parents[above] >= 0:
            passed.append(above)
            above = parents[above]
        above = held.get(above, above)
        for dummy in passed:
            held[dummy] = above
        children.setdefault(above, []).append(number)
    for dummy in [one for one in children if one >= count]:
        if len(children[dummy]) == 1:
            top.extend(children.pop(dummy))
        else:
            top.append(dummy)
    return Forest(top, children, count)


def _ranks(moments: Sequence[int]) -> list[int]:
    """Return where each message stands by time, mailbox order deciding between equals."""
    ranks = [0] * len(moments)
    for rank, number in enumerate(sorted(range(len(moments)), key=moments.__getitem__)):
        ranks[number] = rank
    return ranks


def _sort_top(forest: Forest, ranks: Sequence[int]) -> None:
    """Sort the top, a dummy standing where its first child would (step 4)."""
    count, children = forest.count, forest.children
    for one in forest.top:
        if one >= count:
            children[one].sort(key=ranks.__getitem__)
    forest.top.sort(key=lambda one: ranks[one if one < count else children[one][0]])


def _sort(forest: Forest, ranks: Sequence[int]) -> None:
    """Sort all siblings (step 6)."""
    for siblings in forest.children.values():
        siblings.sort(key=ranks.__getitem__)
    _sort_top(forest, ranks)


class _Subjects:
    """Step 5: threads of one subject become one."""

    def __init__(self, columns: Columns, forest: Forest) -> None:
        self._columns = columns
        self._forest = forest
        self._dummies = max([forest.count, *(one + 1 for one in forest.top)])
        """The number of the next dummy."""

    def _first(self, one: int) -> int:
        return one if one < self._forest.count else self._forest.children[one][0]

    def _is_reply(self, one: int) -> bool:
        return one < self._forest.count and self._columns.replies[one]

    def gather(self) -> None:
        """Join the threads."""
        forest, subjects = self._forest, self._columns.subjects
        count = forest.count
        table: dict[int, int] = {}
        for one in forest.top:
            subject = subjects[self._first(one)]
            known = table.get(subject)
            if known is None or (
                known < count and (one >= count or (self._is_reply(known) and not self._is_reply(one)))
            ):
                table[subject] = one
        kept: list[int] = []
        replaced: dict[int, int] = {}
        """What stood in the table at first, and the dummy that stands in its place."""
        for one in forest.top:
            subject = subjects[self._first(one)]
            known = table[subject]
            if not subject or known == one or replaced.get(one) == known:
                kept.append(one)
                continue
            self._merge(one, known, table, replaced)
        forest.top = [replaced.get(one, one) for one in kept]

    def _merge(self, one: int, known: int, table: dict[int, int], replaced: dict[int, int]) -> None:
        count, children = self._forest.count, self._forest.children
        if known >= count and one >= count:
            children[known] += children.pop(one)
        elif known >= count or (self._is_reply(one) and not self._is_reply(known)):
            children.setdefault(known, []).append(one)
        else:
            dummy = self._dummies
            self._dummies += 1
            children[dummy] = [known, one]
            table[self._columns.subjects[known]] = dummy
            replaced[known] = dummy


def _members(forest: Forest, top: int) -> list[int]:
    """Return all messages of a thread."""
    found, waiting = [], [top]
    while waiting:
        one = waiting.pop()
        if one < forest.count:
            found.append(one)
        waiting += forest.children.get(one, ())
    return found


def written(forest: Forest, labels: Sequence[int]) -> bytes:
    """Write a forest as THREAD does, each message by its label (RFC 5256 4, BASE.7.2.THREAD)."""
    pieces: list[str] = []
    children, count = forest.children, forest.count
    none: list[int] = []
    for top in forest.top:
        waiting = [top]
        while waiting:
            one = waiting.pop()
            if one < 0:
                pieces.append(")")
                continue
            pieces.append("(")
            while True:
                below = children.get(one, none)
                if one < count:
                    pieces.append(str(labels[one]))
                    if below:
                        pieces.append(" ")
                if len(below) != 1:
                    break
                one = below[0]
            waiting.append(_NONE)
            waiting += below[::-1]
    return "".join(pieces).encode("ascii")
