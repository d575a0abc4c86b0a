"""A short part of the kill run, the same in every `make test`; `make faults` runs the long one."""

import argparse
import shutil
from typing import Any

from twisted.internet import reactor
from twisted.trial import unittest

from sora import aio
from tests.faults import kill
from tests.faults.cut import HOST, Act, Cut, Weather
from tests.faults.kill import KillRun
from tests.faults.points import ACKNOWLEDGED, POINTS, REQUESTS, STATEMENTS, WHOM, Plan, draw
from tests.faults.world import LONG, Layout

POINTS_SHOWN = ("committed", "transferred", "uploading", "unstaged")


class KillTests(unittest.TestCase):
    """Real processes, really killed."""

    timeout = 180

    async def kills(self, run: KillRun, plans: list[Plan]) -> None:
        """Carry out plans and see that nothing is wrong."""
        await run.start()
        # trial waits for this even when the run is cut short.
        self.addCleanup(lambda: aio.start(run.stop()))
        for plan in plans:
            self.patch(kill, "draw", lambda *_, plan=plan, **__: plan)
            await run.kill(plan.number)
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])
        self.assertEqual(run.summary.kills, len(plans))
        self.assertGreater(run.driver.counts.acknowledged, 20)

    async def test_d1_whoever_is_killed_at_named_points_nothing_acknowledged_is_lost(self) -> None:
        run = KillRun(reactor, seed=41, layout=Layout.OWN, workers=0, check_every=100)
        whom = ("server", "postgres", "server", "postgres")
        plans = [Plan(n, who, point, 0.2, 2) for n, (who, point) in enumerate(zip(whom, POINTS_SHOWN, strict=True))]
        await self.kills(run, [*plans, Plan(len(plans), "network", "at random", 0.2, 0)])
        self.assertEqual(sorted(run.summary.points), sorted(POINTS_SHOWN), run.summary.missed)

    async def test_p8_a_worker_that_is_killed_is_replaced_and_the_server_goes_on(self) -> None:
        if LONG:
            raise unittest.SkipTest(LONG)
        run = KillRun(reactor, seed=42, layout=Layout.OWN, workers=2, check_every=100)
        await self.kills(run, [Plan(0, "worker", "acknowledged", 0.2, 0), Plan(1, "parent", "at random", 0.2, 0)])

    async def test_p1_clients_cut_off_anywhere_leave_nothing_half(self) -> None:
        run = KillRun(reactor, seed=44, layout=Layout.OWN, workers=0)
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        acts = (Act.CUT, Act.TRUNCATE, Act.DELAY)
        cuts = [
            Cut(reactor, (HOST, port), weather=Weather(44, 0.8, acts, octets=60_000))
            for port in (run.world.imap, run.world.lmtp)
        ]
        for cut in cuts:
            cut.start()
            self.addCleanup(cut.stop)
        run.driver.lead(imap=cuts[0].port, lmtp=cuts[1].port)
        run.driver.begin()
        await aio.sleep(reactor, 2.0)  # type: ignore[arg-type]
        await run.driver.end()
        run.driver.close()
        run.driver.lead(imap=run.world.imap, lmtp=run.world.lmtp)
        await run.settle()
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])
        struck = sum(strike.struck.done for cut in cuts for strike in cut.strikes)
        self.assertGreater(struck, 10)
        self.assertGreater(run.driver.counts.unanswered, 0)

    async def test_d4_a_node_destroyed_with_its_disk_takes_nothing_acknowledged_along(self) -> None:
        if LONG:
            raise unittest.SkipTest(LONG)
        run = KillRun(reactor, seed=43, layout=Layout.OWN, workers=0)
        self.addCleanup(lambda: aio.start(run.stop()))
        await run.start()
        run.driver.begin()
        await aio.sleep(reactor, 0.7)  # type: ignore[arg-type]
        await run.world.kill(run.world.processes())
        await run.driver.end()
        shutil.rmtree(run.world.state)
        await run.world.start_server()
        await run.settle()
        await run.finish()
        self.assertEqual([f"{one.kind}: {one.text}" for one in run.told], [])
        self.assertGreater(run.driver.counts.acknowledged, 10)


class PlanTests(unittest.SynchronousTestCase):
    """What is drawn."""

    def test_a_seed_draws_the_same_again_and_in_time_everything(self) -> None:
        def drawn(seed: int) -> list[Plan]:
            return [draw(seed, number, workers=2, layout=Layout.OWN) for number in range(600)]

        self.assertEqual(drawn(1), drawn(1))
        self.assertNotEqual(drawn(1), drawn(2))
        self.assertEqual({plan.whom for plan in drawn(1)}, set(WHOM))
        self.assertEqual({plan.point for plan in drawn(1)}, set(POINTS))

    def test_without_workers_none_is_killed_and_embedded_points_need_no_proxy(self) -> None:
        plans = [draw(1, number, workers=0, layout=Layout.EMBEDDED) for number in range(200)]
        self.assertEqual({plan.whom for plan in plans}, {"server", "postgres", "ending"})
        self.assertFalse({plan.point for plan in plans} & {*STATEMENTS, *REQUESTS})
        self.assertTrue({plan.point for plan in plans} >= set(ACKNOWLEDGED))

    def test_whom_to_kill_can_be_chosen(self) -> None:
        plans = [draw(1, n, workers=2, layout=Layout.OWN, among=("postgres", "reload")) for n in range(50)]
        self.assertEqual({plan.whom for plan in plans}, {"postgres", "reload"})

    def test_the_command_line_has_the_defaults_of_the_long_run(self) -> None:
        options: Any = kill.arguments([])
        self.assertIsInstance(options, argparse.Namespace)
        self.assertEqual((options.kills, options.workers, options.layout), (1000, 2, "own"))
