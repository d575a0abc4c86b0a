"""Long runs of the model: `python -m tests.model.run --minutes 30 --seed 1`; a game is played again with `--game N`."""

import argparse
import random
import sys
import time
from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.model.game import OFTEN, PLAYS, Game, Move
from tests.model.worlds import InMemory

MOVES = 300


def moves_of(seed: int, game: int, count: int = MOVES) -> list[Move]:
    """Draw the moves of a game: always the same for the same numbers."""
    chance = random.Random(f"{seed}/{game}")  # noqa: S311  the same story each time
    words = [*OFTEN * 3, *PLAYS]
    return [
        (chance.choice(words), chance.randrange(3), chance.randrange(256), chance.randrange(256)) for _ in range(count)
    ]


async def play(moves: list[Move]) -> Game:
    """Play a game in memory."""
    world = InMemory()
    await world.set_up()
    game = Game(world)
    await game.begin()
    await game.play(moves)
    return game


def games(first: int, minutes: float) -> Iterator[int]:
    """Count until the time is over."""
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        yield first
        first += 1


def main() -> None:
    """Play until the time is over or a game shows a mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--game", type=int, help="play this one alone")
    chosen = parser.parse_args()
    played = 0
    for number in [chosen.game] if chosen.game is not None else games(0, chosen.minutes):
        # In memory nothing takes time: the Deferred has fired.
        result: list[object] = []
        Deferred.fromCoroutine(play(moves_of(chosen.seed, number))).addBoth(result.append)
        if isinstance(result[0], Failure):
            sys.exit(f"game {number} of seed {chosen.seed}:\n{result[0].value}")
        played += 1
    sys.stdout.write(f"{played} games of {MOVES} moves, seed {chosen.seed}: no mistake\n")


if __name__ == "__main__":
    main()
