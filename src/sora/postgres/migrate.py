"""Bringing a database to the schema this program needs: numbered deltas, applied once, by one node at a time.

A delta is `deltas/NNNN_what.sql`; its first line, `-- compat: N`, names the oldest delta whose program can
still work with the database after it. Each is a transaction, so that a program killed in between continues.
"""

import re
from importlib import resources
from typing import Any, Final

import attrs
import psycopg2

from sora.core.errors import ConfigurationInvalid
from sora.postgres.adapter import Connection
from sora.postgres.failures import translate
from sora.postgres.opening import Opener
from sora.postgres.settings import DatabaseSettings

_LOCK: Final = 0x736F7261
"""The advisory lock's key: "sora"."""
_NAME: Final = re.compile(r"(\d{4})_\w+\.sql\Z")
_COMPAT: Final = re.compile(r"-- compat: (\d+)\n")
_LOCK_WAIT: Final = "1s"
"""A delta that cannot have its locks within this gives up and is tried again, so that nobody queues behind it."""
_LOCK_TRIES: Final = 30

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
    version         integer PRIMARY KEY,
    compat_version  integer NOT NULL,
    applied_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_version IS 'A delta that was applied, and the oldest program that may use the result.'
"""
_APPLIED: Final = "SELECT version, compat_version FROM schema_version"
_RECORD: Final = "INSERT INTO schema_version (version, compat_version) VALUES (%(version)s, %(compat)s)"


WAIT_MAX: Final = 120.0
"""Seconds to wait for another node that is migrating."""


@attrs.frozen
class Delta:
    """One step of the schema."""

    version: int
    compat_version: int
    sql: str


def deltas() -> list[Delta]:
    """Read the program's deltas, ascending."""
    found = []
    for file in resources.files("sora.postgres.deltas").iterdir():
        if match := _NAME.match(file.name):
            sql = file.read_text("utf-8")
            compat = _COMPAT.match(sql)
            if compat is None:
                raise ValueError(f"{file.name} does not begin with its compat version")
            found.append(Delta(int(match.group(1)), int(compat.group(1)), sql))
    return sorted(found, key=lambda delta: delta.version)


async def migrate(settings: DatabaseSettings, reactor: Any, *, wait_max: float = WAIT_MAX) -> list[int]:
    """Apply what is missing and return the versions applied; `wait_max`: seconds for another node to finish.

    Raises `DatabaseUnavailable`, `Busy`; `ConfigurationInvalid` if the database needs a newer program than this.
    """
    connection = await Opener(settings, reactor).start()
    try:
        return await _migrate(connection, deltas(), wait_max)
    except psycopg2.Error as error:
        raise translate(error, changes=False) from error
    finally:
        connection.close()


async def _migrate(connection: Connection, steps: list[Delta], wait_max: float) -> list[int]:
    # Another node may be at it; the lock is the session's and ends with it.
    await connection.query("SET statement_timeout = 0; SET client_min_messages = warning")
    await connection.query(f"SET lock_timeout = {round(wait_max * 1000)}")
    await connection.query(f"SELECT pg_advisory_lock({_LOCK})")
    await connection.query("SET lock_timeout = 0")
    await connection.query(_CREATE)
    rows = await connection.query(_APPLIED)
    applied = {int(version) for version, _ in rows}
    needed = max((int(compat) for _, compat in rows), default=0)
    newest = steps[-1].version
    if needed > newest:
        raise ConfigurationInvalid(
            [f"the database has schema {max(applied)} and needs a sora that knows {needed}; this one knows {newest}"]
        )
    missing = [step for step in steps if step.version not in applied and step.version > max(applied, default=0)]
    for step in missing:
        await _apply(connection, step)
    return [step.version for step in missing]


async def _apply(connection: Connection, step: Delta) -> None:
    for attempt in range(_LOCK_TRIES):
        try:
            await connection.query(f"BEGIN; SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            await connection.query(step.sql)
            await connection.query(_RECORD, {"version": step.version, "compat": step.compat_version})
            await connection.query("COMMIT")
        except psycopg2.errors.LockNotAvailable:
            await connection.rolled_back()
            if attempt == _LOCK_TRIES - 1:
                raise
        else:
            return
