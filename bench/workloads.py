"""The workloads of a mail store. Each prepares what it needs, outside of the measured time, and measures one round.

Users: 1 to 32 are delivered to, 41 to 48 have a phone's inbox each, 49 has the big mailbox, 50 that of bulk commands,
51 to 58 are stored and appended to, 60 is announced to.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import attrs

from bench.engine import Line, Script
from bench.idle import idle_memory, idle_notify
from bench.mail import message
from bench.measure import Measure
from bench.scripts import Imap, delivery, each, login_and_out
from bench.servers import PASSWORD, user

SMALL, LARGE = 2_048, 30_720
_ENVELOPES = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
_PHONE_INBOX = 200
_REPEATS_MAX = 20_000
_numbers = itertools.count(1_000_000)
"""Messages are never the same twice, so that nothing is saved by keeping equal ones once."""


def deliver(measure: Measure, *, octets: int, connections: int) -> None:
    """Deliver over LMTP connections that stay open, to 32 recipients in turn."""
    lines = measure.lmtp(connections)
    count = measure.scale.count(4000 if connections > 1 else 800)
    texts = [message(next(_numbers), octets) for _ in range(count)]
    scripts = (delivery(user(1 + number % 32), text) for number, text in enumerate(texts))
    measure.timed([(line, scripts) for line in lines])


def sign_in(measure: Measure, *, connections: int) -> None:
    """Connect, LOGIN, LOGOUT, as users who did so a moment ago."""
    measure.untimed(
        (measure.line(measure.server.imap, fresh=True), login_and_out(user(n), PASSWORD, 1)) for n in range(1, 33)
    )
    count = measure.scale.count(6000) // connections
    measure.timed(
        [
            (measure.line(measure.server.imap, fresh=True), login_and_out(user(1 + n), PASSWORD, count))
            for n in range(connections)
        ]
    )


def phone(measure: Measure) -> None:
    """Sign in, LIST, 4 STATUS, SELECT, 50 flags, 20 envelopes, a body, a STORE, LOGOUT: eight users at once."""
    for number in range(41, 49):
        measure.fill(number, _PHONE_INBOX)

    def sessions(number: int, count: int) -> Iterator[Script]:
        for _ in range(count):
            yield Imap().phone(user(number), PASSWORD, _PHONE_INBOX)

    def all_users(count: int) -> list[tuple[Line, Iterator[Script]]]:
        return [(measure.line(measure.server.imap, fresh=True), sessions(n, count)) for n in range(41, 49)]

    measure.untimed(all_users(1))
    measure.timed(all_users(measure.scale.count(100)))


def _over_and_over(measure: Measure, line: Line, imap: Imap, command: str, *, items: int = 1) -> None:
    """Run a command once unmeasured, then again and again for long enough that short ones are measured well."""
    measure.once(line, [imap.command(command)])
    steps = (imap.command(command) for _ in range(_REPEATS_MAX))
    measure.timed([(line, each(steps))], items=items, seconds=measure.scale.seconds / 4)


def read_all(measure: Measure, *, what: str, limit: int | None = None, again: str = "") -> None:
    """FETCH the big mailbox whole, or its first `limit` messages, after one FETCH that is not measured.

    `again`: the server is started again before the one that is measured, which includes SELECT; "kept" keeps what it
    has on disk, "cold" makes it forget its caches and indexes.
    """
    count = measure.scale.messages
    measure.fill(49, count)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    wanted = count if limit is None else min(limit, count)
    command = f"FETCH 1:{wanted} {what}"
    if again:
        measure.once(line, [imap.command(command)])
        measure.close()
        measure.server.again(cold=again == "cold")
        ((line, imap),) = measure.imap(first=49)
        measure.settle()
        measure.timed([(line, [[imap.command("SELECT INBOX"), imap.command(command)]])], items=wanted)
        return
    _over_and_over(measure, line, imap, command, items=wanted)


def select(measure: Measure) -> None:
    """SELECT the big mailbox again and again."""
    measure.fill(49, measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    _over_and_over(measure, line, imap, "SELECT INBOX")


def search(measure: Measure, *, criteria: str) -> None:
    """SEARCH the big mailbox."""
    measure.fill(49, measure.scale.messages)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    _over_and_over(measure, line, imap, f"SEARCH {criteria}")


def append(measure: Measure) -> None:
    """APPEND with literals that need no invitation, eight connections, each to its own mailbox."""
    opened = measure.imap(8, first=51, mailbox="INBOX")
    count = measure.scale.count(2400) // 8
    texts = [[message(next(_numbers), SMALL) for _ in range(count)] for _ in opened]
    measure.timed(
        [
            (line, each([imap.append("Archive", text) for text in mine]))
            for (line, imap), mine in zip(opened, texts, strict=True)
        ]
    )


def store_single(measure: Measure) -> None:
    """STORE a flag of one message, another one each time, eight connections in their own mailboxes."""
    for number in range(51, 59):
        measure.fill(number, 100)
    opened = measure.imap(8, first=51, mailbox="INBOX")
    count = measure.scale.count(2400) // 8

    def steps(imap: Imap) -> Iterator[Script]:
        for number in range(count):
            sign = "+" if number // 100 % 2 == 0 else "-"
            yield [imap.command(f"STORE {number % 100 + 1} {sign}FLAGS (\\Flagged)")]

    measure.timed([(line, steps(imap)) for line, imap in opened])


def _bulk(measure: Measure, *steps: Callable[[Imap, int], list[str]], timed: int) -> None:
    """Run commands that belong together some times over; the one at index `timed` of them is measured."""
    measure.fill(50, measure.scale.bulk)
    ((line, imap),) = measure.imap(first=50, mailbox="INBOX")
    for _ in range(max(3, measure.scale.count(10))):
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
    """A workload by name: what one item of it is, and the function that measures a round."""

    item: str
    run: Callable[[Measure], None]


def _deliveries() -> dict[str, Workload]:
    return {
        f"deliver-{octets // 1024}k-{connections}": Workload(
            "message", partial(deliver, octets=octets, connections=connections)
        )
        for octets in (SMALL, LARGE)
        for connections in (1, 8, 32)
    }


WORKLOADS: dict[str, Workload] = {
    **_deliveries(),
    "login": Workload("session", partial(sign_in, connections=16)),
    "phone": Workload("session", phone),
    "select": Workload("command", select),
    "flags": Workload("message", partial(read_all, what="(UID FLAGS)")),
    "envelopes": Workload("message", partial(read_all, what=_ENVELOPES)),
    "bodies": Workload("message", partial(read_all, what="(UID BODY.PEEK[])", limit=1000)),
    "search-flags": Workload("command", partial(search, criteria="UNSEEN NOT FLAGGED")),
    "search-subject": Workload("command", partial(search, criteria="SUBJECT invoice")),
    "append": Workload("message", append),
    "store": Workload("command", store_single),
    "store-all": Workload("message", store_all),
    "copy": Workload("message", copy),
    "move": Workload("message", move),
    "expunge": Workload("message", expunge),
    "idle-notify": Workload("delivery", idle_notify),
    "idle-memory": Workload("session", idle_memory),
    "bodies-disk": Workload("message", partial(read_all, what="(UID BODY.PEEK[])", limit=1000, again="kept")),
    "envelopes-cold": Workload("message", partial(read_all, what=_ENVELOPES, again="cold")),
    "flags-cold": Workload("message", partial(read_all, what="(UID FLAGS)", again="cold")),
}
"""By name, in the order in which they are measured; cold ones last, because they start servers again."""
