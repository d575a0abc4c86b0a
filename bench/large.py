"""Commands over a mailbox of very many messages, and what they do to somebody else who is in the same process.

One session works on all messages while another user's sends a NOOP every few milliseconds. This server runs one worker
for it, so that both are in the same; how long its reactor's turns were is read from its own metrics.
"""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import attrs

from bench.engine import STALL, Line, Script, Tick
from bench.measure import Measure
from bench.scripts import Imap
from bench.sora import Sora

_OWNER, _ONLOOKER = 59, 61
_STEP = 1_000
_PAUSE = 0.005
"""Seconds between a NOOP's answer and the next one."""
_BLOCKED = re.compile(r"^sora_reactor_blocked_seconds_(count|sum) (\S+)", re.MULTILINE)
_PATIENCE = 300.0
"""Seconds without an octet: some say nothing while they copy."""
_LISTENS = 10.0
"""Seconds until the metrics of a server that was just started must be there."""
_WEIGHED = 0.1
"""Seconds between two looks at the memory."""


@attrs.frozen
class Long:
    """A command over all messages of the mailbox `large`: what goes before it, and how the next one finds it again."""

    command: str
    before: Callable[[int], list[str]]
    after: Callable[[int], list[str]] = lambda _: []
    fresh: bool = False
    """Start the server again first, so that it knows nothing of the mailbox."""


_TO_LARGE = ["SELECT large"]
COMMANDS: dict[str, Long] = {
    "select": Long("SELECT large", lambda _: [], fresh=True),
    "flags": Long("FETCH 1:* (UID FLAGS)", lambda _: _TO_LARGE),
    "sizes": Long("FETCH 1:* (UID INTERNALDATE RFC822.SIZE)", lambda _: _TO_LARGE),
    "search": Long("SEARCH UNSEEN", lambda _: _TO_LARGE),
    "store": Long(
        "STORE 1:* +FLAGS.SILENT (\\Answered)", lambda _: _TO_LARGE, lambda _: ["STORE 1:* -FLAGS.SILENT (\\Answered)"]
    ),
    "copy": Long(
        "COPY 1:* large-copy",
        lambda _: ["CREATE large-copy", *_TO_LARGE],
        lambda _: ["SELECT INBOX", "DELETE large-copy"],
    ),
    "move": Long(
        "MOVE 1:* large-moved",
        lambda _: ["CREATE large-moved", *_TO_LARGE],
        lambda _: ["SELECT INBOX", "DELETE large", "RENAME large-moved large"],
    ),
    "expunge": Long(
        "EXPUNGE",
        lambda _: [
            "CREATE large-gone",
            *_TO_LARGE,
            "COPY 1:* large-gone",
            "SELECT large-gone",
            "STORE 1:* +FLAGS.SILENT (\\Deleted)",
        ],
        lambda _: ["SELECT INBOX", "DELETE large-gone"],
    ),
}
"""By name, in an order in which each finds the mailbox as it must be."""


def _fill(measure: Measure, line: Line, imap: Imap) -> None:
    """Have the owner's mailbox `large` filled by copies of copies: the same way on all servers."""
    wanted, filled = measure.scale.large, _STEP
    if "large" in measure.server.prepared:
        return
    script = ["CREATE large", f"COPY 1:{_STEP} large", "SELECT large"]
    while filled < wanted:
        added = min(filled, wanted - filled, _STEP * 20)
        script += [f"COPY 1:{added} large", "NOOP"]
        filled += added
    measure.once(line, *([imap.command(text)] for text in script))
    measure.server.prepared.add("large")
    measure.settle()


def over_all(measure: Measure, *, name: str) -> None:
    """Run one command over all messages once, with another user's NOOPs beside it."""
    measure.driver.stall = _PATIENCE
    try:
        _over_all(measure, COMMANDS[name])
    finally:
        measure.driver.stall = STALL


def _over_all(measure: Measure, long: Long) -> None:
    server, figures = measure.server, measure.figures
    if isinstance(server, Sora):
        server.with_workers(1)
    measure.fill([_OWNER, _ONLOOKER], _STEP)
    ((line, imap),) = measure.imap(first=_OWNER, mailbox="INBOX")
    _fill(measure, line, imap)
    if long.fresh:
        measure.close()
        server.again()
        ((line, imap),) = measure.imap(first=_OWNER)
        measure.settle()
    measure.once(line, *([imap.command(text)] for text in long.before(0)))
    ((other, onlooker),) = measure.imap(first=_ONLOOKER, mailbox="INBOX")
    other.latencies = []
    measure.once(other, [onlooker.command("NOOP")])
    other.latencies.clear()
    blocked = _blocked(server)
    work = _Work(measure, long.command, imap, onlooker)
    measure.timed([(line, work.main()), (other, work.beside())], items=measure.scale.large, seconds=600, tick=work.tick)
    figures.values["messages"] = measure.scale.large
    figures.values["ms the longest NOOP of another"] = 1000 * max(other.latencies)
    figures.values["NOOPs above 50 ms"] = sum(one > 0.05 for one in other.latencies)
    figures.values["NOOPs"] = len(other.latencies)
    if isinstance(server, Sora):
        count, seconds = (now - before for now, before in zip(_blocked(server), blocked, strict=True))
        figures.values["turns above 50 ms"] = count
        figures.values["ms of them together"] = 1000 * seconds
    grown = work.memory
    figures.values["octets a message at most"] = max(0, grown.most - grown.first) / measure.scale.large
    measure.once(line, *([imap.command(text)] for text in long.after(0)))
    figures.values["octets a message after"] = max(0, grown.weigh() - grown.first) / measure.scale.large


class _Memory:
    """What the processes of a server weigh, without its database's."""

    def __init__(self, measure: Measure) -> None:
        self._tree = measure.server.tree
        self.first = self.most = self.weigh()

    def weigh(self) -> int:
        weights = self._tree.memory_by_group()
        return weights.get(self._tree.rest, 0)

    def look(self) -> None:
        self.most = max(self.most, self.weigh())


class _Work:
    """The two scripts that run beside each other: the second ends when the first has."""

    def __init__(self, measure: Measure, command: str, imap: Imap, onlooker: Imap) -> None:
        self._command, self._imap, self._onlooker = command, imap, onlooker
        self._ended = False
        self.memory = _Memory(measure)
        self.tick = Tick(_WEIGHED, self.memory.look)

    def main(self) -> Iterator[Script]:
        yield [self._imap.command(self._command)]
        self._ended = True

    def beside(self) -> Iterator[Script]:
        while not self._ended:
            step = self._onlooker.command("NOOP")
            step.pause = _PAUSE
            yield [step]


def _blocked(server: object) -> tuple[float, float]:
    """Return how many of this server's turns took more than 50 ms until now, and their seconds together."""
    if not isinstance(server, Sora):
        return 0.0, 0.0
    deadline = time.monotonic() + _LISTENS
    while True:
        try:
            with urllib.request.urlopen(server.metrics, timeout=10) as answer:  # noqa: S310  our own server
                found = dict(_BLOCKED.findall(answer.read().decode()))
            return float(found.get("count", 0)), float(found.get("sum", 0))
        except urllib.error.URLError:
            # It begins to listen after the others.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
