"""The only place for annotations in memory."""

from collections.abc import Mapping, Sequence

from sora.core import limits
from sora.core.errors import LimitReached, TooManyAnnotations
from sora.core.events import names_of
from sora.core.ids import AccountId, MailboxId
from sora.store.annotations import SHARED, TOO_MUCH, Depth, below
from sora.store.memory_state import State, fired

_NOBODY = AccountId(0)
_SERVER = MailboxId(0)


class MemoryAnnotations:
    """`store.annotations.Annotations` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._values = state.annotations

    def _seen(self, mailbox: MailboxId | None, reader: AccountId) -> dict[str, bytes]:
        if mailbox is not None and mailbox not in self._state.mailboxes:
            return {}
        place = mailbox or _SERVER
        return {**self._values.get((place, _NOBODY), {}), **self._values.get((place, reader), {})}

    @fired
    def read(
        self, mailbox: MailboxId | None, reader: AccountId, entries: Sequence[str], depth: Depth
    ) -> dict[str, bytes]:
        """Read the named entries, and what is below them, of a mailbox or (None) of the server, ascending."""
        seen = self._seen(mailbox, reader)
        return {entry: seen[entry] for entry in sorted(seen) if any(below(entry, name, depth) for name in entries)}

    @fired
    def read_many(
        self, mailboxes: Sequence[MailboxId], reader: AccountId, entries: Sequence[str], depth: Depth = Depth.NOTHING
    ) -> dict[MailboxId, dict[str, bytes]]:
        """Read the named entries, and what is below them, of several mailboxes; those without any are absent."""
        found = {}
        for mailbox in mailboxes:
            seen = self._seen(mailbox, reader)
            named = {entry: seen[entry] for entry in seen if any(below(entry, name, depth) for name in entries)}
            if named:
                found[mailbox] = named
        octets = sum(len(entry.encode()) + len(value) for named in found.values() for entry, value in named.items())
        if octets > limits.METADATA_READ_MAX:
            raise LimitReached(TOO_MUCH)
        return found

    @fired
    def write(self, mailbox: MailboxId | None, reader: AccountId, values: Mapping[str, bytes | None]) -> None:
        """Set entries all or none; None removes one."""
        if mailbox is not None:
            self._state.mailbox(mailbox)
        after = {
            **self._seen(mailbox, reader),
            **{entry: value for entry, value in values.items() if value is not None},
        }
        for entry, value in values.items():
            if value is None:
                after.pop(entry, None)
        octets = sum(len(entry.encode()) + len(value) for entry, value in after.items())
        too_much = len(after) > limits.METADATA_ENTRIES_MAX or octets > limits.METADATA_OCTETS_MAX
        if too_much and any(value is not None for value in values.values()):
            raise TooManyAnnotations("too many annotations, or too much in them")
        for entry, value in values.items():
            whose = _NOBODY if entry.startswith(SHARED) else reader
            kept = self._values.setdefault((mailbox or _SERVER, whose), {})
            if value is None:
                kept.pop(entry, None)
            else:
                kept[entry] = value
        told = [(names_of(reader), 0)]
        if mailbox is not None:
            # RFC 7162 3.2: an annotation changes its mailbox.
            self._state.mailbox(mailbox).advance()
        if mailbox is not None and any(entry.startswith(SHARED) for entry in values):
            told.append((mailbox, self._state.mailbox(mailbox).highest_modseq))
        self._state.announce(*told)
