"""Half load for a long time: this project's server under a mix of everything, weighed again and again.

First each kind of work is done alone for some seconds, as fast as it goes. The mix then does each at half of a share
of that rate, the shares adding up to the whole: half of what the server can do, with a crowd in IDLE that comes and
goes on top. As many messages are expunged as are delivered, so that what is kept is constant, and deleted ones are
forgotten after a minute instead of two weeks.
"""

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs

from bench.database import Database
from bench.engine import Driver, Line, Script, ScriptFailed, Step, Tick
from bench.figures import slope
from bench.machine import busy, describe
from bench.mail import message
from bench.measure import Measure, Scale
from bench.processes import spent
from bench.rounds import Wanted, say, started
from bench.scripts import Imap, delivery, login_and_out
from bench.servers import PASSWORD, user
from bench.sora import Sora

_SETTINGS = """
[cleanup]
grace_period = "1m"
wake_interval = "15s"
generation = "1m"
"""
_USERS = 16
_KEPT = 300
_PENDING = 100
"""Messages of a mailbox that are expunged at once."""
_FLAGGED = 17
"""The first user whose messages' flags are changed; nothing else happens to these."""
_CROWD = 200
_STAYS = (20.0, 90.0)
"""Seconds for which one of the crowd waits in IDLE."""
_ALONE = 8.0
_SAMPLE = 10.0
_HALF = 0.5
_BEGINNING = 300.0
"""Seconds whose samples are left out of the slopes, but never more than a third of the run."""

BOUNDS = {
    "python MiB": 16.0,
    "postgres MiB": 64.0,
    "descriptors": 60.0,
    "threads": 12.0,
    "database connections": 12.0,
    "staged bodies": 600.0,
}
"""The rise an hour at which a run fails, two standard errors of it left aside.

PostgreSQL's memory grows until its processes have touched all of the shared buffers (128 MiB).
"""


@attrs.define
class Kind:
    """One kind of work: its connections, their scripts, and its share of the time."""

    name: str
    share: float
    lines: list[Line]
    scripts: Callable[[Line], Iterable[Script]]
    rate: float = 0.0
    due: float = 0.0
    done: int = 0
    late: int = 0

    def paced(self, line: Line) -> Iterator[Script]:
        """Yield scripts that wait for their turn; turns missed by more than a second are dropped and counted."""
        for script in self.scripts(line):
            now = time.perf_counter()
            if self.due < now - 1.0:
                self.late += int((now - self.due) * self.rate) if self.due else 0
                self.due = now
            self.due += 1 / self.rate
            script[0].pause = max(0.0, self.due - now)
            yield script
            self.done += 1

    def counted(self, line: Line) -> Iterator[Script]:
        """Yield scripts one after the other."""
        for script in self.scripts(line):
            yield script
            self.done += 1


