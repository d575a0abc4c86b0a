"""Named searches: FILTER as a search key (RFC 5466 3.1). They are annotations of the server.

A filter stands for its search as a whole, as if in parentheses; it may name others, a few levels deep.
"""

from typing import Final, TypeVar

import attrs

from sora.core.criteria import Criteria, Filter, Numbers, Step, fuzzy
from sora.core.errors import LimitReached, SoraError
from sora.core.limits import IMAP_SEARCH_KEYS_MAX
from sora.front.imap.session import ImapProtocol, Refusal
from sora.imap import criteria, responses
from sora.imap import search_commands as commands
from sora.imap.tokens import Cursor
from sora.store.annotations import Depth

LEVELS_MAX: Final = 5
"""Filters within filters; RFC 5466 3.1 asks for three. What is deeper, or a loop, counts as not there."""
_PLACES: Final = ("/private/filters/values/", "/shared/filters/values/")

C = TypeVar("C", commands.Search, commands.Sort, commands.Thread, commands.MultiSearch)


async def applied(session: ImapProtocol, command: C) -> C:
    """Return the command with its filters put in; refuses those that are not there or no searches."""
    found = command.criteria
    modseq = False
    for level in range(LEVELS_MAX + 1):
        names = [step.name for step in found.steps if isinstance(step, Filter)]
        if not names:
            break
        if level == LEVELS_MAX:
            raise _undefined(names[0])
        found, more = await _replaced(session, found)
        modseq = modseq or more
    if found is command.criteria:
        return command
    if session.uid_only and any(isinstance(step, Numbers) for step in found.steps):
        raise Refusal("messages are named by UIDs alone", b"UIDREQUIRED", bad=True)
    if isinstance(command, commands.Thread) or not modseq:
        return attrs.evolve(command, criteria=found)
    return attrs.evolve(command, criteria=found, modseq=True)


async def _replaced(session: ImapProtocol, found: Criteria) -> tuple[Criteria, bool]:
    filters = {step.name: step for step in found.steps if isinstance(step, Filter)}
    if not all(step.utf8 for step in filters.values()):
        raise Refusal("filters are in UTF-8", responses.bad_charset(criteria.KNOWN_CHARSETS), bad=True)
    entries = [place + name for name in filters for place in _PLACES]
    values = await session.services.metadata.read(session.signed_in.account, "", entries, Depth.NOTHING)
    programs: dict[str, tuple[Step, ...]] = {}
    modseq = False
    for name in filters:
        value = next((values[place + name] for place in _PLACES if place + name in values), None)
        if value is None:
            raise _undefined(name)
        try:
            cursor = Cursor((value,))
            program, more = criteria.parse(cursor)
            cursor.finish()
        except SoraError:
            raise _undefined(name) from None
        programs[name] = program.steps
        modseq = modseq or more
    steps: list[Step] = []
    for step in found.steps:
        if not isinstance(step, Filter):
            steps.append(step)
        elif step.fuzzy:
            steps.extend(fuzzy(one) for one in programs[step.name])
        else:
            steps.extend(programs[step.name])
        if len(steps) > IMAP_SEARCH_KEYS_MAX:
            raise LimitReached(f"more than {IMAP_SEARCH_KEYS_MAX} search keys")
    return Criteria(tuple(steps)), modseq


def _undefined(name: str) -> Refusal:
    return Refusal("there is no such filter, or it is no search", b"UNDEFINED-FILTER " + name.encode("ascii"))
