"""The only place that tells which commands name messages by numbers: none may once UIDONLY is enabled (RFC 9586)."""

from sora.core.criteria import Criteria, Numbers
from sora.imap import commands as c


def names_numbers(command: c.Command) -> bool:
    """Tell whether a command names messages by sequence numbers, or would be answered with them."""
    if getattr(command, "by_uid", True) is False:
        return True
    if isinstance(command, c.Select):
        return command.resync is not None and command.resync.match is not None
    criteria = getattr(command, "criteria", None)
    return isinstance(criteria, Criteria) and any(isinstance(step, Numbers) for step in criteria.steps)
