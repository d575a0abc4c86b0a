"""The only place for the rules of annotations (RFC 5464): names of entries, who may read and write which, their sizes.

Names are in small letters before anything looks at them. `/private/` entries are their writer's, whoever else uses the
mailbox; `/shared/` entries of a mailbox are everyone's, those of the server come from the configuration.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sora.core import limits
from sora.core.errors import NoSuchMailbox, NotPermitted, SoraError
from sora.core.ids import AccountId, MailboxId
from sora.core.rights import Rights
from sora.mail.sharing import DENIED, MISSING, Place, Sharing
from sora.store.annotations import PRIVATE, SHARED, Annotations, Depth, below
from sora.store.interfaces import Mailboxes
from sora.store.model import MailboxRow

_ENTRY = re.compile(r"/(?:private|shared)(?:/[^\x00-\x20\x7f-\U0010ffff*%/]+)*\Z")
_USING: Final = frozenset("rswip")
"""Beside `l`, any of these makes one a user of a mailbox, who sees its annotations (RFC 5464 3.3)."""


class EntryInvalid(SoraError):
    """The text is no name of an entry."""


class ValueTooLong(SoraError):
    """A value is longer than `limits.METADATA_VALUE_MAX`."""


def entry_name(text: str) -> str:
    """Return the canonical name of an entry. Raises `EntryInvalid`."""
    name = text.lower()
    if len(name) > limits.METADATA_ENTRY_MAX or not name.isascii() or _ENTRY.match(name) is None:
        raise EntryInvalid("an entry is called /private/… or /shared/…, without * and %")
    return name


class MetadataUseCases:
    """Annotations as users see them; errors of the store pass through."""

    def __init__(
        self,
        annotations: Annotations,
        mailboxes: Mailboxes,
        sharing: Sharing,
        *,
        server: Mapping[str, str] | None = None,
    ) -> None:
        """`mailboxes` are the store's own; `server` are the shared entries of the server, by their names."""
        self._annotations = annotations
        self._mailboxes = mailboxes
        self._sharing = sharing
        self._server = {name: value.encode() for name, value in (server or {}).items() if value}

    async def _place(self, account: AccountId, name: str) -> Place:
        """Find a mailbox of whose annotations one may know. Raises as if it did not exist."""
        if not self._sharing.foreign(name):
            row = await self._mailboxes.find(account, name)
            place = await self._sharing.place(account, name)
            return Place(row.id, place.owner, place.name, place.rights)
        place = await self._sharing.place(account, name)
        if not _uses(place.rights):
            raise NoSuchMailbox(MISSING)
        return place

    async def read(self, account: AccountId, mailbox: str, entries: Sequence[str], depth: Depth) -> dict[str, bytes]:
        """Read entries of a mailbox, or of the server (an empty name), ascending. Raises `NoSuchMailbox`."""
        if mailbox:
            place = await self._place(account, mailbox)
            return await self._annotations.read(place.mailbox, account, entries, depth)
        found = await self._annotations.read(None, account, entries, depth)
        for entry, value in self._server.items():
            if any(below(entry, name, depth) for name in entries):
                found[entry] = value
        return dict(sorted(found.items()))

    async def read_many(
        self, account: AccountId, rows: Sequence[MailboxRow], entries: Sequence[str], depth: Depth = Depth.NOTHING
    ) -> dict[MailboxId, dict[str, bytes]]:
        """Read entries of the mailboxes that LIST has read, of whose annotations one may know."""
        mailboxes = [row.id for row in rows if _uses(row.rights)]
        return await self._annotations.read_many(mailboxes, account, entries, depth)

    async def write(self, account: AccountId, mailbox: str, values: Mapping[str, bytes | None]) -> None:
        """Set entries of a mailbox, or of the server (an empty name), all or none.

        Raises `NoSuchMailbox`, `NotPermitted`, `ValueTooLong`, `TooManyAnnotations`, `EntryInvalid`.
        """
        if any(entry + "/" in (PRIVATE, SHARED) for entry in values):
            raise EntryInvalid("this is where entries are, and none itself")
        if any(value is not None and len(value) > limits.METADATA_VALUE_MAX for value in values.values()):
            raise ValueTooLong(f"a value of more than {limits.METADATA_VALUE_MAX} octets")
        shared = any(entry.startswith(SHARED) for entry in values)
        if not mailbox:
            if shared:
                raise NotPermitted("shared entries of the server are set by its administrators")
            await self._annotations.write(None, account, values)
            return
        place = await self._place(account, mailbox)
        if shared and "w" not in place.rights:
            raise NotPermitted(DENIED)
        await self._annotations.write(place.mailbox, account, values)


def _uses(rights: Rights) -> bool:
    return "l" in rights and bool(rights & _USING)
