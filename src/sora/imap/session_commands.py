"""The only place for what the commands say that are about the session itself: COMPRESS, LANGUAGE, NOTIFY and so on.

`imap/session_parse` makes them; `imap/commands` has all the others.
"""

from enum import Enum

import attrs

from sora.imap.fetch_items import FetchItem


@attrs.frozen
class Compress:
    """COMPRESS (RFC 4978); `mechanism` in capitals."""

    mechanism: str


@attrs.frozen
class Unauthenticate:
    """UNAUTHENTICATE (RFC 8437)."""


@attrs.frozen
class Language:
    """LANGUAGE (RFC 5255 3.2); `ranges` are lower-cased, empty to ask which languages there are."""

    ranges: tuple[str, ...]


class Watched(Enum):
    """Which mailboxes a group of events is about (RFC 5465 6)."""

    SELECTED = b"SELECTED"
    SELECTED_DELAYED = b"SELECTED-DELAYED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    MAILBOXES = b"MAILBOXES"


class Event(Enum):
    """What a client can be told of (RFC 5465 5), as its name is written."""

    MESSAGE_NEW = "MessageNew"
    MESSAGE_EXPUNGE = "MessageExpunge"
    FLAG_CHANGE = "FlagChange"
    MAILBOX_NAME = "MailboxName"
    SUBSCRIPTION_CHANGE = "SubscriptionChange"
    MAILBOX_METADATA_CHANGE = "MailboxMetadataChange"
    SERVER_METADATA_CHANGE = "ServerMetadataChange"


@attrs.frozen
class EventGroup:
    """Events of some mailboxes; `names` are those of SUBTREE and MAILBOXES, `items` what MessageNew asks for."""

    which: Watched
    events: frozenset[Event]
    names: tuple[str, ...] = ()
    items: tuple[FetchItem, ...] = ()


@attrs.frozen
class Notify:
    """NOTIFY SET, or NOTIFY NONE without groups (RFC 5465 3.1)."""

    groups: tuple[EventGroup, ...]
    status: bool = False
    """Whether STATUS of the mailboxes comes first."""
    unknown: bool = False
    """Whether an event was named that sora does not know: NO, not BAD."""


SessionCommand = Compress | Unauthenticate | Language | Notify
