"""The kill run: `python -m tests.faults.kill --kills 1000 --seed S` kills a loaded server again and again.

Each kill is drawn from the seed: whom (a worker, the parent, all of the server, PostgreSQL) and at which point of a
message's life. After each, everything that was acknowledged is compared with what is there. `--first N --kills 1`
draws kill N of a run again.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sora import aio
from tests.faults import clients, oracle
from tests.faults.clients import Lost
from tests.faults.cut import Act, Side, Strike
from tests.faults.drive import Driver, User
from tests.faults.oracle import Problem
from tests.faults.points import ACKNOWLEDGED, RARE, REQUESTS, STATEMENTS, WHOM, Plan, draw
from tests.faults.world import PASSWORD, Layout, World

USERS: Final = tuple(f"user{number}@example.org" for number in range(4))
LENIENT: Final = 2.0
"""Seconds before the death of PostgreSQL of which changes of flags may be lost: they are committed asynchronously."""
REACH_LIMIT: Final = 2.5
"""Seconds to wait for a point until it is a random moment instead."""
SERVICE_LIMIT: Final = 5.0
"""Seconds within which service must be back when PostgreSQL is, or a worker has died."""
START_LIMIT: Final = 15.0
"""Seconds for a whole server to start, on a machine that has other things to do."""
STORM: Final = 12
"""Cuts in a row."""
END_LIMIT: Final = 20.0
"""Seconds within which a server ends that is asked to."""
STREAK: Final = 8
ORPHANS_LIMIT: Final = 12.0
"""Seconds within which workers end whose parent was killed; `shutdown_timeout` is five."""

LATER: Final = """
UPDATE bodies SET condemned_at = condemned_at - interval '1 hour' WHERE condemned_at IS NOT NULL
"""
"""Lets the collector's generation go by."""


@attrs.define
class Summary:
    """What a run found."""

    kills: int = 0
    unclean: int = 0
    checks: int = 0
    slowest: dict[str, float] = attrs.field(factory=dict)
    """The longest time until service was back, for each who was killed."""
    seconds: float = 0.0
    problems: Counter[str] = attrs.field(factory=Counter)
    points: Counter[str] = attrs.field(factory=Counter)
    missed: Counter[str] = attrs.field(factory=Counter)
    whom: Counter[str] = attrs.field(factory=Counter)

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems and not self.unclean


