"""Changes of messages: a flag of one by eight sessions at once; STORE, COPY, MOVE and EXPUNGE of a whole mailbox."""

import itertools
from collections.abc import Callable, Iterator

from bench.engine import Script
from bench.measure import Measure
from bench.scripts import Imap

_numbers = itertools.count(1)


def store_single(measure: Measure) -> None:
    """STORE a flag of one message, another one each time, eight connections in their own mailboxes."""
    measure.fill(range(51, 59), 100)
    opened = measure.imap(8, first=51, mailbox="INBOX")

    def steps(imap: Imap) -> Iterator[Script]:
        for number in itertools.count():
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
