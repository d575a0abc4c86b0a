"""The workloads of a mail store. Each prepares what it needs, outside of the measured time, and measures one round.

Users: 1 to 32 are delivered to, 41 to 48 have a phone's inbox each, 49 has the big mailbox, 50 that of bulk commands,
51 to 58 are stored and appended to, 59 has the huge mailbox, 61 looks on, 60 is announced to, the crowd begins at 1001.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial

import attrs

from bench.bulk import copy, expunge, move, store_all, store_single
from bench.engine import Line, Script
from bench.idle import idle_crowd, idle_notify
from bench.large import COMMANDS, over_all
from bench.mail import message
from bench.measure import Measure
from bench.scripts import Imap, delivery, each, login_and_out
from bench.searches import QUESTIONS, ask_again, ask_first
from bench.servers import PASSWORD, user

SMALL, LARGE = 2_048, 30_720
_ENVELOPES = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
_PHONE_INBOX = 200
_REPEATS_MAX = 20_000
_SIGNED_IN = 8
"""Sign-ins before they are measured: each worker of a server remembers by itself whom it has verified."""
_numbers = itertools.count(1_000_000)
"""Messages are never the same twice, so that nothing is saved by keeping equal ones once."""


def deliver(measure: Measure, *, octets: int, connections: int) -> None:
    """Deliver over LMTP connections that stay open, to 32 recipients in turn.

    Before it is measured each connection delivers two, so that processes and caches are there on all servers.
    """
    lines = measure.lmtp(connections)
    rate = (1000 if connections == 1 else 3000) if octets == SMALL else (800 if connections == 1 else 1800)
    texts = [message(next(_numbers), octets) for _ in range(measure.scale.count(rate))]
    first = [message(next(_numbers), octets) for _ in range(2 * connections)]
    before = (delivery(user(1 + number % 32), text) for number, text in enumerate(first))
    measure.untimed((line, before) for line in lines)
    measure.settle()
    scripts = (delivery(user(1 + number % 32), text) for number, text in enumerate(texts))
    measure.timed([(line, scripts) for line in lines])


def sign_in(measure: Measure, *, connections: int, secure: bool = False) -> None:
    """Connect, LOGIN, LOGOUT, as users who did so a moment ago; secure: with a full TLS handshake each time."""
    address = measure.server.imaps if secure else measure.server.imap

    def lines(count: int) -> list[Line]:
        return [measure.line(address, fresh=True, secure=secure) for _ in range(count)]

    measure.untimed(
        (line, login_and_out(user(1 + n), PASSWORD, _SIGNED_IN)) for n, line in enumerate(lines(connections))
    )
    measure.settle()
    measure.timed(
        [(line, login_and_out(user(1 + n), PASSWORD, _REPEATS_MAX)) for n, line in enumerate(lines(connections))]
    )


def phone(measure: Measure) -> None:
    """Sign in, LIST, 4 STATUS, SELECT, 50 flags, 20 envelopes, a body, a STORE, LOGOUT: eight users at once."""
    measure.fill(range(41, 49), _PHONE_INBOX)

    def sessions(number: int, count: int) -> Iterator[Script]:
        for _ in range(count):
            yield Imap().phone(user(number), PASSWORD, _PHONE_INBOX)

    def all_users(count: int) -> list[tuple[Line, Iterator[Script]]]:
        return [(measure.line(measure.server.imap, fresh=True), sessions(n, count)) for n in range(41, 49)]

    measure.untimed(all_users(_SIGNED_IN))
    measure.settle()
    measure.timed(all_users(_REPEATS_MAX))


def reconnect(measure: Measure, *, secure: bool = False) -> None:
    """Sign in, ENABLE QRESYNC, SELECT with nothing new, IDLE, DONE, LOGOUT: eight users at once."""
    measure.needs("QRESYNC")
    measure.fill(range(41, 49), _PHONE_INBOX)
    address = measure.server.imaps if secure else measure.server.imap
    known = []
    for line, _ in measure.imap(8, first=41, mailbox="INBOX (CONDSTORE)"):
        facts = (re.search(rb"\[%s (\d+)\]" % name, line.tail) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
        known.append(" ".join(fact[1].decode() for fact in facts if fact))
    measure.close()

    def sessions(number: int, count: int) -> Iterator[Script]:
        for _ in range(count):
            yield Imap().reconnect(user(41 + number), PASSWORD, known[number])

    def all_users(count: int) -> list[tuple[Line, Iterator[Script]]]:
        return [(measure.line(address, fresh=True, secure=secure), sessions(n, count)) for n in range(8)]

    measure.untimed(all_users(_SIGNED_IN))
    measure.settle()
    measure.timed(all_users(_REPEATS_MAX))


def read_all(measure: Measure, *, what: str, limit: int | None = None, again: str = "") -> None:
    """FETCH the big mailbox whole, or its first `limit` messages, after one FETCH that is not measured.

    `again`: the server is started again before the one that is measured, which includes SELECT: with all that it
    "kept", with its caches and indexes "forgotten", or "cold", with all its files out of the page cache besides.
    """
    count = measure.scale.messages
    measure.fill([49], count)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    wanted = count if limit is None else min(limit, count)
    command = f"FETCH 1:{wanted} {what}"
    if again:
        measure.once(line, [imap.command(command)])
        measure.close()
        if again == "forgotten":
            measure.server.again_forgetful()
        else:
            measure.server.again(cold=again == "cold")
        ((line, imap),) = measure.imap(first=49)
        measure.settle()
        measure.timed([(line, [[imap.command("SELECT INBOX"), imap.command(command)]])], items=wanted, seconds=60)
        return
    measure.over_and_over(line, map(imap.command, itertools.repeat(command)), items=wanted)


def select(measure: Measure) -> None:
    """SELECT the big mailbox again and again."""
    measure.fill([49], measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    measure.over_and_over(line, map(imap.command, itertools.repeat("SELECT INBOX")))


def select_again(measure: Measure) -> None:
    """SELECT a huge mailbox again and again: all that it needs is in the server's memory."""
    step, huge = min(1000, measure.scale.huge), measure.scale.huge
    measure.fill([59], step)
    ((line, imap),) = measure.imap(first=59, mailbox="INBOX")
    if "huge" not in measure.server.prepared:
        copies = [[imap.command(f"COPY 1:{step} huge")] for _ in range(huge // step)]
        measure.once(line, [imap.command("CREATE huge")], *copies)
        measure.server.prepared.add("huge")
        measure.settle()
    measure.over_and_over(line, map(imap.command, itertools.repeat("SELECT huge")))
    measure.figures.values["messages"] = huge


def search_flags(measure: Measure) -> None:
    """SEARCH the big mailbox by flags alone."""
    measure.fill([49], measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    measure.over_and_over(line, map(imap.command, itertools.repeat("SEARCH UNSEEN NOT FLAGGED")))


def append(measure: Measure) -> None:
    """APPEND with literals that need no invitation, eight connections, each to its own mailbox."""
    opened = measure.imap(8, first=51, mailbox="INBOX")
    count = measure.scale.count(1500) // 8
    texts = [[message(next(_numbers), SMALL) for _ in range(count)] for _ in opened]
    measure.timed(
        [
            (line, each([imap.append("Archive", text) for text in mine]))
            for (line, imap), mine in zip(opened, texts, strict=True)
        ]
    )


@attrs.frozen
class Workload:
    """A workload by name: what one item of it is, the function that measures a round, how many rounds at most.

    `named_only`: it takes so long to prepare that it is measured only when it is asked for by name.
    """

    item: str
    run: Callable[[Measure], None]
    rounds: int = 100
    named_only: bool = False


def _deliveries() -> dict[str, Workload]:
    return {
        f"deliver-{octets // 1024}k-{connections}": Workload(
            "message", partial(deliver, octets=octets, connections=connections)
        )
        for octets in (SMALL, LARGE)
        for connections in (1, 8, 32)
    }


def _searches() -> dict[str, Workload]:
    workloads = {}
    for name in QUESTIONS:
        called = name if name.startswith(("sort", "thread")) else f"search-{name}"
        workloads[f"{called}-first"] = Workload("command", partial(ask_first, name=name))
        workloads[called] = Workload("command", partial(ask_again, name=name))
    return workloads


_FLAGS = partial(read_all, what="(UID FLAGS)")
_ALL_ENVELOPES = partial(read_all, what=_ENVELOPES)
_BODIES = partial(read_all, what="(UID BODY.PEEK[])", limit=1000)

WORKLOADS: dict[str, Workload] = {
    **_deliveries(),
    "login": Workload("session", partial(sign_in, connections=16)),
    "tls-login": Workload("session", partial(sign_in, connections=16, secure=True)),
    "phone": Workload("session", phone),
    "reconnect": Workload("session", reconnect),
    "reconnect-tls": Workload("session", partial(reconnect, secure=True)),
    "select": Workload("command", select),
    "select-again": Workload("command", select_again),
    "flags": Workload("message", _FLAGS),
    "envelopes": Workload("message", _ALL_ENVELOPES),
    "bodies": Workload("message", _BODIES),
    "search-flags": Workload("command", search_flags),
    **_searches(),
    "append": Workload("message", append),
    "store": Workload("command", store_single),
    "store-all": Workload("message", store_all),
    "copy": Workload("message", copy),
    "move": Workload("message", move),
    "expunge": Workload("message", expunge),
    "idle-notify": Workload("delivery", partial(idle_notify, workers=1)),
    "idle-notify-2": Workload("delivery", partial(idle_notify, workers=2)),
    "idle-10k": Workload("session", partial(idle_crowd, secure=False), rounds=1),
    "idle-10k-tls": Workload("session", partial(idle_crowd, secure=True), rounds=1),
    "bodies-disk": Workload("message", partial(_BODIES, again="kept")),
    "flags-restart": Workload("message", partial(_FLAGS, again="forgotten")),
    "envelopes-restart": Workload("message", partial(_ALL_ENVELOPES, again="forgotten")),
    "flags-cold": Workload("message", partial(_FLAGS, again="cold")),
    "envelopes-cold": Workload("message", partial(_ALL_ENVELOPES, again="cold")),
    **{
        f"large-{name}": Workload("message", partial(over_all, name=name), rounds=3, named_only=True)
        for name in COMMANDS
    },
}
"""By name, in the order in which they are measured; last those that start servers again."""
