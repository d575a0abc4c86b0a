"""Whether a server keeps what we promise: the settings read at start, and what is wrong with them."""

from typing import Final

from sora.core.errors import ConfigurationInvalid
from sora.postgres.work import Database

_VERSION_MIN: Final = 140000
_SETTINGS: Final = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_encoding', 'server_version_num',
                'data_checksums')
"""


async def complaints(database: Database) -> list[str]:
    """Return what about the server is weaker than what we promise, one sentence each."""
    rows = await database.fetch(_SETTINGS)
    return judge({name: value for name, value in rows})


def judge(settings: dict[str, str]) -> list[str]:
    """Return the complaints about these values of pg_settings."""
    found = []
    if settings["fsync"] != "on":
        found.append("fsync is off: a crash of the machine can destroy the database")
    if settings["full_page_writes"] != "on":
        found.append("full_page_writes is off: a crash of the machine can tear pages")
    if settings["synchronous_commit"] == "off":
        found.append("synchronous_commit is off: mail that was acknowledged can be lost in a crash")
    if settings["server_encoding"] != "UTF8":
        found.append(f"server_encoding is {settings['server_encoding']}, not UTF8: not all mail can be stored")
    if int(settings["server_version_num"]) < _VERSION_MIN:
        found.append("the server is older than PostgreSQL 14")
    return found


def advice(settings: dict[str, str]) -> list[str]:
    """Return what could be better but breaks no promise."""
    if settings.get("data_checksums") != "on":
        return ["data checksums are off: damage by the disk is noticed late"]
    return []


async def verify(database: Database, *, unsafe: bool = False) -> list[str]:
    """Refuse a server that keeps less than we promise, unless `unsafe`; returns what to warn about.

    Raises `ConfigurationInvalid` with all complaints.
    """
    rows = await database.fetch(_SETTINGS)
    settings = {name: value for name, value in rows}
    found = judge(settings)
    if found and not unsafe:
        raise ConfigurationInvalid([f"database: {complaint}" for complaint in found])
    return found + advice(settings)
