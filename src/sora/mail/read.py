"""The only place where messages are read for a client: page by page, one page ahead of the writer.

A page is one query, and its bodies are read in portions of at most `IMAP_BODY_PAGE_MAX` octets (or one
body). Bytes that cannot be read are a value in the message's place: never an empty message, and no other
message waits or fails because of them.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred

from sora.aio import start
from sora.core import limits
from sora.core.errors import BodyUnavailable
from sora.core.ids import MailboxId
from sora.store.interfaces import BodyReader, Messages
from sora.store.model import BodyRef, FetchRow, Listed, Want

C = TypeVar("C")
R = TypeVar("R")


@attrs.define
class Message:
    """One message as read: its columns, and its body if bytes were wanted."""

    row: FetchRow
    data: bytes | Exception | None = None
    """The body as received, without the trace; why it cannot be read now; None if it was not wanted."""


class MessageReader:
    """Reads messages of a mailbox."""

    def __init__(
        self,
        messages: Messages,
        bodies: BodyReader,
        *,
        page: int = limits.IMAP_FETCH_PAGE,
        listing_page: int = limits.IMAP_LISTING_PAGE,
        body_page_max: int = limits.IMAP_BODY_PAGE_MAX,
    ) -> None:
        self._messages = messages
        self._bodies = bodies
        self._page = page
        self.listing_page = listing_page
        """Messages of one page of `listing`."""
        self._body_page_max = body_page_max

    async def pages(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> AsyncIterator[list[Message]]:
        """Yield messages in the order of `uids` (ascending); those that are gone are left out.

        With `Want.HEADER`, a message whose header is not stored apart comes with its body instead.
        """
        async for rows in self._rows_of(mailbox, uids, want):
            async for page in self._with_bodies(rows):
                yield page

    async def listing(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> AsyncIterator[Listed]:
        """Yield columns of messages within `Want.LISTED`, for `listing_page` of `uids` at a time."""
        chunks = [uids[at : at + self.listing_page] for at in range(0, len(uids), self.listing_page)]
        async for _, found in _ahead(chunks, lambda chunk: self._messages.listing(mailbox, chunk, want)):
            yield found

    async def _rows_of(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> AsyncIterator[list[FetchRow]]:
        chunks = [uids[at : at + self._page] for at in range(0, len(uids), self._page)]
        async for _, rows in _ahead(chunks, lambda chunk: start(self._rows(mailbox, chunk, want))):
            yield rows

    async def _rows(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> list[FetchRow]:
        rows = await self._messages.fetch(mailbox, uids, want)
        if Want.HEADER not in want or Want.BYTES in want:
            return rows
        large = {row.uid: row for row in rows if row.header is None}
        if large:
            for found in await self._messages.fetch(mailbox, list(large), Want.BYTES):
                large[found.uid].ref = found.ref
        return [row for row in rows if row.header is not None or row.ref is not None]

    async def _with_bodies(self, rows: list[FetchRow]) -> AsyncIterator[list[Message]]:
        portions = _portions(rows, self._body_page_max)
        async for portion, found in _ahead(portions, lambda portion: start(self._read(portion))):
            yield [Message(row, found.get(row.uid)) for row in portion]

    async def _read(self, rows: Sequence[FetchRow]) -> dict[int, bytes | Exception]:
        refs: list[BodyRef] = [row.ref for row in rows if row.ref is not None]
        if not refs:
            return {}
        bodies = await self._bodies.read(refs)
        missing = BodyUnavailable("the message cannot be read now")
        return {row.uid: bodies.get(row.ref.id, missing) for row in rows if row.ref is not None}


async def _ahead(chunks: Sequence[C], read: "Callable[[C], Deferred[R]]") -> AsyncIterator[tuple[C, R]]:
    """Yield each chunk with what was read of it, while the next one is being read and none after that."""
    ahead: Deferred[R] | None = None
    try:
        for number, chunk in enumerate(chunks):
            wait = ahead if ahead is not None else read(chunk)
            ahead = None
            found = await wait
            if number + 1 < len(chunks):
                ahead = read(chunks[number + 1])
            yield chunk, found
    finally:
        if ahead is not None:
            ahead.addErrback(lambda _: None)
            ahead.cancel()


def _portions(rows: list[FetchRow], octets_max: int) -> list[list[FetchRow]]:
    portions: list[list[FetchRow]] = []
    held = 0
    for row in rows:
        size = row.ref.size if row.ref is not None else 0
        if not portions or (portions[-1] and held + size > octets_max):
            portions.append([])
            held = 0
        portions[-1].append(row)
        held += size
    return portions
