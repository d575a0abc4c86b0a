"""Case V6: VANISHED (EARLIER) is complete for any known UIDs, after any expunges, moves and copies back."""

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core.flags import DELETED, Change
from sora.store.model import Actor, FlagChange, Named
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import MemoryWorld
from tests.model.memory import vanished
from tests.property.imap_client import ImapClient

USER = "anna@example.org"
FIRST = 6
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "expunge", "move away", "move within", "bring back", "flag", "forget", "look"]),
        st.integers(0, 100),
        st.integers(1, 4),
    ),
    max_size=25,
)


class History:
    """A mailbox that things happen to, and the moments at which a client may have looked."""

    def __init__(self) -> None:
        self.world = MemoryWorld(Dialog("v6", [Account(USER, "tide", [], [("Away", None, False)])], {}, (), []))
        self.moments: list[tuple[int, set[int]]] = []
        """(modseq, UIDs there were)"""

    async def begin(self) -> None:
        await self.world.set_up()
        self.store = self.world.store
        self.account = self.world.ids[USER]
        self.actor = Actor(self.account, USER, "imap", "s")
        self.inbox = (await self.store.mailboxes.find(self.account, "INBOX")).id
        self.away = (await self.store.mailboxes.find(self.account, "Away")).id
        for number in range(FIRST):
            await self.act("arrive", number, 1)
        await self.act("look", 0, 1)

    async def uids(self, name: str = "INBOX") -> list[int]:
        opened = await self.store.mailboxes.open(self.account, name, claim_recent=False)
        return list(opened.columns.uids)

    async def act(self, what: str, at: int, many: int) -> None:
        uids, messages = await self.uids("Away" if what == "bring back" else "INBOX"), self.store.messages
        chosen = tuple(sorted({uids[(at + step) % len(uids)] for step in range(many)})) if uids else ()
        match what:
            case "arrive":
                await self.world._insert(self.world.dialog.accounts[0], "INBOX", [], b"", simple(at))
            case "look":
                row = await self.store.mailboxes.find(self.account, "INBOX")
                self.moments.append((row.highest_modseq, set(uids)))
            case "forget":
                # What left until now is forgotten: the collector's grace is over.
                await self.store.bodies.collect(grace=0.0, generation=1e9, limit=1000)
            case "move away":
                await messages.move(self.inbox, chosen, self.away, self.actor)
            case "move within":
                await messages.move(self.inbox, chosen, Named(self.account, "INBOX"), self.actor)
            case "bring back":
                await messages.move(self.away, chosen, self.inbox, self.actor)
            case _:
                flag = DELETED if what == "expunge" else 1 << at % 3
                await messages.store(self.inbox, [FlagChange(chosen, Change.ADD, flag, ())])
                if what == "expunge":
                    await messages.expunge(self.inbox, chosen, self.actor)


async def hold(actions, subset, step, *, known: bool) -> None:
    """Let a client come back at each moment, to a worker that knows the mailbox or does not, and ask again by FETCH."""
    history = History()
    await history.begin()
    factory = history.world.imap()
    before = await joined(history, factory)
    if known:
        await before.ok(b"SELECT INBOX")
    for action in actions:
        await history.act(*action)
    there = set(await history.uids())
    for modseq, uids in history.moments:
        asked = sorted(uids)[subset % 3 :: step] if subset else sorted(uids)
        named = b" " + b",".join(b"%d" % uid for uid in asked) if asked and subset else b""
        client = await joined(history, factory)
        told = await client.ok(b"SELECT INBOX (QRESYNC (1 %d%b))" % (modseq, named))
        if asked:
            check(told, set(asked), there, complete=bool(named))
        await client.ok(b"SELECT INBOX")
        told = await client.ok(b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % modseq)
        check(told, uids, there, complete=False)


async def joined(history: History, factory) -> ImapClient:
    client = ImapClient(MemoryClient(factory, history.world.clock))
    await client.answer()
    await client.ok(b"LOGIN anna@example.org tide")
    await client.ok(b"ENABLE QRESYNC")
    return client


def check(told, asked, there, *, complete: bool) -> None:
    """Of what was asked about, exactly what is gone was told to be gone."""
    gone = {uid for line in told if (found := vanished(line)) is not None for uid in found[1]}
    assert gone & asked == asked - there, (told, asked, there)
    assert not gone & there
    assert not complete or gone <= asked
    last = [line for line in told if re.match(rb"\* (VANISHED|\d+ FETCH)", line)]
    assert last == sorted(last, key=lambda line: b"VANISHED" not in line)


class ResyncTests(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(ACTIONS, st.integers(0, 3), st.integers(1, 3), st.booleans())
    def test_v6_what_left_is_told_completely(self, actions, subset, step, known):
        self.successResultOf(Deferred.fromCoroutine(hold(actions, subset, step, known=known)))
