"""The only place for what UIDONLY changes (RFC 9586): messages are never named by numbers, nor a UID said twice."""

from collections.abc import Sequence

from sora.core.criteria import Criteria, Numbers
from sora.imap import commands as c
from sora.imap.responses import SHAPE_UID

Columns = Sequence[Sequence[bytes] | Sequence[int]]


def names_numbers(command: c.Command) -> bool:
    """Tell whether a command names messages by sequence numbers, or would be answered with them."""
    if getattr(command, "by_uid", True) is False:
        return True
    if isinstance(command, c.Select):
        return command.resync is not None and command.resync.match is not None
    criteria = getattr(command, "criteria", None)
    return isinstance(criteria, Criteria) and any(isinstance(step, Numbers) for step in criteria.steps)


def said_once(shape: Sequence[bytes], columns: Columns) -> tuple[Sequence[bytes], Columns]:
    """Return the shape and the columns of UIDFETCH answers without the item UID: they begin with it."""
    if SHAPE_UID not in shape:
        return shape, columns
    at = shape.index(SHAPE_UID)
    return [*shape[:at], *shape[at + 1 :]], [*columns[:at], *columns[at + 1 :]]
