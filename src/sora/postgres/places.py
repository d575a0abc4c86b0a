"""Finding a server to connect to: names resolved by the reactor, never by libpq, which would block.

Several hosts, or several addresses of one, are tried in order; the caller keeps the first that is writable.
"""

from typing import Any, Final

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from sora.core.errors import DatabaseUnavailable
from sora.postgres.settings import DatabaseSettings

APPLICATION: Final = "sora"


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what the resolver finds."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:  # noqa: N802, N803  Twisted's names
        """Nothing is of interest yet."""

    def addressResolved(self, address: Any) -> None:  # noqa: N802
        """Keep an address."""
        self.found.append(address.host)

    def resolutionComplete(self) -> None:  # noqa: N802
        """Hand out what was found, even nothing."""
        self.done.callback(self.found)


async def resolve(host: str, reactor: Any) -> list[dict[str, str]]:
    """Return libpq's parameters for each address of a host. Raises `DatabaseUnavailable` if it has none."""
    if host.startswith(("/", "@")):
        return [{"host": host}]
    if isIPAddress(host) or isIPv6Address(host):
        return [{"host": host, "hostaddr": host}]
    receiver = _Addresses()
    reactor.nameResolver.resolveHostName(receiver, host)
    found = await receiver.done
    if not found:
        raise DatabaseUnavailable("the database's host name has no address")
    return [{"host": host, "hostaddr": address} for address in dict.fromkeys(found)]


def parameters(settings: DatabaseSettings) -> dict[str, Any]:
    """Return what every connection passes to libpq, wherever the server is."""
    options: dict[str, str | int] = {
        "statement_timeout": round(settings.statement_timeout * 1000),
        "lock_timeout": round(settings.lock_timeout * 1000),
        "idle_in_transaction_session_timeout": round(settings.statement_timeout * 1000),
        "timezone": "UTC",
        # Statements are short; compiling one would take longer than running it.
        "jit": "off",
        # And each belongs to one session among thousands: no helpers, which take longer to start than it runs.
        "max_parallel_workers_per_gather": 0,
    }
    chosen: dict[str, Any] = {
        "port": settings.port,
        "user": settings.user,
        "dbname": settings.name,
        "sslmode": settings.sslmode,
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": APPLICATION,
        # A peer that vanished without a word is noticed within a minute instead of two hours.
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
    }
    if settings.password is not None:
        chosen["password"] = settings.password
    if settings.sslrootcert is not None:
        chosen["sslrootcert"] = settings.sslrootcert
    return chosen
