"""Measures one round of one workload on one server: clocks and process trees around the load driver."""

import resource
import ssl
import time
from collections.abc import Iterable, Sequence

import attrs

from bench.engine import Driver, Line, Outcome, Script, Step, Tick
from bench.figures import Figures
from bench.machine import busy, sync_seconds
from bench.mail import message
from bench.processes import spent
from bench.scripts import Imap, delivery, each, lmtp_greeting
from bench.servers import PASSWORD, Server, Skipped, user

_LOOK = 0.25
_QUIET = 0.02 * _LOOK
"""Seconds of CPU between two looks below which a server counts as quiet."""
_SETTLE = 60.0
"""Seconds a server is given to become quiet."""


def _without_verification() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _without_verification()
"""Certificates are of the benchmark's own making, and the client's work is not what is measured."""


@attrs.frozen
class Scale:
    """How much is done: messages of four mailboxes, seconds of a window, turns of bulk commands, sessions in IDLE."""

    messages: int
    bulk: int
    huge: int
    large: int
    seconds: float
    turns: int
    crowd: int

    def count(self, rate: float) -> int:
        """Return what has to be prepared for a window at a rate a second that no server is expected to reach."""
        return max(4, int(rate * self.seconds))


def settle(servers: Sequence[Server]) -> list[dict[str, float]]:
    """Wait until servers are quiet; return the CPU that each used until it became so."""
    trees, deadline = [server.tree for server in servers], time.monotonic() + _SETTLE
    first = [tree.cpu() for tree in trees]
    last, end, quiet = list(first), list(first), [0.0] * len(trees)
    while any(quiet[n] < server.quiet for n, server in enumerate(servers)) and time.monotonic() < deadline:
        time.sleep(_LOOK)
        for n, tree in enumerate(trees):
            now = tree.cpu()
            if sum(spent(last[n], now).values()) < _QUIET:
                quiet[n] += _LOOK
            else:
                quiet[n], end[n] = 0.0, now
            last[n] = now
    return [spent(begin, until) for begin, until in zip(first, end, strict=True)]


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

    def line(self, address: tuple[str, int], *, fresh: bool = False, secure: bool = False) -> Line:
        """Return a connection that is closed after the round."""
        line = Line(address, fresh=fresh, context=_TLS if secure else None)
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

    def timed(
        self,
        work: Sequence[tuple[Line, Iterable[Script]]],
        *,
        items: int = 1,
        seconds: float = 0.0,
        tick: Tick | None = None,
    ) -> Outcome:
        """Run and count; one script handles so many items."""
        tree = self.server.tree
        if not self.figures.sync:
            self.figures.sync = sync_seconds(self.server.directory)
        before, driver, machine = tree.cpu(), _own_cpu(), busy()
        outcome = self.driver.run(work, seconds=seconds or self.scale.seconds, tick=tick)
        used, machine = _own_cpu() - driver, busy() - machine
        cost = spent(before, tree.cpu())
        self.figures.add_cpu(cost)
        self.figures.driver += used
        self.figures.others += max(0.0, machine - used - sum(cost.values()))
        self.figures.items += items * len(outcome.latencies)
        self.figures.seconds += outcome.seconds
        self.figures.latencies += outcome.latencies
        self.figures.octets += outcome.octets
        return outcome

    def once(self, line: Line, *scripts: Script) -> Outcome:
        """Run scripts on one connection, not measured."""
        return self.untimed([(line, scripts)])

    def over_and_over(self, line: Line, steps: Iterable[Step], *, items: int = 1) -> None:
        """Run one step unmeasured, then others for half a window, in which short ones are measured well."""
        waiting = iter(steps)
        self.once(line, [next(waiting)])
        self.timed([(line, each(waiting))], items=items, seconds=self.scale.seconds / 2)

    def settle(self) -> dict[str, float]:
        """Wait until the server is quiet; return the CPU it used until it became so."""
        return settle([self.server])[0]

    def needs(self, capability: str) -> None:
        """Raise `Skipped` unless the server says after LOGIN that it has a capability; without one nothing is asked."""
        if not capability:
            return
        ((line, imap),) = self.imap()
        step = imap.command("CAPABILITY")
        self.once(line, [step])
        if capability.encode() not in line.tail.upper().split():
            raise Skipped(f"{self.server.name} has no {capability}")

    def fill(self, numbers: Iterable[int], count: int) -> None:
        """Deliver until the inboxes of users nobody else delivers to have so many messages; done once a server."""
        missing = [number for number in numbers if f"inbox of {number}" not in self.server.prepared]
        if not missing:
            return
        lines = self.lmtp(8)
        scripts = (delivery(user(number), message(index, 2048)) for number in missing for index in range(count))
        self.untimed((line, scripts) for line in lines)
        self.settle()
        self.server.prepared.update(f"inbox of {number}" for number in missing)

    def close(self) -> None:
        """Hang up everything."""
        for line in self.lines:
            line.close()
        self.lines.clear()
