"""The session view against a client that only knows a list, through random histories."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.flags import Change
from sora.core.uidset import STAR, UidSet
from sora.imap import version
from sora.imap.version import Version
from sora.imap.view import Expunges, OwnStore, SessionView

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "expunge", "flag", "allowed", "forbidden", "own", "own silent", "reread"]),
        st.integers(0, 1_000),
        st.integers(1, 3),
        st.integers(0, 31),
    ),
    max_size=60,
)

MANY = st.sampled_from((1, 16))
"""From how many UIDs on it is tried whether they stand together."""


class Server:
    """A mailbox as plain dictionaries, and the version that is kept up to date from it."""

    def __init__(self, count: int) -> None:
        self.modseq = 1
        self.next = 1
        self.mail: dict[int, tuple[int, int]] = {}
        for _ in range(count):
            self.mail[self.next] = (0, 1)
            self.next += 1
        self.version = self.whole()

    def whole(self) -> Version:
        return Version(self.modseq, **self.columns())

    def columns(self):
        return {
            "uids": array("I", self.mail),
            "flags": array("B", [bits for bits, _ in self.mail.values()]),
            "modseqs": array("Q", [modseq for _, modseq in self.mail.values()]),
            "keywords": {uid: (f"k{bits}",) for uid, (bits, _) in self.mail.items() if bits & 16},
        }

    def change(self, uids, gone=()):
        self.modseq += 1
        chosen = [uid for uid in uids]
        self.version = self.version.apply(
            self.modseq,
            uids=array("I", chosen),
            flags=array("B", [self.mail[uid][0] for uid in chosen]),
            modseqs=array("Q", [self.mail[uid][1] for uid in chosen]),
            keywords={uid: (f"k{self.mail[uid][0]}",) for uid in chosen if self.mail[uid][0] & 16},
            vanished=gone,
        )

    def arrive(self, many):
        fresh = list(range(self.next, self.next + many))
        self.next += many
        self.mail.update({uid: (0, self.modseq + 1) for uid in fresh})
        self.change(fresh)

    def pick(self, at, many):
        uids = list(self.mail)
        return sorted(set(uids[(at + step) % len(uids)] for step in range(many))) if uids else []

    def expunge(self, at, many):
        gone = self.pick(at, many)
        for uid in gone:
            del self.mail[uid]
        if gone:
            self.change([], gone)

    def flag(self, uids, bits):
        uids = [uid for uid in uids if uid in self.mail and self.mail[uid][0] != bits]
        self.mail.update({uid: (bits, self.modseq + 1) for uid in uids})
        if uids:
            self.change(uids)

    def reread(self):
        self.modseq += 1
        self.version = self.version.replace(self.modseq, **self.columns())


class Client:
    """What a client makes of the answers: a list of UIDs and what it believes of flags."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.view = SessionView(server.version, recent_from=server.next // 2 + 1)
        self.list = list(server.version.uids)
        self.flags = {uid: server.mail[uid][0] for uid in self.list}

    def hear(self, expunges: Expunges) -> None:
        news = self.view.update(self.server.version, expunges)
        assert expunges is Expunges.ALLOWED or not news.expunged
        assert list(news.vanished) == sorted(self.list[number - 1] for number in news.expunged)
        for number in news.expunged:
            self.list.pop(number - 1)
        if news.exists is not None:
            assert news.exists > len(self.list)
            known = set(self.list)
            self.list += [uid for uid in self.view.uids[len(self.list) : news.exists] if uid not in known]
            assert len(self.list) == news.exists
            for uid in self.list:
                self.flags.setdefault(uid, self.view.flags(uid))
        for number, uid in news.changed:
            assert self.list[number - 1] == uid
            self.flags[uid] = self.view.flags(uid)
        assert bool(news) == bool(news.expunged or news.changed or news.exists or news.recent is not None)

    def store(self, uids, bits, *, silent):
        """Replace flags of messages the client counts, as STORE does."""
        named = [uid for uid in uids if uid in self.server.mail and uid in self.flags]
        self.server.flag(named, bits)
        modseqs = [self.server.mail[uid][1] for uid in named]
        own = OwnStore(named, modseqs, Change.REPLACE, bits)
        answered = self.view.stored(own, version=self.server.version, silent=silent)
        for uid in named:
            self.flags[uid] = bits
        for number, uid in answered:
            assert self.list[number - 1] == uid
            self.flags[uid] = self.view.flags(uid)
        if not silent:
            assert [uid for _, uid in answered] == named
        self.hear(Expunges.FORBIDDEN)

    def check(self) -> None:
        view = self.view
        assert view.count == len(self.list)
        assert list(view.uids) == self.list == sorted(self.list)
        everything = [(number, uid) for number, uid in enumerate(self.list, 1)]
        assert list(view.resolve(UidSet(((1, STAR),)), by_uid=False)) == everything
        assert list(view.resolve(UidSet(((STAR, 1),)), by_uid=True)) == everything
        assert view.recent == sum(uid >= view.recent_from for uid in self.list)
        for number, uid in everything:
            assert view.number(uid) == number
            assert view.uid_at(number) == uid
            assert view.flags(uid) == self.flags[uid]
            assert view.keywords(uid) == ((f"k{self.flags[uid]}",) if self.flags[uid] & 16 else ())


class ViewAgainstModel(unittest.SynchronousTestCase):
    @settings(deadline=None, max_examples=100)
    @given(st.integers(0, 6), ACTIONS, MANY)
    def test_two_clients_always_know_what_their_lists_say(self, count, actions, many):
        self.patch(version, "_MANY", many)
        server = Server(count)
        clients = [Client(server), Client(server)]
        for what, at, count, bits in actions:
            client = clients[at % 2]
            if what == "arrive":
                server.arrive(count)
            elif what == "expunge":
                server.expunge(at, count)
            elif what == "flag":
                server.flag(server.pick(at, count), bits)
            elif what == "reread":
                server.reread()
            elif what in ("own", "own silent"):
                client.store(server.pick(at, count), bits, silent=what == "own silent")
                client.check()
            else:
                client.hear(Expunges.ALLOWED if what == "allowed" else Expunges.FORBIDDEN)
                client.check()
        for client in clients:
            client.hear(Expunges.ALLOWED)
            client.check()
            assert client.list == list(server.mail)
            assert client.flags.items() >= {uid: bits for uid, (bits, _) in server.mail.items()}.items()
            assert client.view.uids is server.version.uids

    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 6), ACTIONS, MANY)
    def test_versions_are_what_a_fresh_reading_gives(self, count, actions, many):
        self.patch(version, "_MANY", many)
        server = Server(count)
        first = server.version
        before = (first.uids[:], first.flags[:], first.modseqs[:], dict(first.keywords))
        for what, at, count, bits in actions:
            if what == "arrive":
                server.arrive(count)
            elif what == "expunge":
                server.expunge(at, count)
            elif what == "flag":
                server.flag(server.pick(at, count), bits)
        fresh = server.whole()
        for name in ("modseq", "uids", "flags", "modseqs", "keywords"):
            assert getattr(server.version, name) == getattr(fresh, name), name
        assert before == (first.uids, first.flags, first.modseqs, first.keywords)
