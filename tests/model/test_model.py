"""Random games against the model: every player is told what must come of the moves (V1, V11, V12)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from tests.model.game import OFTEN, PLAYS, Game, Move
from tests.model.worlds import InMemory

MOVES = st.lists(
    st.tuples(st.sampled_from([*OFTEN, *PLAYS]), st.integers(0, 2), st.integers(0, 255), st.integers(0, 255)),
    max_size=60,
)


async def play(moves: list[Move]) -> None:
    """Play a game in memory."""
    world = InMemory()
    await world.set_up()
    game = Game(world)
    await game.begin()
    await game.play(moves)


class ModelTests(unittest.SynchronousTestCase):
    """In memory, where nothing takes time."""

    @settings(deadline=None, max_examples=60)
    @given(MOVES)
    def test_v1_every_answer_is_what_the_model_says(self, moves: list[Move]) -> None:
        self.successResultOf(Deferred.fromCoroutine(play(moves)))
