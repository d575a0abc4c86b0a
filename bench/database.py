"""What this project's server has its PostgreSQL do: read beside it, on a connection of our own."""

from pathlib import Path
from typing import Any

import psycopg2

_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
_TABLES = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace IN "
    "(SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema') ORDER BY 1"
)
_STAGED = "SELECT count(*) FROM staged_bodies"


class Database:
    """A connection to the embedded PostgreSQL below a state directory; each question is a transaction."""

    def __init__(self, state: Path) -> None:
        """Connect."""
        lock = next(state.rglob("postmaster.pid")).read_text("utf-8").splitlines()
        self._connection: Any = psycopg2.connect(host=lock[4], port=int(lock[3]), user="postgres", dbname="sora")
        self._connection.autocommit = True
        self._asked = 0

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        self._asked += 1
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def transactions(self) -> int:
        """Return how many transactions there were until now, ours left out.

        Those of a connection that is idle since are counted within ten seconds (pgstat's interval).
        """
        self._ask("SELECT pg_stat_force_next_flush()")
        return int(self._ask(_TRANSACTIONS)[0][0]) - self._asked + 1

    def connections(self) -> int:
        """Return how many others are connected."""
        return int(self._ask(_CONNECTIONS)[0][0])

    def staged(self) -> int:
        """Return how many bodies wait for their upload."""
        return int(self._ask(_STAGED)[0][0])

    def tables(self) -> dict[str, int]:
        """Return what each table takes with its indexes and TOAST, in octets."""
        return {str(name): int(size) for name, size in self._ask(_TABLES)}

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
