"""What a parent and a child process say to each other: words with what belongs to them, over a socket pair.

Both ends run the same program under the same account, and nobody else can reach the socket.
"""

import io
import pickle
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from sora.core.config.model import Configuration
from sora.core.config.secret import Secret
from sora.postgres.settings import DatabaseSettings

ORDERS: Final = b"ORDERS"
DRAIN: Final = b"DRAIN"
SCRAPE: Final = b"SCRAPE"
SIGN_IN: Final = b"SIGN-IN"
READY: Final = b"READY"
FAILED: Final = b"FAILED"
METRICS: Final = b"METRICS"

DESCRIPTOR: Final = 3
"""A child's end of the channel; the listening sockets follow."""
MESSAGE_MAX: Final = 16_777_216
"""Octets of one message: a configuration, or the metrics of one process (some 50 KiB)."""
JOBS: Final = "jobs"
"""The slot of the child that runs the background jobs."""


@attrs.frozen
class Orders:
    """What a child needs to know."""

    slot: str
    """`JOBS`, or the worker's number."""
    configuration: Configuration
    """This process's share of it."""
    database: DatabaseSettings
    """Where it is; prepared by the parent."""
    sockets: dict[str, int]
    """The descriptor of each server's listening socket, by the server's name."""
    threads: int
    """How many threads may describe messages."""
    octets: int
    """How much of the messages being delivered may be in memory."""
    state: Path | None = None
    """The state directory of an embedded PostgreSQL, to be stopped by the last child of a dead parent."""


class _Writer(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        """Write secrets, which refuse to be pickled anywhere else."""
        return (Secret, (thing.reveal(),)) if isinstance(thing, Secret) else NotImplemented


def pack(orders: Orders) -> bytes:
    """Return orders as octets, secrets included."""
    stream = io.BytesIO()
    _Writer(stream, protocol=5).dump(orders)
    return stream.getvalue()


def unpack(data: bytes) -> Orders:
    """Return the orders that the parent packed."""
    orders = pickle.loads(data)  # noqa: S301  from our parent, over a socket of ours
    if not isinstance(orders, Orders):
        raise TypeError("these are no orders")
    return orders


class Channel(Int32StringReceiver):
    """One end of the channel."""

    MAX_LENGTH = MESSAGE_MAX
    over = False
    """Whether the other end is gone."""

    def tell(self, word: bytes, content: bytes = b"") -> None:
        """Say a word; nothing happens if the other end is gone."""
        if self.transport is not None and not self.over:
            self.sendString(word + b" " + content)  # type: ignore[no-untyped-call]

    def told(self, word: bytes, content: bytes) -> None:
        """The other end said a word."""

    def closed(self) -> None:
        """The other end is gone."""

    def stringReceived(self, string: bytes) -> None:
        word, _, content = string.partition(b" ")
        self.told(word, content)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.over = True
        self.closed()
