"""Case V1 with sessions that act at once: nobody is told what does not fit, and at rest all agree."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sora.aio import gather
from tests.dialogs.test_views import Sessions, Told
from tests.dialogs.world import TcpWorld
from tests.integration.database import DatabaseTests

STEPS = 40


class Crowd(Sessions):
    """Sessions that do not wait for each other."""

    async def act(self, told: Told) -> None:
        """Let one session do its steps."""
        for _ in range(STEPS):
            await self.step(told)

    async def idle(self, told: Told) -> None:
        """Ask instead: what another session is doing now is its own affair."""
        await told.do("NOOP")


class AtOnceTests(DatabaseTests):
    """Over PostgreSQL and TCP, where the answers of sessions cross."""

    timeout = 120

    async def test_v1_sessions_that_act_at_once_agree_at_rest(self) -> None:
        crowd = Crowd(seed=7)
        world = TcpWorld(self.store, crowd.dialog(), reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(world.tear_down()))
        await world.set_up()
        world.listen(world.imap())
        await crowd.begin(world)
        await gather([Deferred.fromCoroutine(crowd.act(told)) for told in crowd.told])
        await crowd.all_agree()
        self.assertEqual(await self.store.audit.findings(), [])
        for told in crowd.told:
            await told.client.hang_up()
