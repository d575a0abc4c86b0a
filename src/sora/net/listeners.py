"""Where connections come in: addresses from the configuration, bound and served as Twisted services.

Options of accepted connections (TCP_NODELAY, keepalive) are set once on the listening socket, from which
Linux and the BSDs let accepted sockets inherit, so that they cost nothing per connection.
"""

import errno
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from sora.aio import deferred
from sora.auth.networks import Ip, ip_of
from sora.core.errors import ConfigurationInvalid

BACKLOG: Final = 4096
"""Connections waiting to be accepted; the kernel's `somaxconn` may lower it."""
KEEPALIVE_IDLE: Final = 300
"""Seconds of silence before a TCP probe; phones behind NAT lose their mapping without one."""
KEEPALIVE_INTERVAL: Final = 60
KEEPALIVE_COUNT: Final = 5
UNIX_MODE: Final = 0o660

_TCP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]/]*)):(?P<port>[0-9]{1,5})\Z")


@attrs.frozen
class TcpAddress:
    """A host (an IP address, or empty for all of both families) and a port; 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class UnixAddress:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Read `:143`, `127.0.0.1:1143`, `[::1]:143`, `localhost:143` or `unix:/path`. Raises `ValueError`."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107:
            raise ValueError(f"{text!r}: a unix socket has an absolute path of at most 107 octets")
        return UnixAddress(path)
    match = _TCP.match(text)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(f"{text!r} is no address (write :143, 127.0.0.1:143, [::1]:143 or unix:/path)")
    host = match["v6"] or match["host"]
    if host == "localhost":
        host = "127.0.0.1"
    if host == "*":
        host = ""
    if host:
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"{text!r}: listening needs an IP address, not a name") from None
    return TcpAddress(host, int(match["port"]))


def peer_ip(address: IAddress) -> Ip | None:
    """Return a peer's IP address, IPv4 for one that IPv6 maps; None for a unix socket."""
    host = getattr(address, "host", None)
    return ip_of(host) if isinstance(host, str) else None


def _all_interfaces() -> str:
    """Return `::` where one IPv6 socket serves both families, else IPv4's any address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            if probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
                return "0.0.0.0"  # noqa: S104  all interfaces is what `:143` asks for
            probe.bind(("::", 0))
    except OSError:
        return "0.0.0.0"  # noqa: S104
    return "::"


class Listener(Service):
    """One address, served by one factory; stopping waits for what `drain` waits for."""

    log = Logger()

    def __init__(
        self,
        factory: Factory,
        address: TcpAddress | UnixAddress,
        *,
        reactor: Any,
        tls: Any = None,
        backlog: int = BACKLOG,
        unix_mode: int = UNIX_MODE,
        drain: Callable[[], "Deferred[None]"] | None = None,
    ) -> None:
        """Prepare to listen; `tls` is a `net.tls.Certificates` for TLS from the first byte."""
        self.address = address
        self._factory = factory if tls is None else TLSMemoryBIOFactory(tls, False, factory)
        self._reactor = reactor
        self._backlog = backlog
        self._unix_mode = unix_mode
        self._drain = drain
        self._port: IListeningPort | None = None

    @property
    def bound(self) -> TcpAddress | UnixAddress:
        """The address really bound, its port chosen by the system if 0 was asked for."""
        if self._port is None or isinstance(self.address, UnixAddress):
            return self.address
        host: Any = self._port.getHost()
        return TcpAddress(self.address.host, host.port)

    def startService(self) -> None:
        """Listen. Raises `ConfigurationInvalid` if the address cannot be had."""
        try:
            self._port = self._listen()
        except CannotListenError as error:
            raise ConfigurationInvalid([f"cannot listen on {self.address}: {_reason(error)}"]) from None
        super().startService()  # type: ignore[no-untyped-call]
        self.log.info("listening on {address}", address=self.bound)

    def _listen(self) -> IListeningPort:
        if isinstance(self.address, UnixAddress):
            Path(self.address.path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _remove_stale(self.address.path)
            port: Any = self._reactor.listenUNIX(self.address.path, self._factory, self._backlog, self._unix_mode)
            return port  # type: ignore[no-any-return]
        host = self.address.host or _all_interfaces()
        port = self._reactor.listenTCP(self.address.port, self._factory, self._backlog, host)
        listening = getattr(port, "socket", None)
        if listening is not None:
            _tune(listening)
        return port  # type: ignore[no-any-return]

    @deferred
    async def stopService(self) -> None:
        """Accept no more, then wait until the conversations have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        if port is not None:
            stopped: Deferred[None] | None = port.stopListening()
            if stopped is not None:
                await stopped
        if self._drain is not None:
            await self._drain()


def _remove_stale(path: str) -> None:
    """Remove a socket that a server which was killed left behind: nobody answers there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except OSError:
            pass


def _tune(listening: socket.socket) -> None:
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reason(error: CannotListenError) -> str:
    cause: Any = error.socketError
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return "another program listens there"
    if number == errno.EACCES:
        return "not permitted (ports below 1024 need a privilege)"
    return str(getattr(cause, "strerror", None) or cause)
