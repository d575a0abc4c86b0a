"""The indexer: makes the indexes of texts that searches want, a segment at a time, and drops those nobody uses."""

import random
from array import array
from collections.abc import Iterable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from sora import aio
from sora.core import limits
from sora.core.ids import MailboxId
from sora.core.signatures import Signatures, Words
from sora.jobs.worker import Random, Worker
from sora.store.text_index import TextIndexes

_INTERVAL: Final = 5.0
"""Seconds between two looks: a search that wants an index is about to be repeated."""
_LEASE: Final = 120.0
"""Seconds that a segment may take: it takes one, or a few if its texts are long."""
_PAGE: Final = 32
"""Messages read at once: 4 MB at most."""
_TIDY_INTERVAL: Final = 3_600.0


class TextIndexer(Worker):
    """Makes segments while there is a mailbox that has enough messages for one."""

    def __init__(
        self,
        indexes: TextIndexes,
        *,
        clock: IReactorTime,
        segment: int = limits.TEXT_SEGMENT,
        interval: float = _INTERVAL,
        random_number: Random = random.random,
    ) -> None:
        """`segment` is how many messages one has."""
        super().__init__("text-index", clock=clock, interval=interval, random_number=random_number)
        self._indexes = indexes
        self._segment = segment
        self._tidy_at = clock.seconds()
        self._words = Words()

    async def step(self) -> bool:
        """Make one segment if one is due; else tidy up if that is."""
        claimed = await self._indexes.claim(messages=self._segment, lease=_LEASE)
        if claimed is None:
            self._words = Words()
            if self._clock.seconds() >= self._tidy_at:
                await self._indexes.tidy(unused=limits.TEXT_INDEX_UNUSED_MAX)
                self._tidy_at = self._clock.seconds() + _TIDY_INTERVAL
            return False
        await self._make(*claimed)
        return True

    async def _make(self, mailbox: MailboxId, after: int) -> None:
        signatures, uids, last = Signatures(self._words), array("I"), after
        while len(uids) < self._segment:
            limit = min(_PAGE, self._segment - len(uids))
            texts = await self._indexes.texts(mailbox, after=last, limit=limit, octets_max=limits.TEXT_INDEXED_MAX)
            if not texts:
                # Some have gone since; their successors will fill the segment.
                return
            await self._gently(step for text in texts for step in signatures.add(text.octets))
            uids.extend([text.uid for text in texts])
            last = uids[-1]
        await self._gently(signatures.end())
        await self._indexes.add(mailbox, after, uids, signatures.bits())

    async def _gently(self, steps: Iterable[None]) -> None:
        """Do work half of the time: where there is one process, its sessions wait for it."""
        began = self._clock.seconds()
        for _ in steps:
            worked = self._clock.seconds() - began
            if worked > limits.TURN_TIME_MAX:
                await aio.sleep(self._clock, worked)
                began = self._clock.seconds()