class Mix:
    """The kinds of work, and what keeps mailboxes at their size."""

    def __init__(self, measure: Measure) -> None:
        """Open the connections that stay."""
        self._measure = measure
        self._random = Random(1)  # noqa: S311  the same each time is what is wanted
        self._numbers = itertools.count(5_000_000)
        self._delivered = [0] * (_USERS + 1)
        flagged = measure.imap(4, first=_FLAGGED, mailbox="INBOX")
        self._sessions = {id(line): imap for line, imap in flagged}
        self.kinds = [
            Kind("deliveries", 0.4, measure.lmtp(8), self._deliver),
            Kind("logins", 0.15, self._fresh(8), self._sign_in),
            Kind("phone sessions", 0.3, self._fresh(4), self._phone),
            Kind("flag changes", 0.15, [line for line, _ in flagged], self._flag),
        ]

    def _fresh(self, count: int) -> list[Line]:
        return [self._measure.line(self._measure.server.imap, fresh=True) for _ in range(count)]

    def _anyone(self) -> int:
        return self._random.randrange(1, _USERS + 1)

    def _deliver(self, _: Line) -> Iterator[Script]:
        while True:
            number, recipient = next(self._numbers), self._anyone()
            self._delivered[recipient] += 1
            yield delivery(user(recipient), message(number, 30_720 if number % 10 == 0 else 2_048))

    def _sign_in(self, _: Line) -> Iterator[Script]:
        while True:
            yield from login_and_out(user(self._anyone()), PASSWORD, 1)

    def _phone(self, _: Line) -> Iterator[Script]:
        while True:
            yield Imap().phone(user(self._anyone()), PASSWORD, _KEPT // 2)

    def _flag(self, line: Line) -> Iterator[Script]:
        imap = self._sessions[id(line)]
        for number in itertools.count():
            sign = "+" if number // _KEPT % 2 == 0 else "-"
            yield [imap.command(f"STORE {number % _KEPT + 1} {sign}FLAGS (\\Flagged)")]

    def expunging(self) -> Iterator[Script]:
        """Sign in to the mailbox that grew most, once it grew enough, and expunge its oldest messages."""
        while True:
            grown = max(range(1, _USERS + 1), key=self._delivered.__getitem__)
            count = self._delivered[grown]
            imap = Imap()
            if count < _PENDING:
                yield [Step(b"", b"* OK", pause=1.0), imap.command("LOGOUT")]
                continue
            self._delivered[grown] = 0
            yield [
                *imap.opened(user(grown), PASSWORD, "INBOX"),
                imap.command(f"STORE 1:{count} +FLAGS.SILENT (\\Deleted)"),
                imap.command("EXPUNGE"),
                imap.command("LOGOUT"),
            ]

    def waiting(self) -> Iterator[Script]:
        """Sign in, wait in IDLE for a while, leave; again."""
        while True:
            imap = Imap()
            login = list(imap.opened(user(self._anyone()), PASSWORD, "INBOX"))
            login[0].pause = self._random.uniform(0.0, 5.0)
            idle = imap.idle()
            tag = idle.send.partition(b" ")[0] + b" "
            done = Step(b"DONE\r\n", tag, done=b"OK", pause=self._random.uniform(*_STAYS))
            yield [*login, idle, done, imap.command("LOGOUT")]

    def upkeep(self) -> list[tuple[Line, Iterator[Script]]]:
        """Return the work that is not counted: the crowd in IDLE and two that expunge."""
        crowd = [(line, self.waiting()) for line in self._fresh(_CROWD)]
        return crowd + [(line, self.expunging()) for line in self._fresh(2)]


class Scales:
    """Weighs the server: one sample a call."""

    def __init__(self, server: Sora, kinds: list[Kind], database: Database) -> None:
        """Begin."""
        self._server = server
        self._kinds = kinds
        self._database = database
        self._began = time.perf_counter()
        self._cpu = (server.tree.cpu(), busy(), self._began)
        self.samples: list[dict[str, Any]] = []

    def weigh(self) -> None:
        """Take a sample and say it."""
        tree, now = self._server.tree, time.perf_counter()
        cpu, machine = tree.cpu(), busy()
        past, past_machine, then = self._cpu
        self._cpu = (cpu, machine, now)
        memory = tree.memory_by_group()
        sample = {
            "seconds": round(now - self._began, 1),
            **{f"{group} MiB": round(size / 2**20, 2) for group, size in memory.items()},
            "descriptors": tree.count("fd"),
            "threads": tree.count("task"),
            "database connections": self._database.connections(),
            "staged bodies": self._database.staged(),
            "server % CPU": round(100 * sum(spent(past, cpu).values()) / max(0.001, now - then), 1),
            "machine % CPU": round(100 * (machine - past_machine) / max(0.001, now - then), 1),
            "done": {kind.name: kind.done for kind in self._kinds},
            "tables MiB": {name: round(size / 2**20, 2) for name, size in self._database.tables().items()},
        }
        self.samples.append(sample)
        shown = {key: value for key, value in sample.items() if not isinstance(value, dict)}
        say("  ".join(f"{key} {value}" for key, value in shown.items()))


def slopes(samples: list[dict[str, Any]], seconds: float) -> tuple[list[str], list[str]]:
    """Return what rises by how much an hour, as lines to print, and which of it too much."""
    begin = samples[0]["seconds"] + min(_BEGINNING, seconds / 3) if samples else 0.0
    late = [sample for sample in samples if sample["seconds"] >= begin]
    flat = [{**one, **{f"table {name} MiB": size for name, size in one["tables MiB"].items()}} for one in late]
    lines, rising = [], []
    for name in flat[0] if flat else ():
        if isinstance(flat[0][name], dict) or name == "seconds":
            continue
        values = [float(sample.get(name, 0.0)) for sample in flat]
        found = slope([sample["seconds"] for sample in flat], values)
        bound = BOUNDS.get(name)
        text = f"{name:32} {values[0]:10.2f} -> {values[-1]:10.2f}   {found.hourly:+10.2f} ± {found.error:.2f} an hour"
        lines.append(text + (f"   (bound {bound:.0f})" if bound is not None else ""))
        if bound is not None and found.hourly - 2 * found.error > bound:
            rising.append(name)
    return lines, rising


def _alone(measure: Measure, kind: Kind) -> float:
    """Return the rate at which one kind of work goes alone."""
    outcome = measure.driver.run([(line, kind.counted(line)) for line in kind.lines], seconds=_ALONE)
    kind.done = 0
    return len(outcome.latencies) / outcome.seconds


def soak(wanted: Wanted, seconds: float, output: Path | None) -> int:
    """Run it and print what rises; return 1 if something rises too much or fails."""
    machine, ended = describe(), False
    with started(attrs.evolve(wanted, servers=["sora"], settings=_SETTINGS + wanted.settings)) as (server,):
        assert isinstance(server, Sora)  # noqa: S101  for the type
        measure = Measure(server, Scale(_KEPT, 0, 0, seconds, 0, 0), Driver())
        measure.fill(range(1, _FLAGGED + 4), _KEPT)
        mix = Mix(measure)
        kinds = mix.kinds
        for kind in kinds:
            fastest = _alone(measure, kind)
            kind.rate = _HALF * kind.share * fastest
            say(f"{kind.name}: {fastest:.0f}/s alone, {kind.rate:.1f}/s of it in the mix")
        measure.settle()
        with contextlib.closing(Database(server.state)) as database:
            scales = Scales(server, kinds, database)
            work = [(line, kind.paced(line)) for kind in kinds for line in kind.lines] + mix.upkeep()
            try:
                outcome = measure.driver.run(work, seconds=seconds, tick=Tick(_SAMPLE, scales.weigh))
                say(f"{len(outcome.latencies)} scripts in {outcome.seconds:.0f} s, {sum(k.late for k in kinds)} late")
                ended = True
            except KeyboardInterrupt:
                say("interrupted")
            except ScriptFailed as error:
                say(f"failed: {error}")
        measure.close()
    lines, rising = slopes(scales.samples, scales.samples[-1]["seconds"] if scales.samples else 0.0)
    sys.stdout.write(f"{json.dumps(machine)}\n" + "".join(f"{line}\n" for line in lines))
    sys.stdout.write(f"rises too much: {', '.join(rising)}\n" if rising else "nothing rises above its bound\n")
    if output is not None:
        rates = {kind.name: kind.rate for kind in kinds}
        written = {"machine": machine, "rates": rates, "slopes": lines, "rising": rising, "samples": scales.samples}
        output.write_text(json.dumps(written, indent=1) + "\n", "utf-8")
    return 0 if ended and not rising else 1
