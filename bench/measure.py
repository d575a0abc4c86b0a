"""Measures one round of one workload on one server: clocks and process trees around the load driver."""

import resource
import time
from collections.abc import Iterable, Sequence

import attrs

from bench.engine import Driver, Line, Outcome, Script
from bench.figures import Figures
from bench.mail import message
from bench.processes import spent
from bench.scripts import Imap, delivery, lmtp_greeting
from bench.servers import PASSWORD, Server, user

_LOOK = 0.25
_QUIET = 0.02 * _LOOK
"""Seconds of CPU between two looks below which a server counts as quiet."""
_SETTLE = 60.0
"""Seconds a server is given to become quiet."""


@attrs.frozen
class Scale:
    """How much is done: messages of the big mailbox, of bulk commands, a factor on counts, seconds a window at most."""

    messages: int
    bulk: int
    factor: float
    seconds: float
    idlers: int

    def count(self, full: int) -> int:
        """Return a count of operations at this scale."""
        return max(4, int(full * self.factor))


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@attrs.define
class Measure:
    """One round on one server; a workload prepares with it, and what it runs as `timed` is counted."""

    server: Server
    scale: Scale
    driver: Driver
    figures: Figures = attrs.Factory(Figures)
    lines: list[Line] = attrs.Factory(list)

    def line(self, address: tuple[str, int], *, fresh: bool = False) -> Line:
        """Return a connection that is closed after the round."""
        line = Line(address, fresh=fresh)
        self.lines.append(line)
        return line

    def imap(self, count: int = 1, *, first: int = 1, mailbox: str | None = None) -> list[tuple[Line, Imap]]:
        """Return connections signed in as the users from `first` on, with a mailbox selected."""
        opened = [(self.line(self.server.imap), Imap()) for _ in range(count)]
        self.untimed(
            (line, [imap.opened(user(first + number), PASSWORD, mailbox)]) for number, (line, imap) in enumerate(opened)
        )
        return opened

    def lmtp(self, count: int) -> list[Line]:
        """Return connections that have greeted."""
        opened = [self.line(self.server.lmtp) for _ in range(count)]
        self.untimed((line, [lmtp_greeting()]) for line in opened)
        return opened

    def untimed(self, work: Iterable[tuple[Line, Iterable[Script]]]) -> Outcome:
        """Run what is not measured."""
        return self.driver.run(work, seconds=600.0)

    def timed(self, work: Sequence[tuple[Line, Iterable[Script]]], *, items: int = 1, seconds: float = 0.0) -> Outcome:
        """Run and count; one script handles so many items."""
        tree = self.server.tree
        before, driver = tree.cpu(), _own_cpu()
        outcome = self.driver.run(work, seconds=seconds or self.scale.seconds)
        used = _own_cpu() - driver
        self.figures.add_cpu(spent(before, tree.cpu()))
        self.figures.driver += used
        self.figures.items += items * len(outcome.latencies)
        self.figures.seconds += outcome.seconds
        self.figures.latencies += outcome.latencies
        self.figures.octets += outcome.octets
        return outcome

    def once(self, line: Line, *scripts: Script) -> Outcome:
        """Run scripts on one connection, not measured."""
        return self.untimed([(line, scripts)])

    def settle(self) -> dict[str, float]:
        """Wait until the server is quiet; return the CPU it used until it became so."""
        tree, deadline = self.server.tree, time.monotonic() + _SETTLE
        first = last = tree.cpu()
        end, quiet = first, 0.0
        while quiet < self.server.quiet and time.monotonic() < deadline:
            time.sleep(_LOOK)
            now = tree.cpu()
            if sum(spent(last, now).values()) < _QUIET:
                quiet += _LOOK
            else:
                quiet, end = 0.0, now
            last = now
        return spent(first, end)

    def fill(self, number: int, count: int, octets: int = 2048) -> None:
        """Deliver until the inbox of a user nobody else delivers to has so many messages; done once a server."""
        mark = f"inbox of {number}"
        if mark in self.server.prepared:
            return
        lines = self.lmtp(8)
        recipient = user(number)
        scripts = (delivery(recipient, message(index, octets)) for index in range(count))
        self.untimed((line, scripts) for line in lines)
        self.settle()
        self.server.prepared.add(mark)

    def close(self) -> None:
        """Hang up everything."""
        for line in self.lines:
            line.close()
        self.lines.clear()
