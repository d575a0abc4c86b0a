"""The only place for the rules of annotations (RFC 5464): names of entries, who may read and write which, their sizes.

Names are in small letters before anything looks at them. `/private/` entries are their writer's, whoever else uses the
mailbox; `/shared/` entries of a mailbox are everyone's, those of the server come from the configuration.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sora.core import limits
from sora.core.errors import NoSuchMailbox, NotPermitted, SoraError, SpecialUseTaken
from sora.core.ids import AccountId, MailboxId
from sora.core.rights import Rights
from sora.mail.mailboxes import SPECIAL_USES
from sora.mail.sharing import DENIED, MISSING, Place, Sharing
from sora.store.annotations import PRIVATE, SHARED, Annotations, Depth, below
from sora.store.interfaces import Mailboxes
from sora.store.model import MailboxRow

_ENTRY = re.compile(r"/(?:private|shared)(?:/[^\x00-\x1f\x7f-\U0010ffff*%/]+)*\Z")
_USING: Final = frozenset("rswip")
"""Beside `l`, any of these makes one a user of a mailbox, who sees its annotations (RFC 5464 3.3)."""


SPECIAL_USE: Final = "/private/specialuse"
"""The entry that is the special use of one's own mailbox (RFC 6154 4)."""


class EntryInvalid(SoraError):
    """The text is no name of an entry."""


class ValueTooLong(SoraError):
    """A value is longer than `limits.METADATA_VALUE_MAX`."""


def entry_name(text: str) -> str:
    """Return the canonical name of an entry. Raises `EntryInvalid`."""
    name = text.lower()
    if len(name) > limits.METADATA_ENTRY_MAX or not name.isascii() or _ENTRY.match(name) is None:
        raise EntryInvalid("an entry is called /private/... or /shared/..., without * and %")
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
            found = await self._annotations.read(place.mailbox, account, entries, depth)
            if not self._sharing.foreign(mailbox) and _asks_for_use(entries, depth):
                found = _with_use(found, await self._mailboxes.find(account, mailbox))
            return found
        found = await self._annotations.read(None, account, entries, depth)
        for entry, value in self._server.items():
            if any(below(entry, name, depth) for name in entries):
                found[entry] = value
        return dict(sorted(found.items()))

    async def read_many(
        self, account: AccountId, rows: Sequence[MailboxRow], entries: Sequence[str], depth: Depth = Depth.NOTHING
    ) -> dict[MailboxId, dict[str, bytes]]:
        """Read entries of mailboxes that LIST has read, of whose annotations one may know. Raises `LimitReached`."""
        mailboxes = [row.id for row in rows if _uses(row.rights)]
        found = await self._annotations.read_many(mailboxes, account, entries, depth)
        if _asks_for_use(entries, depth):
            own = [row for row in rows if row.special_use is not None and not self._sharing.foreign(row.name)]
            found = found | {row.id: _with_use(found.get(row.id, {}), row) for row in own}
        return found

    async def write(self, account: AccountId, mailbox: str, values: Mapping[str, bytes | None]) -> None:
        """Set entries of a mailbox, or of the server (an empty name), all or none.

        Raises `NoSuchMailbox`, `NotPermitted`, `ValueTooLong`, `TooManyAnnotations`, `EntryInvalid`, and
        `SpecialUseTaken` if a special use cannot be given.
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
        if SPECIAL_USE in values:
            if len(values) > 1 or self._sharing.foreign(mailbox):
                raise NotPermitted("the special use is set alone, and of one's own mailboxes only")
            await self._mailboxes.set_special_use(place.mailbox, _use(values[SPECIAL_USE]))
            return
        if shared and "w" not in place.rights:
            raise NotPermitted(DENIED)
        await self._annotations.write(place.mailbox, account, values)


def _uses(rights: Rights) -> bool:
    return "l" in rights and bool(rights & _USING)


def _asks_for_use(entries: Sequence[str], depth: Depth) -> bool:
    return any(below(SPECIAL_USE, name, depth) for name in entries)


def _with_use(found: Mapping[str, bytes], row: MailboxRow) -> dict[str, bytes]:
    if row.special_use is None:
        return dict(found)
    return dict(sorted({**found, SPECIAL_USE: row.special_use.encode("ascii")}.items()))


def _use(value: bytes | None) -> str | None:
    """Read what is to be a mailbox's special use. Raises `SpecialUseTaken` for what none can be given."""
    asked = (value or b"").decode("ascii", "replace").strip().lower()
    if not asked:
        return None
    for use in SPECIAL_USES:
        if use.lower() == asked:
            return use
    raise SpecialUseTaken("this special use cannot be given")
