"""The points of a message's life at which the server or PostgreSQL is killed, and how kills are drawn from a seed.

Each is seen from outside, by a statement, a request or an acknowledgement: nothing in the server knows of them.
"""

import random
from typing import Final

import attrs

from tests.faults.cut import Act, Side
from tests.faults.world import Layout

RECORDING: Final = rb"(?s)\('\{\d.*_uploads\(|_uploads\(.*\('\{\d"
"""The statement that records uploads which have arrived, and perhaps claims more."""
STATEMENTS: Final[dict[str, tuple[bytes, Side, Act]]] = {
    "received": (rb"insert_messages\(", Side.ASKED, Act.STALL),
    "staged": (rb"insert_messages\(", Side.ASKED, Act.TELL),
    "committed": (rb"insert_messages\(", Side.ANSWERED, Act.STALL),
    "claimed": (rb"claim_uploads\(", Side.ANSWERED, Act.STALL),
    "uploaded": (RECORDING, Side.ASKED, Act.STALL),
    "unstaged": (RECORDING, Side.ANSWERED, Act.STALL),
    "flagging": (rb"store_flags", Side.ASKED, Act.TELL),
    "flagged": (rb"store_flags", Side.ANSWERED, Act.STALL),
    "transferring": (rb"transfer_messages", Side.ASKED, Act.TELL),
    "transferred": (rb"transfer_messages", Side.ANSWERED, Act.STALL),
    "expunging": (rb"expunge_messages", Side.ASKED, Act.TELL),
    "expunged": (rb"expunge_messages", Side.ANSWERED, Act.STALL),
    "collecting": (rb"collect_step", Side.ASKED, Act.TELL),
    "collected": (rb"collect_step", Side.ANSWERED, Act.STALL),
    "discarding": (rb"DELETE FROM discarded_objects", Side.ASKED, Act.STALL),
}
"""Points that a statement shows: its text, and whether it has been asked or answered."""
RARE: Final = ("collecting", "collected", "discarding", "uploaded", "unstaged")
"""Points that come less than a few times a second."""
REQUESTS: Final = {"uploading": "PUT", "deleting": "POST"}
"""Points that a request to S3 shows."""
ACKNOWLEDGED: Final = {"acknowledged": "deliver", "appended": "append", "moved": "move"}
"""Points right after an acknowledgement has arrived."""
RANDOM: Final = "at random"
POINTS: Final = (*STATEMENTS, *REQUESTS, *ACKNOWLEDGED, RANDOM, RANDOM, RANDOM)
WHOM: Final = ("server", "worker", "parent", "postgres", "ending", "reload", "network")
"""Who is killed; `ending` and `reload` are SIGTERM and SIGHUP instead, `network` are connections to PostgreSQL."""
EMBEDDED_POINTS: Final = (*ACKNOWLEDGED, RANDOM, RANDOM)


@attrs.frozen
class Plan:
    """One kill as it is drawn."""

    number: int
    whom: str
    point: str
    delay: float
    skip: int


def draw(seed: int, number: int, *, workers: int, layout: Layout, among: tuple[str, ...] = ()) -> Plan:
    """Draw a kill, of anyone or of those named."""
    drawn = random.Random(f"{seed}/kill/{number}")
    whom = ["server", "server", "server", "postgres", "postgres", "postgres", "ending"]
    if workers:
        whom += ["worker", "worker", "worker", "parent", "reload"]
    if layout is Layout.OWN:
        whom += ["network"]
    whom = [one for one in whom if not among or one in among]
    points = POINTS if layout is Layout.OWN else EMBEDDED_POINTS
    return Plan(number, drawn.choice(whom), drawn.choice(points), drawn.uniform(0.02, 0.6), drawn.randrange(6))
