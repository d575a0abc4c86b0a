"""The only place where messages are read for a client: page by page, one page ahead of the writer.

A page is one query, and its bodies are read in portions of at most `IMAP_BODY_PAGE_MAX` octets (or one
body). Bytes that cannot be read are a value in the message's place: never an empty message, and no other
message waits or fails because of them.
"""

from collections.abc import AsyncIterator, Sequence

import attrs
from twisted.internet.defer import Deferred

from sora.aio import start
from sora.core import limits
from sora.core.errors import BodyUnavailable
from sora.core.ids import MailboxId
from sora.store.interfaces import BodyReader, Messages
from sora.store.model import BodyRef, FetchRow, Want


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
        body_page_max: int = limits.IMAP_BODY_PAGE_MAX,
    ) -> None:
        self._messages = messages
        self._bodies = bodies
        self._page = page
        self._body_page_max = body_page_max

    async def pages(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> AsyncIterator[list[Message]]:
        """Yield messages in the order of `uids` (ascending); those that are gone are left out.

        With `Want.HEADER`, a message whose header is not stored apart comes with its body instead.
        """
        async for rows in self.rows(mailbox, uids, want):
            async for page in self._with_bodies(rows):
                yield page

    async def rows(self, mailbox: MailboxId, uids: Sequence[int], want: Want) -> AsyncIterator[list[FetchRow]]:
        """Yield the columns of messages, as `pages` does, without their bytes."""
        chunks = [uids[at : at + self._page] for at in range(0, len(uids), self._page)]
        ahead: Deferred[list[FetchRow]] | None = None
        try:
            for number, chunk in enumerate(chunks):
                wait = ahead if ahead is not None else start(self._rows(mailbox, chunk, want))
                ahead = None
                rows = await wait
                if number + 1 < len(chunks):
                    ahead = start(self._rows(mailbox, chunks[number + 1], want))
                yield rows
        finally:
            if ahead is not None:
                ahead.addErrback(lambda _: None)
                ahead.cancel()

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
        ahead: Deferred[dict[int, bytes | Exception]] | None = None
        try:
            for number, portion in enumerate(portions):
                wait = ahead if ahead is not None else start(self._read(portion))
                ahead = None
                found = await wait
                if number + 1 < len(portions):
                    ahead = start(self._read(portions[number + 1]))
                yield [Message(row, found.get(row.uid)) for row in portion]
        finally:
            if ahead is not None:
                ahead.addErrback(lambda _: None)
                ahead.cancel()

    async def _read(self, rows: Sequence[FetchRow]) -> dict[int, bytes | Exception]:
        refs: list[BodyRef] = [row.ref for row in rows if row.ref is not None]
        if not refs:
            return {}
        bodies = await self._bodies.read(refs)
        missing = BodyUnavailable("the message cannot be read now")
        return {row.uid: bodies.get(row.ref.id, missing) for row in rows if row.ref is not None}


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
