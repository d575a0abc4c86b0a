"""The workloads of a mail store. Each prepares what it needs, outside of the measured time, and measures one round.

Users: 1 to 32 are delivered to, 41 to 48 have a phone's inbox each, 49 has the big mailbox, 50 that of bulk commands,
51 to 58 are stored and appended to, 59 has the huge mailbox, 60 is announced to, the crowd begins at 1001.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import attrs

from bench.engine import Line, Script
from bench.idle import idle_crowd, idle_notify
from bench.mail import message
from bench.measure import Measure
from bench.scripts import Imap, delivery, each, login_and_out
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


def _over_and_over(measure: Measure, line: Line, imap: Imap, command: str, *, items: int = 1) -> None:
    """Run a command once unmeasured, then again and again for long enough that short ones are measured well."""
    measure.once(line, [imap.command(command)])
    steps = (imap.command(command) for _ in range(_REPEATS_MAX))
    measure.timed([(line, each(steps))], items=items, seconds=measure.scale.seconds / 2)


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
    _over_and_over(measure, line, imap, command, items=wanted)


def select(measure: Measure) -> None:
    """SELECT the big mailbox again and again."""
    measure.fill([49], measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    _over_and_over(measure, line, imap, "SELECT INBOX")


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
    _over_and_over(measure, line, imap, "SELECT huge")
    measure.figures.values["messages"] = huge


def search(measure: Measure, *, command: str) -> None:
    """SEARCH or SORT the big mailbox."""
    if command.startswith("SORT"):
        measure.needs("SORT")
    measure.fill([49], measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    _over_and_over(measure, line, imap, command)


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


def store_single(measure: Measure) -> None:
    """STORE a flag of one message, another one each time, eight connections in their own mailboxes."""
    measure.fill(range(51, 59), 100)
    opened = measure.imap(8, first=51, mailbox="INBOX")

    def steps(imap: Imap) -> Iterator[Script]:
        for number in range(_REPEATS_MAX):
            sign = "+" if number // 100 % 2 == 0 else "-"
            yield [imap.command(f"STORE {number % 100 + 1} {sign}FLAGS (\\Flagged)")]

    measure.timed([(line, steps(imap)) for line, imap in opened])


def _bulk(measure: Measure, *steps: Callable[[Imap, int], list[str]], timed: int) -> None:
    """Run commands that belong together some times over; the one at index `timed` of them is measured."""
    measure.fill([50], measure.scale.bulk)
    ((line, imap),) = measure.imap(first=50, mailbox="INBOX")
    for _ in range(measure.scale.turns):
        turn = next(_numbers)
        for number, step in enumerate(steps):
            script = [imap.command(text) for text in step(imap, turn)]
            if number == timed:
                measure.timed([(line, [script])], items=measure.scale.bulk)
            else:
                measure.once(line, script)


def store_all(measure: Measure) -> None:
    """STORE a flag of all messages of a mailbox."""
    _bulk(
        measure,
        lambda *_: ["STORE 1:* +FLAGS.SILENT (\\Answered)"],
        lambda *_: ["STORE 1:* -FLAGS.SILENT (\\Answered)"],
        timed=0,
    )


def copy(measure: Measure) -> None:
    """COPY all messages of a mailbox to an empty one."""
    _bulk(
        measure,
        lambda _, turn: [f"CREATE c{turn}"],
        lambda _, turn: [f"COPY 1:* c{turn}"],
        lambda _, turn: [f"DELETE c{turn}"],
        timed=1,
    )


def move(measure: Measure) -> None:
    """MOVE all messages of a mailbox to an empty one."""
    _bulk(
        measure,
        lambda _, turn: [f"CREATE m{turn}", f"CREATE n{turn}", f"COPY 1:* m{turn}", f"SELECT m{turn}"],
        lambda _, turn: [f"MOVE 1:* n{turn}"],
        lambda _, turn: ["SELECT INBOX", f"DELETE m{turn}", f"DELETE n{turn}"],
        timed=1,
    )


def expunge(measure: Measure) -> None:
    """EXPUNGE a mailbox in which all messages are marked."""
    _bulk(
        measure,
        lambda _, turn: [
            f"CREATE e{turn}",
            f"COPY 1:* e{turn}",
            f"SELECT e{turn}",
            "STORE 1:* +FLAGS.SILENT (\\Deleted)",
        ],
        lambda *_: ["EXPUNGE"],
        lambda _, turn: ["SELECT INBOX", f"DELETE e{turn}"],
        timed=1,
    )


@attrs.frozen
class Workload:
    """A workload by name: what one item of it is, the function that measures a round, how many rounds at most."""

    item: str
    run: Callable[[Measure], None]
    rounds: int = 100


def _deliveries() -> dict[str, Workload]:
    return {
        f"deliver-{octets // 1024}k-{connections}": Workload(
            "message", partial(deliver, octets=octets, connections=connections)
        )
        for octets in (SMALL, LARGE)
        for connections in (1, 8, 32)
    }


_FLAGS = partial(read_all, what="(UID FLAGS)")
_ALL_ENVELOPES = partial(read_all, what=_ENVELOPES)
_BODIES = partial(read_all, what="(UID BODY.PEEK[])", limit=1000)

WORKLOADS: dict[str, Workload] = {
    **_deliveries(),
    "login": Workload("session", partial(sign_in, connections=16)),
    "tls-login": Workload("session", partial(sign_in, connections=16, secure=True)),
    "phone": Workload("session", phone),
    "select": Workload("command", select),
    "select-again": Workload("command", select_again),
    "flags": Workload("message", _FLAGS),
    "envelopes": Workload("message", _ALL_ENVELOPES),
    "bodies": Workload("message", _BODIES),
    "search-flags": Workload("command", partial(search, command="SEARCH UNSEEN NOT FLAGGED")),
    "search-subject": Workload("command", partial(search, command="SEARCH SUBJECT invoice")),
    "sort": Workload("command", partial(search, command="SORT (DATE) UTF-8 ALL")),
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
}
"""By name, in the order in which they are measured; last those that start servers again."""
