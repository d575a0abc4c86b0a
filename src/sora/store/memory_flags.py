"""The only place where flags change in memory, those that all see and the \\Seen of one who has his own."""

from collections.abc import Sequence

import attrs

from sora.core.flags import SEEN, Change
from sora.core.ids import AccountId, ModSeq
from sora.store.memory_state import State, StoredMailbox, StoredMessage
from sora.store.model import FlagChange, FlagsStored, Sight


def change_flags(
    state: State, stored: StoredMailbox, changes: Sequence[FlagChange], reader: AccountId | None
) -> list[FlagsStored]:
    """Carry out one STORE, all or nothing. Raises `LimitReached`."""
    own = {} if reader is None else dict(stored.private.get(reader, {}))
    trial = attrs.evolve(
        stored,
        keywords=dict(stored.keywords),
        messages=dict(stored.messages),
        private=stored.private if reader is None else {**stored.private, reader: own},
    )
    modseq = stored.highest_modseq + 1
    results = [_store(trial, change, modseq, reader) for change in changes]
    shared = any(trial.messages[uid] is not message for uid, message in stored.messages.items())
    private = any(since == modseq for _, since in own.values())
    if shared or private:
        stored.highest_modseq = modseq
        stored.messages = trial.messages
        stored.keywords = trial.keywords
        stored.private = trial.private
        state.announce((stored.id, modseq), reader=None if shared else reader)
    highest = ModSeq(stored.highest_modseq)
    return [attrs.evolve(result, modseq=highest, changed=shared or private) for result in results]


def _store(mailbox: StoredMailbox, change: FlagChange, modseq: int, reader: AccountId | None) -> FlagsStored:
    now, refused = [], []
    for message in mailbox.present(change.uids):
        known = mailbox.seen_as(message, reader)
        if (
            change.unchanged_since is not None
            and known.modseq > change.unchanged_since
            and not _absent(message, change)
        ):
            refused.append(message.uid)
            continue
        flags, keywords = _combined(mailbox, known, change)
        if reader is not None:
            if (flags ^ known.flags) & SEEN:
                mailbox.private[reader][message.uid] = flags & SEEN, modseq
            flags = flags & ~SEEN | message.flags & SEEN
        if (flags, set(keywords)) != (message.flags, set(message.keywords)):
            message = attrs.evolve(message, flags=flags, keywords=keywords, modseq=modseq)
            mailbox.learn(keywords)
            mailbox.messages[message.uid] = message
        now.append(message)
    return FlagsStored(ModSeq(modseq), mailbox.columns(now, reader), changed=False, refused=tuple(refused))


def _absent(message: StoredMessage, change: FlagChange) -> bool:
    """Tell whether a change asks for keywords that do not exist yet, and none does (RFC 7162 3.1.3)."""
    if change.unchanged_since != 0 or change.change is Change.REPLACE or change.flags or not change.keywords:
        return False
    return not {word.lower() for word in message.keywords} & {word.lower() for word in change.keywords}


def _combined(mailbox: StoredMailbox, message: StoredMessage, change: FlagChange) -> tuple[int, tuple[str, ...]]:
    if change.change is Change.REPLACE:
        return change.flags, mailbox.spell(change.keywords)
    if change.change is Change.ADD:
        return message.flags | change.flags, mailbox.spell((*message.keywords, *change.keywords))
    lost = {word.lower() for word in change.keywords}
    return message.flags & ~change.flags, tuple(word for word in message.keywords if word.lower() not in lost)


def seen_by_mover(
    source: StoredMailbox, message: StoredMessage, target: StoredMailbox, copy: StoredMessage, sight: Sight
) -> StoredMessage:
    """Return a copy with the \\Seen that its owner sees, and give the reader of a `sight` his own."""
    seen = source.seen_as(message, sight.reader if sight.here else None).flags & SEEN
    if not sight.there:
        return attrs.evolve(copy, flags=copy.flags & ~SEEN | seen)
    if seen and sight.kept:
        target.private.setdefault(sight.reader, {})[copy.uid] = seen, copy.modseq
    return copy if source.account == target.account else attrs.evolve(copy, flags=copy.flags & ~SEEN)
