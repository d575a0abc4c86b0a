"""The only place that searches in memory: lays each message's facts before `store.evaluate`."""

from array import array
from collections.abc import Sequence

import attrs

from sora.core import criteria as keys
from sora.core.ids import AccountId
from sora.core.uidset import UidSet
from sora.store.evaluate import Facts, evaluate
from sora.store.memory_state import StoredMailbox, StoredMessage
from sora.store.model import Found


def search(criteria: keys.Criteria, messages: Sequence[StoredMessage], *, recent_from: int, uid_max: int) -> Found:
    """Evaluate criteria over messages that are ascending by UID."""
    resolved = keys.Criteria(tuple(_resolved(step, uid_max) for step in criteria.steps))
    uids, undecided = array("I"), array("I")
    for message in messages:
        result = evaluate(resolved, _facts(message, recent_from))
        if result is None:
            undecided.append(message.uid)
        elif result:
            uids.append(message.uid)
    return Found(uids, undecided)


def search_alone(criteria: keys.Criteria, mailbox: StoredMailbox, reader: AccountId | None) -> Found:
    """Evaluate criteria over all of a mailbox that no session has selected; numbers and `*` are the mailbox's."""
    whose = None if reader == mailbox.account else reader
    known = [mailbox.seen_as(message, whose) for message in mailbox.messages.values()]
    messages = sorted(known, key=lambda message: message.uid)
    uids = [message.uid for message in messages]
    steps = tuple(
        keys.Uids(
            UidSet(
                tuple(
                    (uids[low - 1], uids[min(high, len(uids)) - 1])
                    for low, high in step.numbers.resolve(len(uids))
                    if low <= len(uids)
                )
            )
        )
        if isinstance(step, keys.Numbers)
        else step
        for step in criteria.steps
    )
    uid_max = uids[-1] if uids else 0
    return search(keys.Criteria(steps), messages, recent_from=mailbox.recent_from, uid_max=uid_max)


def _resolved(step: keys.Step, uid_max: int) -> keys.Step:
    if isinstance(step, keys.Uids):
        return attrs.evolve(step, uids=UidSet(tuple(step.uids.resolve(uid_max))))
    return step


def _facts(message: StoredMessage, recent_from: int) -> Facts:
    return Facts(
        uid=message.uid,
        flags=message.flags,
        keywords=frozenset(word.lower() for word in message.keywords),
        recent=message.uid >= recent_from,
        modseq=message.modseq,
        size=message.size,
        arrived=message.internal_date,
        saved=message.save_date,
        email=message.email,
        thread=message.body.described.thread,
        text=message.body.described,
        trace=message.trace,
    )
