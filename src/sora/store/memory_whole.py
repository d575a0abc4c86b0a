"""The only place where an operation in memory that fails half-way is undone."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from sora.core.errors import SoraError
from sora.store.memory_state import State, StoredMailbox


@contextmanager
def whole(state: State, *mailboxes: StoredMailbox) -> Iterator[None]:
    """Put mailboxes, bodies and tombstones back as they were if what is done within raises a `SoraError`."""
    before = [_copied(mailbox) for mailbox in mailboxes]
    bodies, hashes = dict(state.bodies), dict(state.bodies_by_hash)
    tombstones = list(state.tombstones)
    try:
        yield
    except SoraError:
        for mailbox, copy in zip(mailboxes, before, strict=True):
            for field in attrs.fields(StoredMailbox):
                setattr(mailbox, field.name, getattr(copy, field.name))
        state.bodies, state.bodies_by_hash, state.tombstones = bodies, hashes, tombstones
        raise


def _copied(mailbox: StoredMailbox) -> StoredMailbox:
    return attrs.evolve(
        mailbox,
        keywords=dict(mailbox.keywords),
        messages=dict(mailbox.messages),
        vanished=list(mailbox.vanished),
        private={reader: dict(known) for reader, known in mailbox.private.items()},
    )
