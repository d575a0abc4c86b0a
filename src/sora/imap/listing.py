"""The only place that answers LIST, LSUB and XLIST from names: patterns, attributes, children.

RFC 3501 6.3.8 and 6.3.9, RFC 5258, RFC 3348, RFC 6154. Matching keeps the set of reachable pattern
positions as the bits of one integer, so that no pattern makes it slow (cases.md L5).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from sora.imap.commands import ListKind, ListMailboxes, Return, Selection
from sora.imap.mailbox_name import INBOX, SEPARATOR

Matcher = Callable[[str], bool]
_WILD = re.compile(r"[*%]")
_WILDS = re.compile(r"[*%]+")
_LOWER = re.compile(r"[inbox]")


@attrs.frozen
class Name:
    """A mailbox as LIST sees it."""

    name: str
    special_use: str | None = None
    subscribed: bool = False
    selectable: bool = True
    """Whether it may be selected; of one that may not be, LIST says so (RFC 5819 2)."""


@attrs.frozen
class Listed:
    """One answer; `child_info` names the selection options that something below fulfils (RFC 5258 3.5)."""

    name: str
    attributes: tuple[str, ...]
    matched: bool = True
    """Whether it is a mailbox shown for its own sake: only of these is more told, like STATUS (RFC 5819 3)."""
    child_info: tuple[bytes, ...] = ()


# ------------------------------------------------------------ patterns


def matcher(*patterns: str) -> Matcher:
    """Return a function that tells whether a canonical name matches any pattern.

    `*` is anything, `%` all but `/`; the first level INBOX is matched in any case of letters.
    """
    quick: list[Matcher] = []
    slow: list[str] = []
    for pattern in patterns:
        simple = None if _LOWER.search(pattern.partition(SEPARATOR)[0]) else _simple(pattern)
        if simple is None:
            slow.append(pattern)
        else:
            quick.append(simple)
    if slow:
        quick.append(_automaton(slow))
    return quick[0] if len(quick) == 1 else lambda name: any(one(name) for one in quick)


def _simple(pattern: str) -> Matcher | None:
    """Return the quick way for the commonest patterns."""
    if pattern == "*":
        return lambda name: True
    if pattern == "%":
        return lambda name: SEPARATOR not in name
    if not _WILD.search(pattern):
        return lambda name: name == pattern
    if pattern[-1] == "*" and not _WILD.search(prefix := pattern[:-1]):
        return lambda name: name.startswith(prefix)
    return None


def _symbols(pattern: str) -> str:
    """Make one wildcard of neighbours: `*` if any of them is."""
    return _WILDS.sub(lambda match: "*" if "*" in match[0] else "%", pattern)


def _automaton(patterns: Sequence[str]) -> Matcher:
    here: dict[str, int] = {}
    start = final = stars = percents = 0
    position = 0
    for pattern in patterns:
        start |= 1 << position
        for symbol in _symbols(pattern):
            bit = 1 << position
            if symbol == "*":
                stars |= bit
            elif symbol == "%":
                percents |= bit
            else:
                here[symbol] = here.get(symbol, 0) | bit
            position += 1
        # The place behind the last symbol is left by nothing, so patterns do not run into each other.
        final |= 1 << position
        position += 1
    either = {letter: here.get(letter, 0) | here.get(letter.lower(), 0) for letter in INBOX}
    wild = stars | percents
    start |= (start & wild) << 1

    def matches(name: str) -> bool:
        inbox = name.startswith(INBOX) and name[5:6] in ("", SEPARATOR)
        reached = start
        for index, character in enumerate(name):
            steps = either[character] if inbox and index < 5 else here.get(character, 0)
            stay = stars if character == SEPARATOR else wild
            reached = ((reached & steps) << 1) | (reached & stay)
            if not reached:
                return False
            reached |= (reached & wild) << 1
        return bool(reached & final)

    return matches


# ------------------------------------------------------------ answers


def answer(command: ListMailboxes, names: Sequence[Name], subscriptions: Iterable[str]) -> list[Listed]:
    """Return the answers, ascending by name.

    `names` are all mailboxes of the account, `subscriptions` all names subscribed to, whether or not
    they exist.
    """
    if command.patterns == ("",) and not command.extended:
        # RFC 3501 6.3.8: an empty pattern only asks for the separator.
        return [Listed("", ("\\Noselect",), matched=False)]
    wanted = [command.reference + pattern for pattern in command.patterns if pattern or not command.extended]
    matches = matcher(*wanted)
    if command.kind is ListKind.LSUB:
        return _lsub(matches, names, subscriptions, command)
    # With `*` what lies below is shown itself: levels that are no mailboxes go with a `%` at the end (RFC 3501 6.3.8).
    # Thunderbird takes each for a mailbox, asks for its rights, and alerts its user that it does not exist.
    levels = matcher(*(pattern for pattern in wanted if "*" not in pattern or pattern[-1] == "%"))
    return _list(matches, levels, names, frozenset(subscriptions), command)


def _ancestors(names: Iterable[str]) -> set[str]:
    """Return all names that have a name below them, given or implied."""
    found: set[str] = set()
    for name in names:
        end = name.rfind(SEPARATOR)
        while end > 0 and (parent := name[:end]) not in found:
            found.add(parent)
            end = name.rfind(SEPARATOR, 0, end)
    return found


def _lsub(
    matches: Matcher, names: Sequence[Name], subscriptions: Iterable[str], command: ListMailboxes
) -> list[Listed]:
    existing = {name.name for name in names}
    parents = _ancestors(existing)
    wanted = set(subscriptions)
    found = {name for name in wanted if matches(name)}
    if any("%" in pattern for pattern in command.patterns):
        # RFC 3501 6.3.9: with `%`, a parent of what is subscribed is shown, marked \\Noselect.
        found.update(name for name in _ancestors(wanted) if matches(name))
    answers = []
    for name in sorted(found):
        attributes = (_children(name in parents),)
        answers.append(Listed(name, attributes if name in wanted else ("\\Noselect", *attributes), name in existing))
    return answers


def _list(
    matches: Matcher, levels: Matcher, names: Sequence[Name], subscriptions: frozenset[str], command: ListMailboxes
) -> list[Listed]:
    existing = {name.name: name for name in names}
    parents = _ancestors(existing)
    candidates = existing.keys() | set(filter(levels, parents - existing.keys()))
    selection = command.selection
    if Selection.SUBSCRIBED in selection:
        candidates |= subscriptions
    criteria = tuple(option.value for option in _CRITERIA if option in selection)
    chosen = {name for name in candidates if _selected(name, existing, subscriptions, selection)}
    above: set[str] = set()
    shown = set(filter(matches, chosen))
    if Selection.RECURSIVEMATCH in selection:
        above = _ancestors(chosen)
        # A parent that is not chosen itself is only shown for the sake of children that are not (RFC 5258 3.5).
        shown.update(filter(matches, _ancestors(chosen - shown)))
    show = _Show(command, parents, subscriptions)
    answers = []
    for name in sorted(shown):
        matched = name in existing and name in chosen
        info = criteria if name in above else ()
        answers.append(Listed(name, show.attributes(name, existing.get(name)), matched, info))
    return answers


def _selected(
    name: str, existing: dict[str, Name], subscriptions: frozenset[str], selection: frozenset[Selection]
) -> bool:
    """Tell whether a name fulfils the selection options, apart from RECURSIVEMATCH."""
    if Selection.SUBSCRIBED in selection and name not in subscriptions:
        return False
    if Selection.SPECIAL_USE in selection:
        row = existing.get(name)
        return row is not None and row.special_use is not None
    return True


@attrs.frozen
class _Show:
    """Which attributes an answer has."""

    command: ListMailboxes
    parents: set[str]
    subscriptions: frozenset[str]

    def attributes(self, name: str, row: Name | None) -> tuple[str, ...]:
        found: list[str] = []
        if row is None:
            found.append("\\NonExistent" if self.command.extended else "\\Noselect")
        elif not row.selectable:
            found.append("\\Noselect")
        found.append(_children(name in self.parents))
        if name in self.subscriptions and (
            Return.SUBSCRIBED in self.command.returns or Selection.SUBSCRIBED in self.command.selection
        ):
            found.append("\\Subscribed")
        if row is not None and row.special_use is not None:
            found.append(row.special_use)
        if self.command.kind is ListKind.XLIST and name == INBOX:
            found.append("\\Inbox")
        return tuple(found)


_CRITERIA: Final = (Selection.SUBSCRIBED, Selection.SPECIAL_USE)
"""Selection options that RECURSIVEMATCH goes with, in the order in which CHILDINFO names them."""


def _children(has: bool) -> str:
    return "\\HasChildren" if has else "\\HasNoChildren"
