"""Random games against the model over PostgreSQL, TCP and two workers with a change feed each (V1, V4, V11).

A few in `make test`; `SORA_MODEL_GAMES=500 SORA_MODEL_SEED=7` plays so many of another seed. A failure names its game.
"""

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.integration.database import DatabaseTests
from tests.model.game import Game
from tests.model.run import moves_of
from tests.model.worlds import OverPostgres

GAMES = int(os.environ.get("SORA_MODEL_GAMES", "3"))
SEED = int(os.environ.get("SORA_MODEL_SEED", "11"))
MOVES = 80


class WorkersTests(DatabaseTests):
    """Two workers as two processes would be: nothing shared but the database."""

    timeout = 7_200

    async def _play(self, number: int) -> None:
        await self._set_up()
        world = OverPostgres(self.open, reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(world.tear_down()))
        await world.set_up()
        game = Game(world)
        await game.begin()
        try:
            await game.play(moves_of(SEED, number, MOVES))
        finally:
            for player in game.players:
                await player.hang_up()

    def setUp(self) -> None:
        """Leave the making of the database to each game."""


def _game(number: int) -> None:
    async def test(self: WorkersTests) -> None:
        await self._play(number)

    name = f"test_v1_v4_v11_game_{number}_of_seed_{SEED}"
    test.__name__ = name
    setattr(WorkersTests, name, test)


for _number in range(GAMES):
    _game(_number)