class KillRun:
    """One world under load, and one kill after the other."""

    def __init__(
        self, reactor: Any, *, seed: int, layout: Layout, workers: int, check_every: int = 5, **world: Any
    ) -> None:
        """Prepare; `world` is passed on to `World`."""
        self.reactor = reactor
        self.summary = Summary()
        self.told: list[Problem] = []
        self.seed, self.layout, self.workers = seed, layout, workers
        self.world = World(reactor, layout=layout, workers=workers, **world)
        self._check_every = check_every
        self.among: tuple[str, ...] = ()
        """Whom to kill; empty: anyone."""
        self._orphans: list[int] = []
        self.plan: Plan | None = None
        """The kill under way."""
        self._random = random.Random(f"{seed}/run")

    async def start(self) -> None:
        """Start the world and prepare the load."""
        await self.world.start(*USERS)
        users = dict.fromkeys(USERS, PASSWORD)
        self.driver = Driver(self.reactor, seed=self.seed, imap=self.world.imap, lmtp=self.world.lmtp, users=users)

    async def stop(self) -> None:
        """End everything."""
        if hasattr(self, "driver"):
            self.driver.close()
        await self.world.stop()

    # ------------------------------------------------------------ one kill

    async def kill(self, number: int) -> Plan:
        """Load, kill, wait for service, judge."""
        began = time.monotonic()
        plan = draw(self.seed, number, workers=self.workers, layout=self.layout, among=self.among)
        self.plan = plan
        if self.world.s3 is not None:
            self.world.sql(LATER)
        self.driver.begin()
        try:
            await self._reach(plan)
            await self._strike(plan)
        finally:
            self._calm()
        await self.driver.end()
        await self._back(plan)
        since = self._killed - LENIENT if plan.whom == "postgres" else None
        checking = aio.start(self._check()) if (number + 1) % self._check_every == 0 else None
        await self.settle(since)
        if not await self.world.gone(self._orphans, ORPHANS_LIMIT):
            self._note([Problem("orphans", "workers outlive their parent")])
            await self.world.kill(self._orphans)
        self._orphans = []
        if checking is not None:
            await checking
        self.summary.kills += 1
        self.summary.whom[plan.whom] += 1
        self.summary.seconds += time.monotonic() - began
        return plan

    async def settle(self, since: float | None = None) -> None:
        """Judge every account, then deliver again what was not acknowledged."""
        for user in self.driver.users:
            await self._judge(user, since)
        await self.driver.try_again(SERVICE_LIMIT)
        self._note(self.driver.problems)
        self.driver.problems = []

    async def _reach(self, plan: Plan) -> None:
        """Wait until the point is reached, or for so long that it is a random moment."""
        reached: aio.Once[None] = aio.Once()

        def there(*_: object) -> None:
            if not reached.done:
                reached.fire(None)

        # Some load first, so that there is something to lose.
        await aio.sleep(self.reactor, plan.delay)
        if plan.point in STATEMENTS and self.world.cut is not None:
            pattern, side, act = STATEMENTS[plan.point]
            skip = 0 if plan.point in RARE else plan.skip
            strike = self.world.cut.add(Strike(act, side, pattern, skip=skip))
            strike.struck.wait().addCallback(there)
        elif plan.point in REQUESTS and self.world.s3 is not None:
            self._on_request(REQUESTS[plan.point], there)
        elif plan.point in ACKNOWLEDGED:
            wanted = ACKNOWLEDGED[plan.point]
            self.driver.acknowledged = lambda kind: there() if kind == wanted else None
        else:
            return
        try:
            await aio.timeout(reached.wait(), REACH_LIMIT, self.reactor, lambda: Lost("not reached"))
        except Lost:
            self.summary.missed[plan.point] += 1
        else:
            self.summary.points[plan.point] += 1

    def _on_request(self, wanted: str, there: Any) -> None:
        def on_request(method: str) -> bool:
            if method == wanted:
                there()
            return method == wanted

        assert self.world.s3 is not None
        self.world.s3.s3.on_request = on_request

    async def _strike(self, plan: Plan) -> None:
        """Kill."""
        self._killed = self.reactor.seconds()
        processes = self.world.processes()
        if plan.whom == "postgres":
            self._postmaster = self.world.postmaster()
            await self.world.kill_postgres()
        elif plan.whom == "ending":
            await self._end(processes)
        elif plan.whom == "reload":
            await self._reload(processes)
        elif plan.whom == "network":
            await self._storm(plan)
        elif plan.whom == "worker" and len(processes) > 1:
            await self.world.kill([self._random.choice(processes[1:])])
        elif plan.whom == "parent" and len(processes) > 1:
            # As a supervisor does, the next one is started at once: the orphans must give way.
            self._orphans = processes[1:]
            await self.world.kill(processes[:1])
        else:
            await self.world.kill(processes)

    async def _end(self, processes: list[int]) -> None:
        """SIGTERM: everything ends in order, within its limit."""
        os.kill(processes[0], signal.SIGTERM)
        self._release()
        if not await self.world.gone(processes, END_LIMIT):
            self._note([Problem("orphans", f"not ended {END_LIMIT} s after SIGTERM")])
            await self.world.kill(processes)

    async def _reload(self, processes: list[int]) -> None:
        """SIGHUP: one child after the other is replaced, under load."""
        os.kill(processes[0], signal.SIGHUP)
        self._release()
        if not await self.world.gone(processes[1:], END_LIMIT * len(processes)):
            self._note([Problem("orphans", "children that were to be replaced are there still")])

    async def _storm(self, plan: Plan) -> None:
        """Cut connections to PostgreSQL, between statements and before and after them, under load."""
        cut = self.world.cut
        assert cut is not None
        self._release()
        drawn = random.Random(f"{self.seed}/storm/{plan.number}")
        for _ in range(STORM):
            act = drawn.choice((Act.CUT, Act.CUT, Act.TRUNCATE))
            cut.add(
                Strike(
                    act,
                    drawn.choice(tuple(Side)),
                    rb"(?s)insert_|store_|transfer_|expunge_|_uploads",
                    skip=drawn.randrange(4),
                )
            )
            if cut.pipes and drawn.random() < 0.3:
                drawn.choice(sorted(cut.pipes, key=id)).abort()
            await aio.sleep(self.reactor, drawn.uniform(0.02, 0.15))
        cut.clear()

    def _release(self) -> None:
        """Let go on what a point holds: who ends in order waits for it."""
        if self.world.cut is not None:
            self.world.cut.clear()
        if self.world.s3 is not None:
            self.world.s3.s3.on_request = lambda _: False

    def _calm(self) -> None:
        """Forget the points; what was held back never arrives."""
        self.driver.acknowledged = lambda _: None
        if self.world.cut is not None:
            for pipe in list(self.world.cut.pipes):
                if pipe.holds:
                    pipe.abort()
            self.world.cut.clear()
        if self.world.s3 is not None:
            self.world.s3.s3.on_request = lambda _: False

    async def _back(self, plan: Plan) -> None:
        """Start again what nobody else starts, and wait for service."""
        if plan.whom == "postgres":
            await self.world.start_postgres(self._postmaster)
        began = time.monotonic()
        if not self.world.processes():
            await self.world.start_server()
        await self.world.served(user=USERS[0])
        await self._everywhere(began)
        self._restored = began
        took = time.monotonic() - began
        self._took(plan, took)
        if took > (SERVICE_LIMIT if plan.whom in ("postgres", "worker") else START_LIMIT):
            self._note([Problem("slow", f"service was back after {took:.1f} s")])

    def _took(self, plan: Plan, seconds: float) -> None:
        self.summary.slowest[plan.whom] = max(self.summary.slowest.get(plan.whom, 0.0), seconds)

    async def _everywhere(self, began: float) -> None:
        """Sign in until it succeeds many times in a row, at whatever worker the connections come to. Raises `Lost`."""
        streak = 0
        while streak < (STREAK if self.workers else 1):
            user = self.driver.users[streak % len(self.driver.users)]
            try:
                (await clients.imap(self.reactor, self.world.imap, user.ledger.user, PASSWORD)).close()
                streak += 1
            except Lost:
                if time.monotonic() > began + 4 * SERVICE_LIMIT:
                    raise
                streak = 0
                await aio.sleep(self.reactor, 0.05)

    async def _judge(self, user: User, since: float | None, *, everything: bool = False) -> None:
        ledger = user.ledger
        began = time.monotonic()
        while True:
            try:
                reader = await clients.imap(self.reactor, self.world.imap, ledger.user, PASSWORD)
                seen = await oracle.look(reader, ledger, everything=everything)
                break
            except Lost:
                # Another worker than those asked before, which has not found its database again yet.
                if time.monotonic() > began + 2 * SERVICE_LIMIT:
                    raise
                await aio.sleep(self.reactor, 0.1)
                if self.plan is not None:
                    self._took(self.plan, time.monotonic() - self._restored)
        problems = oracle.judge(ledger, seen, self.driver.letters, now=self.reactor.seconds(), since=since)
        self._note(problems)
        session = user.session
        if session is not None and not session.lost:
            self._note(await self._in_step(user, reader))
        reader.close()

    async def _in_step(self, user: User, reader: clients.ImapSession) -> list[Problem]:
        """Compare what a session that lived through it was told with what a new one is."""
        session = user.session
        assert session is not None
        try:
            for _ in range(20):
                if not session.mailbox:
                    break
                told = await session.command("NOOP")
                await session.command("UID FETCH 1:* (UID)")
                await reader.command(f"EXAMINE {session.mailbox}")
                found = await reader.command("UID SEARCH ALL")
                uids = [int(uid) for line in found.untagged for uid in line.split()[2:]]
                if told.ok and session.numbers == uids:
                    break
                await aio.sleep(self.reactor, 0.1)
            else:
                return [Problem("step", f"{user.ledger.user} {session.mailbox}: {session.numbers} beside {uids}")]
        except Lost:
            user.session = None
            return []
        confused, session.confused = session.confused, []
        return [Problem("step", f"{user.ledger.user}: {text}") for text in confused]

    async def _check(self) -> None:
        self.summary.checks += 1
        for finding in await self.world.check():
            self.summary.unclean += 1
            self._note([Problem("check", finding)])

    def _note(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.summary.problems[problem.kind] += 1
            self.told.append(problem)

    # ------------------------------------------------------------ the whole run

    def dump(self, directory: Path, number: int) -> None:
        """Leave the server's log and what was done last to each account, for who looks for the reason."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.world.log, directory / f"{number}-log")
        for user in self.driver.users:
            (directory / f"{number}-{user.ledger.user}").write_text("\n".join(user.ledger.history))

    async def finish(self) -> None:
        """Compare every octet once more, and check."""
        for user in self.driver.users:
            await self._judge(user, None, everything=True)
        await self._check()


async def run(reactor: Any, options: argparse.Namespace) -> Summary:
    """Do a whole run and print what happens."""
    layout = Layout(options.layout)
    killing = KillRun(
        reactor, seed=options.seed, layout=layout, workers=options.workers, check_every=options.check_every
    )
    killing.among = tuple(options.whom)
    say(f"seed {options.seed}, {layout.value} layout, {options.workers} workers")
    deadline = time.monotonic() + options.minutes * 60
    try:
        await killing.start()
        for number in range(options.first, options.first + options.kills):
            plan = await killing.kill(number)
            for problem in killing.told:
                say(f"kill {number} ({plan.whom}, {plan.point}): {problem.kind}: {problem.text}")
            if options.dump and killing.told:
                killing.dump(Path(options.dump), number)
            killing.told.clear()
            if (number + 1) % 25 == 0:
                say(_line(killing))
            if time.monotonic() > deadline:
                break
        await killing.finish()
        for problem in killing.told:
            say(f"at the end: {problem.kind}: {problem.text}")
    except BaseException:
        say(f"broke at {killing.plan}")
        say(killing.world.log.read_text("utf-8", "replace")[-6000:])
        raise
    finally:
        await killing.stop()
    say(_line(killing))
    summary = killing.summary
    say(f"killed {dict(summary.whom)}; reached {dict(summary.points)}; not reached {dict(summary.missed)}")
    say(f"back after { ({whom: round(took, 1) for whom, took in summary.slowest.items()}) }")
    say(f"acknowledged {killing.driver.counts.kinds}")
    return summary


def _line(killing: KillRun) -> str:
    summary, counts = killing.summary, killing.driver.counts
    kinds = ("lost", "doubled", "flags", "octets", "numbers", "step", "refused", "slow", "orphans")
    longest = max(summary.slowest.values(), default=0.0)
    found = ", ".join(f"{summary.problems[kind]} {kind}" for kind in kinds if summary.problems[kind])
    return (
        f"{summary.kills} kills, {counts.acknowledged} acknowledged, {summary.problems['lost']} lost, "
        f"{summary.problems['doubled']} doubled, {summary.unclean} unclean in {summary.checks} checks, "
        f"service back after {longest:.1f} s at most, {summary.seconds / max(1, summary.kills):.2f} s a kill"
        + (f"; {found}" if found else "")
    )


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--minutes", type=float, default=60.0, help="end sooner, after so many minutes (60)")
    parser.add_argument("--seed", type=int, default=1, help="what all is drawn from (1)")
    parser.add_argument("--first", type=int, default=0, help="the first kill's number (0)")
    parser.add_argument("--layout", choices=[one.value for one in Layout], default=Layout.OWN.value)
    parser.add_argument("--workers", type=int, default=2, help="workers of the server; 0: one process is all (2)")
    parser.add_argument("--check-every", type=int, default=5, help="kills between two runs of sora-admin check (5)")
    parser.add_argument("--whom", nargs="*", default=[], choices=WHOM, help="whom to kill (anyone)")
    parser.add_argument("--dump", default="", help="a directory for logs and histories of kills that found something")
    return parser.parse_args(words)


def _main(reactor: Any) -> "Deferred[None]":
    async def work() -> None:
        if not (await run(reactor, arguments(sys.argv[1:]))).good:
            raise SystemExit(1)

    return aio.start(work())


if __name__ == "__main__":
    react(_main)
