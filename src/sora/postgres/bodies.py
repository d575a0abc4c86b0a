"""Where bodies are, in PostgreSQL: the staged bytes, which are the upload queue, and the collector."""

from collections.abc import Sequence
from typing import Final

from sora.aio import deferred
from sora.core.ids import BodyId
from sora.postgres.rows import body_ref, strip
from sora.postgres.statement import Statement, integers
from sora.postgres.work import Database
from sora.store.interfaces import CLAIM_OCTETS
from sora.store.model import Upload

_STAGED: Final = Statement("SELECT body_id, data FROM staged_bodies WHERE body_id = ANY (%(bodies)s::bigint[])")
_FAILED: Final = Statement("""
UPDATE staged_bodies SET attempts = attempts + 1, last_error = %(reason)s, leased_until = NULL,
       due_at = now() + make_interval(secs => %(retry_after)s)
 WHERE body_id = %(body)s
""")
_BACKLOG: Final = Statement("""
SELECT count(*), coalesce(sum(size), 0)::bigint,
       coalesce(extract(epoch FROM now() - min(staged_at)), 0)::double precision
  FROM staged_bodies
""")
_DISCARDED: Final = Statement("DELETE FROM discarded_objects WHERE object_key = ANY (%(keys)s::text[])")
_REASON_MAX: Final = 500


class PostgresBodies:
    """`store.interfaces.Bodies` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @deferred
    async def staged(self, bodies: Sequence[BodyId]) -> dict[BodyId, bytes]:
        """Read staged bytes; a body that was uploaded meanwhile is absent."""
        rows = await self._database.fetch(_STAGED, {"bodies": integers(bodies)})
        return {BodyId(row[0]): bytes(row[1]) for row in rows}

    @deferred
    async def claim_uploads(
        self, limit: int, lease: float, *, octets_max: int = CLAIM_OCTETS, uploaded: Sequence[BodyId] = ()
    ) -> list[Upload]:
        """Record bodies as `uploaded`, then claim staged ones whose turn has come, for `lease` seconds.

        At most `limit` and `octets_max` octets, one at least; no two claimants get the same one.
        """
        rows = await self._database.call(
            "claim_uploads",
            {"done": integers(uploaded), "step": limit, "octets": octets_max, "lease": float(lease)},
        )
        return [Upload(ref=body_ref(row), data=bytes(row[5]), attempts=row[6]) for row in rows]

    @deferred
    async def uploaded(self, bodies: Sequence[BodyId]) -> None:
        """Record that the object store verifiably has the bodies, and drop the staged bytes."""
        if bodies:
            await self._database.call("record_uploads", {"done": integers(bodies)})

    @deferred
    async def upload_failed(self, body: BodyId, reason: str, retry_after: float) -> None:
        """Record a failed attempt; the body is due again after `retry_after` seconds."""
        await self._database.change(
            _FAILED, {"body": body, "reason": strip(reason)[:_REASON_MAX], "retry_after": float(retry_after)}
        )

    @deferred
    async def upload_backlog(self) -> tuple[int, int, float]:
        """Return how many bodies are staged, their octets, and the age of the oldest in seconds."""
        rows = await self._database.fetch(_BACKLOG)
        count, octets, age = rows[0]
        return count, octets, max(0.0, age)

    @deferred
    async def collect(self, *, grace: float, generation: float, limit: int) -> list[str]:
        """Do one bounded step of collection and return object keys that may be deleted now.

        Tombstones older than `grace` go; a body nobody refers to is condemned, and removed if it is
        still unreferenced `generation` seconds later. Keys stay listed until `discarded`.
        """
        rows = await self._database.call(
            "collect_step", {"grace": float(grace), "generation": float(generation), "limit": limit}
        )
        return [row[0] for row in rows]

    @deferred
    async def discarded(self, keys: Sequence[str]) -> None:
        """Record that the objects are gone from the object store."""
        if keys:
            await self._database.change(_DISCARDED, {"keys": list(keys)})
