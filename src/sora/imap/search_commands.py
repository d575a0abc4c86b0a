"""The only place for what SEARCH, SORT, THREAD, ESEARCH and CANCELUPDATE say (RFC 3501 6.4.4, RFC 5256, RFC 7377).

Made by `imap/search_parse`; result options are those of RFC 4731, 5182, 5267, 6203 and 9394.
"""

from enum import Enum

import attrs

from sora.core.criteria import Criteria
from sora.core.errors import SoraError
from sora.core.ordering import Order
from sora.imap.fetch_items import FetchItem, Range


class SearchReturn(Enum):
    """Result options; PARTIAL is `Returns.partial`."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    SAVE = b"SAVE"
    UPDATE = b"UPDATE"
    CONTEXT = b"CONTEXT"
    RELEVANCY = b"RELEVANCY"


@attrs.frozen
class Returns:
    """What is to be returned of what is found."""

    options: frozenset[SearchReturn]
    partial: Range | None = None
    items: tuple[FetchItem, ...] = ()
    """What UPDATE asks of new messages that match (RFC 5465 7)."""

    def __contains__(self, option: SearchReturn) -> bool:
        """Tell whether an option was given."""
        return option in self.options

    @property
    def saves(self) -> bool:
        """Whether `$` is to be set."""
        return SearchReturn.SAVE in self.options


EVERYTHING = Returns(frozenset((SearchReturn.ALL,)))
"""What an empty list of options means (RFC 4731 3.1)."""


class Algorithm(Enum):
    """How THREAD makes threads (RFC 5256 3, draft-ietf-morg-inthread)."""

    ORDEREDSUBJECT = b"ORDEREDSUBJECT"
    REFERENCES = b"REFERENCES"
    REFS = b"REFS"


class Source(Enum):
    """Which mailboxes ESEARCH looks in (RFC 7377 2.2, RFC 5465 6)."""

    SELECTED = b"SELECTED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    SUBTREE_ONE = b"SUBTREE-ONE"
    MAILBOXES = b"MAILBOXES"


@attrs.frozen
class Search:
    """SEARCH and UID SEARCH; `returns` is None without RETURN."""

    criteria: Criteria
    by_uid: bool = attrs.field(kw_only=True)
    modseq: bool = attrs.field(kw_only=True, default=False)
    """Whether MODSEQ was a key: the answer then carries the highest (RFC 7162 3.1.5)."""
    returns: Returns | None = attrs.field(kw_only=True, default=None)
    refusal: SoraError | None = attrs.field(kw_only=True, default=None)
    """Why it is answered NO; carried out nevertheless, as SAVE then empties `$` (RFC 5182 2.1)."""


@attrs.frozen
class Sort:
    """SORT and UID SORT."""

    keys: Order
    criteria: Criteria
    by_uid: bool = attrs.field(kw_only=True)
    modseq: bool = attrs.field(kw_only=True, default=False)
    returns: Returns | None = attrs.field(kw_only=True, default=None)
    refusal: SoraError | None = attrs.field(kw_only=True, default=None)


@attrs.frozen
class Thread:
    """THREAD and UID THREAD."""

    algorithm: Algorithm
    criteria: Criteria
    by_uid: bool = attrs.field(kw_only=True)


@attrs.frozen
class MultiSearch:
    """ESEARCH (RFC 7377): a search of several mailboxes; names belong to SUBTREE, SUBTREE-ONE and MAILBOXES."""

    sources: tuple[tuple[Source, tuple[str, ...]], ...]
    criteria: Criteria
    modseq: bool = attrs.field(kw_only=True, default=False)
    returns: Returns = attrs.field(kw_only=True, default=EVERYTHING)
    refusal: SoraError | None = attrs.field(kw_only=True, default=None)


@attrs.frozen
class CancelUpdate:
    """CANCELUPDATE (RFC 5267 4.3.5)."""

    tags: tuple[bytes, ...]
