"""Which LIST lines NOTIFY sends: of names that came, went or changed, and of mailboxes that may not be read.

RFC 5465 5.4, 5.5, 5.9.
"""

from collections.abc import Mapping, Sequence

from sora.core.ids import MailboxId
from sora.front.imap.session import ImapProtocol
from sora.imap import commands, listing, responses
from sora.imap.commands import Return
from sora.imap.mailbox_name import SEPARATOR
from sora.store.model import Listing, MailboxRow

Rows = Mapping[MailboxId, MailboxRow]


def readable(row: MailboxRow) -> bool:
    """Tell whether someone may be told what happens in a mailbox: that takes both rights (RFC 5465 5)."""
    return "l" in row.rights and "r" in row.rights


class Names:
    """LIST lines of single names; what all names are like is worked out once, and only if a line is asked for."""

    def __init__(self, session: ImapProtocol, everything: Listing) -> None:
        self._session = session
        self._everything = everything
        self._attributes: dict[str, tuple[str, ...]] | None = None

    def line(self, name: str, *, old: str | None = None) -> bytes:
        """Write LIST of a name as it is now, whether or not a mailbox has it; `old` is what it was called before."""
        attributes = self._all().get(name)
        if attributes is None:
            subscribed = name in self._everything.subscriptions
            attributes = ("\\NonExistent", "\\Subscribed") if subscribed else ("\\NonExistent",)
        return responses.list_line(b"LIST", attributes, name, old_name=old, utf8=self._session.utf8)

    def _all(self) -> dict[str, tuple[str, ...]]:
        if self._attributes is None:
            rows = self._everything.mailboxes
            names = [listing.Name(row.name, row.special_use, row.subscribed, selectable=readable(row)) for row in rows]
            returns = frozenset((Return.SUBSCRIBED, Return.CHILDREN))
            # The levels above them, too.
            patterns = ("*", "*%")
            asked = commands.ListMailboxes(
                commands.ListKind.LIST, "", patterns=patterns, returns=returns, extended=True
            )
            answers = listing.answer(asked, names, self._everything.subscriptions)
            self._attributes = {one.name: one.attributes for one in answers}
            for row in rows:
                if not readable(row):
                    self._attributes[row.name] = ("\\NoAccess", *self._attributes[row.name])
        return self._attributes


def opened_or_closed(before: Rows, now: Rows) -> Sequence[str]:
    """Return the names of mailboxes that could be read and cannot be any more, or the other way (RFC 5465 5.9)."""
    return [
        row.name for mailbox, row in now.items() if mailbox in before and readable(before[mailbox]) != readable(row)
    ]


def changed(before: Rows, now: Rows) -> list[tuple[str, str | None]]:
    """Return names that came or went, with the parent of each, and new names with the old ones (RFC 5465 5.4)."""
    renamed = {
        before[mailbox].name: row.name
        for mailbox, row in now.items()
        if mailbox in before and before[mailbox].name != row.name
    }
    gone = {row.name for mailbox, row in before.items() if mailbox not in now}
    come = {row.name for mailbox, row in now.items() if mailbox not in before}
    names: dict[str, str | None] = {}
    for name in sorted(gone | come):
        parent = name.rpartition(SEPARATOR)[0]
        if parent:
            names.setdefault(parent)
        names.setdefault(name)
    for old, new in sorted(renamed.items()):
        if not _with_parent(old, new, renamed):
            names[new] = old
    return list(names.items())


def _with_parent(old: str, new: str, renamed: Mapping[str, str]) -> bool:
    """Tell whether a name changed only because one above it did."""
    end = old.rfind(SEPARATOR)
    while end > 0:
        if renamed.get(old[:end]) is not None and renamed[old[:end]] + old[end:] == new:
            return True
        end = old.rfind(SEPARATOR, 0, end)
    return False
