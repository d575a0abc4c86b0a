"""Which annotations have changed, for NOTIFY (RFC 5465 5.6, 5.7): found by comparing, as all that it tells."""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sora.core import limits
from sora.core.errors import LimitReached
from sora.core.ids import MailboxId
from sora.front.imap.session import ImapProtocol, Refusal
from sora.imap import metadata_parse, responses
from sora.store.annotations import PRIVATE, SHARED, Depth
from sora.store.model import MailboxRow

_ALL: Final = (PRIVATE.rstrip("/"), SHARED.rstrip("/"))
_SERVER: Final = MailboxId(0)
"""Stands for the server among mailboxes."""

Known = dict[MailboxId, dict[str, int]]
"""Of each mailbox its entries, with what tells one value from another."""


@attrs.define
class Annotated:
    """What a client knows of annotations."""

    _session: ImapProtocol
    _known: Known = attrs.field(factory=dict, init=False)
    _own: set[tuple[str, str]] = attrs.field(factory=set, init=False)
    """(mailbox, entry) that the client itself has set."""

    def did(self, mailbox: str, entries: Sequence[str]) -> None:
        """Note what the client itself has set, which it need not be told of (RFC 5465 5)."""
        self._own.update((mailbox, entry.lower()) for entry in entries)

    async def begin(self, rows: Sequence[MailboxRow], *, server: bool) -> None:
        """Read what there is, of mailboxes and of the server."""
        self._known = await self._read(rows, server=server)

    async def news(self, rows: Sequence[MailboxRow], *, server: bool) -> list[bytes]:
        """Return a METADATA line for each mailbox whose annotations have changed since."""
        before, self._known = self._known, await self._read(rows, server=server)
        own, self._own = self._own, set()
        lines = []
        for mailbox, name in [(_SERVER, ""), *((row.id, row.name) for row in rows)]:
            changed = _changed(before.get(mailbox, {}), self._known.get(mailbox, {}))
            entries = [entry for entry in changed if (name, entry) not in own]
            # A mailbox that was not watched before has changed in nothing.
            if entries and (mailbox in before or mailbox == _SERVER):
                shown = responses.mailbox(name, utf8=self._session.utf8)
                lines.append(metadata_parse.changed(shown, entries))
        return lines

    async def _read(self, rows: Sequence[MailboxRow], *, server: bool) -> Known:
        metadata, account = self._session.services.metadata, self._session.signed_in.account
        try:
            found = await metadata.read_many(account, rows, _ALL, Depth.ALL) if rows else {}
        except LimitReached as error:
            raise Refusal(str(error), b"NOTIFICATIONOVERFLOW") from None
        known: Known = {row.id: _marked(found.get(row.id, {})) for row in rows}
        if server:
            known[_SERVER] = _marked(await metadata.read(account, "", _ALL, Depth.ALL))
        if sum(map(len, known.values())) > limits.IMAP_NOTIFY_ENTRIES_MAX:
            raise Refusal("there are too many annotations", b"NOTIFICATIONOVERFLOW")
        return known


def _marked(values: Mapping[str, bytes]) -> dict[str, int]:
    return {entry: hash(value) for entry, value in values.items()}


def _changed(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    return sorted(entry for entry in before.keys() | now.keys() if before.get(entry) != now.get(entry))
