"""The only place that searches in memory: lays each message's facts before `store.evaluate`."""

from array import array
from collections.abc import Sequence

from sora.core import criteria as keys
from sora.core.uidset import pick
from sora.store.evaluate import Facts, evaluate
from sora.store.memory_state import StoredMessage
from sora.store.model import Found


def search(criteria: keys.Criteria, messages: Sequence[StoredMessage], *, recent_from: int, uid_max: int) -> Found:
    """Evaluate criteria over messages that are ascending by UID."""
    all_uids = [message.uid for message in messages]
    named = [
        frozenset(uid for _, uid in pick(all_uids, step.uids.resolve(uid_max)))
        if isinstance(step, keys.Uids)
        else frozenset[int]()
        for step in criteria.steps
    ]
    uids, undecided = array("I"), array("I")
    for message in messages:
        result = evaluate(criteria, _facts(message), named=named, recent_from=recent_from)
        if result is None:
            undecided.append(message.uid)
        elif result:
            uids.append(message.uid)
    return Found(uids, undecided)


def _facts(message: StoredMessage) -> Facts:
    described = message.body.described
    return Facts(
        uid=message.uid,
        flags=message.flags,
        keywords=message.keywords,
        modseq=message.modseq,
        size=message.size,
        internal_date=message.internal_date,
        sent_day=described.sent_day,
        trace=message.trace,
        fields=described.fields,
        header_text=described.header_text,
        body_text=described.body_text,
        text_complete=described.text_complete,
    )
