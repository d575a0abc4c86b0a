"""Slows guessing down: delays that grow with the failures of one name from one network, or of one network alone.

Keys are canonical: the account's address without detail, and IPv4 address or IPv6 /64 (`networks.network_of`), so
that spelling gains nothing. Nobody is ever locked out: the worst is the longest delay. Tables are bounded.
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from sora.auth.networks import Network, is_trusted, network_of

FREE_OF_NAME: Final = 1
"""Failures of one name from one network that cost nothing: everyone mistypes once."""
FREE_OF_NETWORK: Final = 20
"""Failures of different names from one network that cost nothing: offices share an address."""
ENTRIES_MAX: Final = 100_000
"""Entries of each table; the ones unused longest are forgotten first."""
WAITING_MAX: Final = 4
"""Sign-ins of one name from one network that may be in a delay at once; more fail at once, unverified."""
WAITING_TOTAL_MAX: Final = 2_000
"""All sign-ins in a delay at once."""


@attrs.define
class _Record:
    failures: int
    last: float


class _Table:
    def __init__(self, window: float, entries_max: int) -> None:
        self._window = window
        self._entries_max = entries_max
        self._records: dict[object, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def failures(self, key: object, now: float) -> int:
        record = self._records.get(key)
        if record is None:
            return 0
        if now - record.last >= self._window:
            del self._records[key]
            return 0
        return record.failures

    def failed(self, key: object, now: float) -> None:
        failures = self.failures(key, now)
        self._records.pop(key, None)
        self._records[key] = _Record(failures + 1, now)
        if len(self._records) > self._entries_max:
            del self._records[next(iter(self._records))]

    def forget(self, key: object) -> None:
        self._records.pop(key, None)


News = Callable[[bool, str, str], None]
"""Takes whether a sign-in failed, its name, and its peer."""


class Throttle:
    """How long a sign-in waits before it is looked at. Times are in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        delay: float = 1.0,
        delay_max: float = 15.0,
        window: float = 600.0,
        trusted: Sequence[Network] = (),
        exempt_loopback: bool = True,
        entries_max: int = ENTRIES_MAX,
        tell: News | None = None,
    ) -> None:
        """`trusted` networks are never slowed down; nor is this host, unless `exempt_loopback` is false.

        `tell` is called with what other processes of the server are to `hear`.
        """
        self._tell = tell
        self._clock = clock
        self._delay = delay
        self._delay_max = delay_max
        self._trusted = trusted
        self._exempt_loopback = exempt_loopback
        self._names = _Table(window, entries_max)
        self._networks = _Table(window, entries_max)
        self._waiting: dict[tuple[str, str], int] = {}
        self._waiting_total = 0

    def _exempt(self, peer: str) -> bool:
        if self._exempt_loopback:
            return is_trusted(peer, self._trusted)
        return any(is_trusted(peer, [network]) and network_of(peer) != "local" for network in self._trusted)

    def delay(self, address: str, peer: str) -> float:
        """Return how long a sign-in of this name from this peer must wait now."""
        if self._exempt(peer):
            return 0.0
        now, network = self._clock(), network_of(peer)
        over = max(
            self._names.failures((address, network), now) - FREE_OF_NAME,
            self._networks.failures(network, now) - FREE_OF_NETWORK,
        )
        if over <= 0:
            return 0.0
        return float(min(self._delay_max, self._delay * 2.0 ** min(over - 1, 30)))

    def enter(self, address: str, peer: str) -> bool:
        """Take a place among those who wait; False if there is none, and the sign-in must fail at once."""
        key = (address, network_of(peer))
        if self._waiting.get(key, 0) >= WAITING_MAX or self._waiting_total >= WAITING_TOTAL_MAX:
            return False
        self._waiting[key] = self._waiting.get(key, 0) + 1
        self._waiting_total += 1
        return True

    def leave(self, address: str, peer: str) -> None:
        """Give that place back."""
        key = (address, network_of(peer))
        self._waiting_total -= 1
        left = self._waiting[key] - 1
        if left:
            self._waiting[key] = left
        else:
            del self._waiting[key]

    def failed(self, address: str, peer: str) -> None:
        """Count a failure."""
        if not self._exempt(peer):
            self.hear(True, address, peer)
            if self._tell is not None:
                self._tell(True, address, peer)

    def succeeded(self, address: str, peer: str) -> None:
        """Forget the failures of this name from this network (those of the network's other names stay)."""
        key = (address, network_of(peer))
        # Most sign-ins have nothing to forget, and are nobody's news.
        if self._tell is not None and self._names.failures(key, self._clock()):
            self._tell(False, address, peer)
        self._names.forget(key)

    def hear(self, failed: bool, address: str, peer: str) -> None:
        """Take what another process was told, or this one."""
        now, network = self._clock(), network_of(peer)
        if failed:
            self._names.failed((address, network), now)
            self._networks.failed(network, now)
        else:
            self._names.forget((address, network))
