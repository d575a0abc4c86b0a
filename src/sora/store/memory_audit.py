"""The only place for what `sora-admin check` reads of a store in memory."""

from collections.abc import Sequence

from sora.core.flags import SYSTEM_MASK
from sora.core.ids import BodyId, MailboxId, Uid
from sora.store.memory_state import State, fired
from sora.store.model import BodyRef, Finding, Slice

_FINDINGS_MAX = 10_000


class MemoryAudit:
    """`interfaces.Audit` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state

    @fired
    def next_slice(self, done: Slice | None) -> Slice | None:
        """Return one slice of everything."""
        return Slice("mailboxes") if done is None else None

    @fired
    def findings(self, among: Slice | None = None) -> list[Finding]:
        """Look for records that contradict each other."""
        found = []
        for mailbox in self._state.mailboxes.values():
            for uid, message in mailbox.messages.items():
                where, ids = f"mailbox {mailbox.id} uid {uid}", (mailbox.id, uid)
                if uid >= mailbox.uid_next:
                    found.append(Finding("uid-beyond-uidnext", where, f"UIDNEXT is {mailbox.uid_next}", ids))
                if message.modseq > mailbox.highest_modseq:
                    detail = f"HIGHESTMODSEQ is {mailbox.highest_modseq}"
                    found.append(Finding("modseq-beyond-highest", where, detail, ids))
                if message.flags & ~SYSTEM_MASK:
                    found.append(Finding("flags-unknown", where, f"bits {message.flags}", ids))
                if message.body.id not in self._state.bodies:
                    found.append(Finding("message-without-body", where, f"body {message.body.id}", ids))
        return found[:_FINDINGS_MAX]

    @fired
    def repair(self, finding: Finding) -> bool:
        """Raise the numbers that a mailbox gives next above those that it gave."""
        mailbox = self._state.mailboxes.get(MailboxId(finding.ids[0])) if finding.ids else None
        message = mailbox.messages.get(Uid(finding.ids[1])) if mailbox is not None else None
        if mailbox is None or message is None:
            return False
        if finding.kind == "uid-beyond-uidnext":
            mailbox.uid_next = max(mailbox.uid_next, finding.ids[1] + 1)
        elif finding.kind == "modseq-beyond-highest":
            mailbox.highest_modseq = max(mailbox.highest_modseq, message.modseq)
        else:
            return False
        return True

    @fired
    def references(self, *, after: BodyId, limit: int) -> list[BodyRef]:
        """List bodies ascending by id."""
        return [self._state.bodies[body].ref for body in sorted(self._state.bodies) if body > after][:limit]

    @fired
    def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return which object keys are named here."""
        known = {body.object_key for body in self._state.bodies.values()} | self._state.discarded.keys()
        return known & set(keys)

    @fired
    def keyed(self, *, after: str, upto: str | None, limit: int) -> list[BodyRef]:
        """List bodies by their object keys."""
        refs = sorted((body.ref for body in self._state.bodies.values()), key=lambda ref: ref.object_key)
        return [ref for ref in refs if ref.object_key > after and (upto is None or ref.object_key <= upto)][:limit]

    @fired
    def settle(self, body: BodyId, *, stored: bool) -> None:
        """Record whether the object store has a body."""
        kept = self._state.bodies.get(body)
        if kept is not None:
            kept.staged = None if stored else kept.staged

    @fired
    def discard(self, keys: Sequence[str]) -> None:
        """List object keys as to be deleted."""
        named = {body.object_key for body in self._state.bodies.values()}
        self._state.discarded.update(dict.fromkeys(key for key in keys if key not in named))
