"""L1, P6: nothing a stranger does wins him time."""

from twisted.trial import unittest

from sora.core import limits
from tests.dialogs.world import MemoryWorld
from tests.property import bytes_kept


class StrangerTests(unittest.TestCase):
    """Over the store in memory."""

    async def stays(self, line: bytes, every: float) -> float:
        """Return how long a stranger stays who sends a line again and again; bounded."""
        world = MemoryWorld(bytes_kept.SCENE)
        await world.set_up()
        world.factory = world.imap()
        client = await world.connect()
        begun = world.clock.seconds()
        while not await client.closed() and world.clock.seconds() - begun < 300:
            world.advance(every)
            await client.send(line)
        return float(world.clock.seconds() - begun)

    async def test_l1_guessing_passwords_wins_no_time(self) -> None:
        for line in (b"a LOGIN demo@example.org wrong\r\n", b"a LOGIN demo@example.org wrong\r\nb NOOP\r\n"):
            self.assertLessEqual(await self.stays(line, 20), limits.UNAUTHENTICATED_TIME_MAX + 20)

    async def test_l1_a_good_command_between_does_not_make_up_for_bad_ones(self) -> None:
        self.assertLess(await self.stays(b"a NONSENSE\r\nb NOOP\r\n", 1), limits.BAD_COMMANDS_MAX + 2)
