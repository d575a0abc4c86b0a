"""Changing flags: what the sessions of this process change at one moment goes together, as one statement."""

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred

from sora.aio import deferred
from sora.core import limits
from sora.core.flags import Change
from sora.core.ids import AccountId, MailboxId, ModSeq
from sora.postgres.batch import Batches
from sora.postgres.rows import columns, numbers
from sora.postgres.statement import integers, runs_of
from sora.postgres.work import Database
from sora.store.model import FlagChange, FlagsStored

IN_FLIGHT_MAX: Final = 2
"""Batches at once: while PostgreSQL works on one the next is made."""
BATCH_MAX: Final = 64
BULK_MIN: Final = 100
"""From so many messages on a change goes by itself, at once: nobody's single flag is to wait for it."""

Call = tuple[MailboxId, Sequence[FlagChange]]


class Flags:
    """Changes flags, many calls in one statement."""

    def __init__(self, database: Database, *, wait_for_disk: bool) -> None:
        """`wait_for_disk`: answer when a change is on the disk, not only committed."""
        self._database = database
        self._wait_for_disk = wait_for_disk
        self._batches: Batches[Call, list[FlagsStored]] = Batches(
            self._send, reactor=database.pool.reactor, in_flight_max=IN_FLIGHT_MAX, count_max=BATCH_MAX
        )

    def store(
        self, mailbox: MailboxId, changes: Sequence[FlagChange], reader: AccountId | None
    ) -> "Deferred[list[FlagsStored]]":
        """Change flags with the next batch; a call that fails alone harms no other. A `reader` goes by himself."""
        if reader is not None:
            return self._store_as(mailbox, changes, reader)
        if sum(len(change.uids) for change in changes) < BULK_MIN:
            return self._batches.add((mailbox, changes))
        return self._send([(mailbox, changes)]).addCallback(lambda answers: answers[0])

    @deferred
    async def _store_as(
        self, mailbox: MailboxId, changes: Sequence[FlagChange], reader: AccountId
    ) -> list[FlagsStored]:
        arguments = {"reader": reader, **self._parameters([(mailbox, changes)])}
        return _stored(await self._database.call("store_flags_as", arguments))

    @deferred
    async def _send(self, calls: list[Call]) -> list[list[FlagsStored]]:
        # The function locks mailboxes as they come, and all lock them in the order of their ids.
        order = sorted(range(len(calls)), key=lambda index: calls[index][0])
        rows = iter(await self._database.call("store_flags", self._parameters([calls[index] for index in order])))
        answers: list[list[FlagsStored]] = [[]] * len(calls)
        for index in order:
            answers[index] = _stored([next(rows) for _ in calls[index][1]])
        return answers

    def _parameters(self, calls: list[Call]) -> dict[str, Any]:
        every = [(mailbox, number, change) for number, (mailbox, changes) in enumerate(calls, 1) for change in changes]
        changes = [change for _, _, change in every]
        words = [_words(change) for change in changes]
        runs = [runs_of(change.uids)[1:-1] for change in changes]
        return {
            "boxes": integers(mailbox for mailbox, _, _ in every),
            "calls": integers(number for _, number, _ in every),
            "runs": "{" + ",".join(filter(None, runs)) + "}",
            "counts": integers(one.count(",") + 1 if one else 0 for one in runs),
            "kept": integers(_KEPT[change.change] & ~change.flags for change in changes),
            "added": integers(0 if change.change is Change.REMOVE else change.flags for change in changes),
            "changes": "{" + ",".join([change.change.value for change in changes]) + "}",
            "words": "{" + ",".join(["NULL"] * len(words)) + "}" if words.count(None) == len(words) else words,
            "unchanged": integers(change.unchanged_since for change in changes),
            "keywords_max": limits.KEYWORDS_MAX,
            "message_keywords_max": limits.KEYWORDS_PER_MESSAGE_MAX,
            "wait": self._wait_for_disk,
        }


_KEPT: Final = {Change.REPLACE: 0, Change.ADD: -1, Change.REMOVE: -1}
"""Of the flags a message has, those that a change keeps unless it names them."""


def _words(change: FlagChange) -> str | None:
    """Return the keywords of a change; None if it leaves those that there are alone."""
    return " ".join(change.keywords) if change.keywords or change.change is Change.REPLACE else None


def _stored(rows: "list[tuple[Any, ...]]") -> list[FlagsStored]:
    """Read one call's rows; its modseq, and whether it changed anything, stand in its last."""
    if not rows:
        return []
    highest, changed = ModSeq(rows[-1][0]), rows[-1][6]
    return [
        FlagsStored(modseq=highest, columns=columns(*row[1:5]), changed=changed, refused=tuple(numbers(row[5], "I")))
        for row in rows
    ]
