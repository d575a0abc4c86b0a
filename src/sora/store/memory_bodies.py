"""The only place for the in-memory life of bodies: staging, upload, collection."""

from collections.abc import Sequence

from sora.core.ids import BodyId
from sora.store.interfaces import CLAIM_OCTETS
from sora.store.memory_state import State, StoredAccount, StoredBody, fired
from sora.store.model import Upload


class MemoryBodies:
    """`interfaces.Bodies` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def staged(self, bodies: Sequence[BodyId]) -> dict[BodyId, bytes]:
        """Read staged bytes; a body that was uploaded meanwhile is absent."""
        found = {}
        for body_id in bodies:
            body = self._state.bodies.get(body_id)
            if body is not None and body.staged is not None:
                found[body_id] = body.staged
        return found

    @fired
    def claim_uploads(
        self, limit: int, lease: float, *, octets_max: int = CLAIM_OCTETS, uploaded: Sequence[BodyId] = ()
    ) -> list[Upload]:
        """Record what was uploaded, then claim staged bodies whose turn has come."""
        self._record(uploaded)
        now = self._state.seconds()
        due = [
            body
            for body in self._state.bodies.values()
            if body.staged is not None and body.due_at <= now and body.leased_until <= now
        ]
        due.sort(key=lambda body: body.id)
        claimed: list[Upload] = []
        for body in due[:limit]:
            if octets_max <= 0:
                break
            octets_max -= body.size
            body.leased_until = now + lease
            claimed.append(Upload(body.ref, body.staged or b"", body.attempts))
        return claimed

    @fired
    def uploaded(self, bodies: Sequence[BodyId]) -> None:
        """Record that the object store has the bodies, and drop the staged bytes."""
        self._record(bodies)

    def _record(self, bodies: Sequence[BodyId]) -> None:
        for body in bodies:
            stored = self._state.bodies.get(body)
            if stored is not None:
                stored.staged = None
                stored.leased_until = 0.0

    @fired
    def upload_failed(self, body: BodyId, reason: str, retry_after: float) -> None:
        """Record a failed attempt."""
        stored = self._state.bodies.get(body)
        if stored is not None:
            stored.attempts += 1
            stored.last_error = reason
            stored.leased_until = 0.0
            stored.due_at = self._state.seconds() + retry_after

    @fired
    def upload_backlog(self) -> tuple[int, int, float]:
        """Return how many bodies are staged, their octets, and the age of the oldest."""
        waiting = [body for body in self._state.bodies.values() if body.staged is not None]
        if not waiting:
            return 0, 0, 0.0
        oldest = min(body.staged_at for body in waiting)
        return len(waiting), sum(body.size for body in waiting), self._state.seconds() - oldest

    @fired
    def collect(self, *, grace: float, generation: float, limit: int) -> list[str]:
        """Do one step of collection and return object keys that may be deleted now."""
        state, now = self._state, self._state.seconds()
        for account in list(state.accounts.values()):
            if account.deleted_at is not None and now - account.deleted_at >= grace:
                self._remove_account(account)
        self._forget_tombstones(now - grace)
        referenced = self._referenced()
        for body in list(state.bodies.values()):
            if body.id in referenced or body.leased_until > now:
                body.condemned_at = None
            elif body.condemned_at is None:
                body.condemned_at = now
            elif now - body.condemned_at >= generation:
                self._remove_body(body)
        return list(state.discarded)[:limit]

    @fired
    def discarded(self, keys: Sequence[str]) -> None:
        """Record that the objects are gone."""
        for key in keys:
            self._state.discarded.pop(key, None)

    def _forget_tombstones(self, until: float) -> None:
        state = self._state
        for stone in state.tombstones:
            mailbox = state.mailboxes.get(stone.mailbox)
            if stone.gone_at <= until and mailbox is not None:
                mailbox.forget(stone.modseq)
        state.tombstones = [stone for stone in state.tombstones if stone.gone_at > until]

    def _referenced(self) -> set[BodyId]:
        state = self._state
        kept = {stone.message.body.id for stone in state.tombstones}
        for mailbox in state.mailboxes.values():
            kept.update(message.body.id for message in mailbox.messages.values())
        return kept

    def _remove_body(self, body: StoredBody) -> None:
        state = self._state
        del state.bodies[body.id]
        del state.bodies_by_hash[body.scope, body.hash]
        state.arrivals = {key: arrival for key, arrival in state.arrivals.items() if key[1] != body.id}
        state.discarded[body.object_key] = None

    def _remove_account(self, account: StoredAccount) -> None:
        state = self._state
        for mailbox in account.mailboxes.values():
            del state.mailboxes[mailbox.id]
            state.announce((mailbox.id, 0))
        for address in (account.address, *account.aliases):
            del state.addresses[address]
        del state.accounts[account.id]
