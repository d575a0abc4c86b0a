"""What the use cases ask of storage about annotations of mailboxes and of the server (RFC 5464)."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

from twisted.internet.defer import Deferred

from sora.core.ids import AccountId, MailboxId

PRIVATE: Final = "/private/"
SHARED: Final = "/shared/"
TOO_MUCH: Final = "there are more annotations than are read at once"


class Depth(Enum):
    """How far below the named entries is looked (RFC 5464 4.2.2)."""

    NOTHING = "0"
    CHILDREN = "1"
    ALL = "infinity"


def below(entry: str, name: str, depth: Depth) -> bool:
    """Tell whether a name at a depth means an entry."""
    if entry == name:
        return True
    rest = entry.removeprefix(name + "/")
    return depth is not Depth.NOTHING and rest != entry and (depth is Depth.ALL or "/" not in rest)


class Annotations(Protocol):
    """Entries by name, in small letters. Private ones are their reader's, shared ones are of all who use a mailbox."""

    def read(
        self, mailbox: MailboxId | None, reader: AccountId, entries: Sequence[str], depth: Depth
    ) -> "Deferred[dict[str, bytes]]":
        """Read the named entries, and what is below them, of a mailbox or (None) of the server, ascending."""

    def read_many(
        self, mailboxes: Sequence[MailboxId], reader: AccountId, entries: Sequence[str], depth: Depth = Depth.NOTHING
    ) -> "Deferred[dict[MailboxId, dict[str, bytes]]]":
        """Read the named entries, and what is below them, of several mailboxes; those without any are absent.

        Raises `LimitReached` if they have more octets than `METADATA_READ_MAX`.
        """

    def write(
        self, mailbox: MailboxId | None, reader: AccountId, values: Mapping[str, bytes | None]
    ) -> "Deferred[None]":
        """Set entries all or none; None removes one. Raises `NoSuchMailbox`, `TooManyAnnotations`.

        The feed announces the names of its reader's mailboxes (`core.events.names_of`); a mailbox whose shared entries
        change once more with the modseq that it has.
        """
