"""The one table from what PostgreSQL and psycopg2 say to `core.errors`."""

from enum import Enum
from typing import Final

import psycopg2

from sora.core import errors

NAMED: Final[dict[str, type[errors.SoraError]]] = {
    "SO001": errors.NoSuchMailbox,
    "SO002": errors.MailboxExists,
    "SO003": errors.MailboxHasChildren,
    "SO004": errors.MailboxNameInvalid,
    "SO005": errors.UidsExhausted,
    "SO006": errors.LimitReached,
    "SO007": errors.OverQuota,
    "SO008": errors.NoSuchAccount,
    "SO009": errors.AccountExists,
    "SO010": errors.NoSuchMessage,
    "SO011": errors.SpecialUseTaken,
    "SO012": errors.TooManyAnnotations,
}
"""SQLSTATEs that our own SQL functions raise."""

_REPEATABLE: Final = frozenset({"40001", "40P01", "23503"})
"""serialization_failure, deadlock_detected, foreign_key_violation (a body that is collected in the very moment
it comes into use again): nothing was changed, and a second try may succeed."""
_STALE: Final = frozenset({"26000", "42P05", "0A000"})
"""A prepared name is not there, there already, or of another schema: nothing was executed."""
_BUSY: Final = frozenset({"57014", "55P03"})
_FULL: Final = frozenset({"53100"})
_AWAY: Final = frozenset({"25006"})
"""read_only_sql_transaction: this server was demoted."""
_AWAY_CLASSES: Final = ("08", "53", "57", "58", "XX", "F0")


class Outcome(Enum):
    """What a failed statement means for whoever sent it."""

    REFUSED = "refused"
    """PostgreSQL answered: nothing was changed, and trying again gives the same."""
    REPEAT = "repeat"
    """Nothing was changed; the same statement may succeed at once."""
    STALE = "stale"
    """Nothing was executed, and this connection's prepared names are not what we thought."""
    LOST = "lost"
    """The connection ended, or the server is leaving: a change may or may not have been committed."""


def outcome(error: BaseException) -> Outcome:
    """Judge an error that a statement ended with."""
    if not isinstance(error, psycopg2.Error):
        return Outcome.REFUSED
    code = error.pgcode
    if code is None:
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Outcome.LOST if lost or type(error) is psycopg2.DatabaseError else Outcome.REFUSED
    if code in _REPEATABLE:
        return Outcome.REPEAT
    if code in _STALE and (code != "0A000" or "cached plan" in str(error)):
        return Outcome.STALE
    if code[:3] == "57P" or code[:2] == "08" or code in _AWAY:
        return Outcome.LOST
    return Outcome.REFUSED


def translate(error: BaseException, *, changes: bool) -> BaseException:
    """Return the `SoraError` for an error; `changes` says whether the statement may have changed something.

    What is no expected error (wrong SQL, a violated constraint) is returned as it is: it is a bug.
    """
    if not isinstance(error, psycopg2.Error):
        return error
    if outcome(error) is Outcome.LOST:
        if changes and error.pgcode not in _AWAY:
            return errors.CommitUnknown("the connection to the database was lost before its answer came")
        return errors.DatabaseUnavailable("the connection to the database was lost")
    code = error.pgcode or ""
    if code in NAMED:
        return NAMED[code](error.diag.message_primary or "")
    if code in _BUSY or code in _REPEATABLE:
        return errors.Busy("the database did not get to it in time")
    if code in _FULL:
        return errors.StorageFull("the database has no room left")
    if code[:2] in _AWAY_CLASSES or code in _STALE:
        return errors.DatabaseUnavailable("the database cannot do its work")
    return error
