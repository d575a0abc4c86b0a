"""The only place that knows what every session asks first, and has new connections try it before anyone waits for it.

A server process of PostgreSQL begins with nothing: the first statement on a table reads its description from the
catalog, and each statement has to be planned once. For the first SELECT after a start that was a third of the work.
"""

from typing import Any, Final

import psycopg2
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sora.aio import gather
from sora.core.errors import SoraError
from sora.postgres import accounts, listing, mailboxes
from sora.postgres.adapter import Connection
from sora.postgres.pool import Pool
from sora.postgres.statement import Statement

log = Logger()

# All about nobody: there is no account 0 and no mailbox 0.
_ASKED: Final[tuple[tuple[Statement, dict[str, Any]], ...]] = (
    *accounts.ASKED_FIRST,
    *mailboxes.ASKED_FIRST,
    *listing.ASKED_FIRST,
)


async def rehearse(pool: Pool) -> None:
    """Ask on each of the connections that are kept open what sessions ask first; failures show when they do."""
    try:
        await gather([pool.run(_one) for _ in range(pool.settings.pool_min)])
    except (SoraError, psycopg2.Error) as error:
        log.warn("the first statements failed: {error}", error=error)


def _one(connection: Connection) -> "Deferred[None]":
    return Deferred.fromCoroutine(_ask(connection))


async def _ask(connection: Connection) -> None:
    for statement, parameters in _ASKED:
        await connection.query(statement, parameters)
