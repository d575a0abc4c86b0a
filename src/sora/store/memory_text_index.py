"""The only place for indexes of texts in memory."""

from array import array
from collections.abc import Sequence

import attrs

from sora.core.ids import MailboxId
from sora.core.signatures import row_octets
from sora.core.text import fold
from sora.store.memory_state import State, fired
from sora.store.text_index import Rows, Text


@attrs.define
class _Index:
    used_at: float
    leased_until: float = 0.0
    segments: "list[tuple[array[int], bytes]]" = attrs.Factory(list)

    @property
    def upto(self) -> int:
        return self.segments[-1][0][-1] if self.segments else 0


class MemoryTextIndexes:
    """`store.text_index.TextIndexes` in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._indexes: dict[MailboxId, _Index] = {}

    @fired
    def read(self, mailbox: MailboxId, places: Sequence[int], *, want: bool) -> list[Rows]:
        """Read of each segment the rows of places."""
        if mailbox not in self._state.mailboxes:
            return []
        if want:
            self._indexes.setdefault(mailbox, _Index(self._state.clock.seconds()))
        index = self._indexes.get(mailbox)
        if index is None:
            return []
        index.used_at = self._state.clock.seconds()
        found = []
        for uids, bits in index.segments:
            width = row_octets(len(uids))
            starts = [place % (len(bits) // width) * width for place in places]
            found.append(Rows(uids, b"".join(bits[start : start + width] for start in starts)))
        return found

    @fired
    def claim(self, *, messages: int, lease: float) -> tuple[MailboxId, int] | None:
        """Take a mailbox that has so many messages beyond its index."""
        now = self._state.clock.seconds()
        for mailbox, index in sorted(self._indexes.items(), key=lambda item: item[1].leased_until):
            stored = self._state.mailboxes.get(mailbox)
            if stored is None or index.leased_until > now:
                continue
            if sum(uid > index.upto for uid in stored.messages) >= messages:
                index.leased_until = now + lease
                return mailbox, index.upto
        return None

    @fired
    def texts(self, mailbox: MailboxId, *, after: int, limit: int, octets_max: int) -> list[Text]:
        """Read the first messages above a UID."""
        stored = self._state.mailboxes.get(mailbox)
        messages = [] if stored is None else [one for uid, one in sorted(stored.messages.items()) if uid > after]
        found = []
        for message in messages[:limit]:
            text = message.body.described
            octets = "\n".join((text.body_text, text.header_text, "")).encode("utf-8", "replace")
            # As `store.evaluate` compares it.
            octets += fold(message.trace.decode("utf-8", "replace")).encode("utf-8")
            found.append(Text(message.uid, octets if text.text_complete and len(octets) <= octets_max else None))
        return found

    @fired
    def add(self, mailbox: MailboxId, after: int, uids: "array[int]", bits: bytes) -> None:
        """Add a segment, unless the index does not end at `after` any more."""
        index = self._indexes.get(mailbox)
        if index is not None and index.upto == after:
            index.segments.append((uids, bits))
            index.leased_until = self._state.clock.seconds()

    @fired
    def tidy(self, *, unused: float) -> int:
        """Drop indexes that are not used, or mostly of messages that are gone."""
        before = self._state.clock.seconds() - unused
        # Those of deleted mailboxes have gone already.
        stored = self._state.mailboxes
        self._indexes = {mailbox: index for mailbox, index in self._indexes.items() if mailbox in stored}
        gone = []
        for mailbox, index in self._indexes.items():
            indexed = sum(len(uids) for uids, _ in index.segments)
            if index.used_at < before or indexed > 2 * len(stored[mailbox].messages):
                gone.append(mailbox)
        for mailbox in gone:
            del self._indexes[mailbox]
        return len(gone)
