"""The only place for the in-memory life of bodies: staging, upload, collection, and their audit."""

from collections.abc import Sequence

from sora.core.flags import SYSTEM_MASK
from sora.core.ids import BodyId
from sora.store.memory_state import State, StoredAccount, StoredBody, fired
from sora.store.model import BodyRef, Finding, Upload

_FINDINGS_MAX = 10_000


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
    def claim_uploads(self, limit: int, lease: float) -> list[Upload]:
        """Claim staged bodies whose turn has come."""
        now = self._state.seconds()
        due = [
            body
            for body in self._state.bodies.values()
            if body.staged is not None and body.due_at <= now and body.leased_until <= now
        ]
        due.sort(key=lambda body: (body.due_at, body.id))
        claimed = []
        for body in due[:limit]:
            body.leased_until = now + lease
            claimed.append(Upload(body.ref, body.staged or b"", body.attempts))
        return claimed

    @fired
    def uploaded(self, body: BodyId) -> None:
        """Record that the object store has the body, and drop the staged bytes."""
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
        state.tombstones = [stone for stone in state.tombstones if now - stone.gone_at < grace]
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


class MemoryAudit:
    """`interfaces.Audit` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def findings(self) -> list[Finding]:
        """Look for records that contradict each other."""
        found = []
        for mailbox in self._state.mailboxes.values():
            for uid, message in mailbox.messages.items():
                where = f"mailbox {mailbox.id} uid {uid}"
                if uid >= mailbox.uid_next:
                    found.append(Finding("uid-beyond-next", where, f"UIDNEXT is {mailbox.uid_next}"))
                if message.modseq > mailbox.highest_modseq:
                    found.append(Finding("modseq-beyond-highest", where, f"HIGHESTMODSEQ is {mailbox.highest_modseq}"))
                if message.flags & ~SYSTEM_MASK:
                    found.append(Finding("flags-unknown", where, f"bits {message.flags}"))
                if message.body.id not in self._state.bodies:
                    found.append(Finding("message-without-body", where, f"body {message.body.id}"))
        return found[:_FINDINGS_MAX]

    @fired
    def references(self, *, after: BodyId, limit: int) -> list[BodyRef]:
        """List bodies ascending by id."""
        return [self._state.bodies[body].ref for body in sorted(self._state.bodies) if body > after][:limit]

    @fired
    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return which object keys are named here."""
        known = {body.object_key for body in self._state.bodies.values()} | self._state.discarded.keys()
        return known & set(keys)
