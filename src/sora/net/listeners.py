"""Where connections come in: addresses from the configuration, bound, and served as Twisted services.

Binding (`bind`) and serving (`serve`) are two steps, because they may happen in two processes: the parent of
worker processes binds and keeps the sockets, its children serve them. Options of accepted connections
(TCP_NODELAY, keepalive) are set once on the listening socket, from which Linux and the BSDs let accepted sockets
inherit, so that they cost nothing per connection.
"""

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from sora.aio import deferred
from sora.auth.networks import Ip, ip_of
from sora.core.errors import ConfigurationInvalid
from sora.net.lean_port import LeanPort

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


# ---------------------------------------------------------------- a socket that listens


def bind(
    address: TcpAddress | UnixAddress, *, backlog: int = BACKLOG, unix_mode: int = UNIX_MODE, shared: bool = False
) -> socket.socket:
    """Return a socket that listens on an address; `shared` lets further calls bind the same TCP address (SO_REUSEPORT).

    Raises `ConfigurationInvalid` if the address cannot be had.
    """
    try:
        if isinstance(address, UnixAddress):
            return _bind_unix(address.path, backlog, unix_mode)
        host = address.host or _all_interfaces()
        return _bind_tcp(host, address.port, backlog, shared=shared)
    except OSError as error:
        raise ConfigurationInvalid([f"cannot listen on {address}: {_reason(error)}"]) from None


def bound(listening: socket.socket, asked: TcpAddress | UnixAddress) -> TcpAddress | UnixAddress:
    """Return the address that a socket is bound to, its port chosen by the system if 0 was asked for."""
    if isinstance(asked, UnixAddress):
        return asked
    return TcpAddress(asked.host, listening.getsockname()[1])


def refuse_taken(address: TcpAddress | UnixAddress) -> None:
    """Raise `ConfigurationInvalid` if someone listens on a TCP address already, be it one who would share it."""
    if isinstance(address, TcpAddress) and address.port:
        bind(address).close()


def release(address: TcpAddress | UnixAddress) -> None:
    """Remove what a bound address left in the file system."""
    if isinstance(address, UnixAddress):
        Path(address.path).unlink(missing_ok=True)


def serve(
    listening: socket.socket, factory: Any, reactor: Any, *, tls: Any = None, lean: bool = False
) -> IListeningPort:
    """Accept connections on a listening socket for a factory: the one place where a socket becomes a port.

    `tls` is a `net.tls.Certificates` for TLS from the first byte; `lean` chooses `net.lean` instead of Twisted's own
    transports. The port has a descriptor of its own, and stopping it harms nobody else who serves the same socket.
    """
    if lean:
        own = LeanPort(listening.dup(), factory, reactor=reactor, tls=tls)
        own.startListening()
        return own
    if tls is not None:
        factory = TLSMemoryBIOFactory(tls, False, factory, clock=reactor)
    if listening.family == socket.AF_UNIX:
        port: Any = _UnixPort._fromListeningDescriptor(reactor, listening.fileno(), factory)  # type: ignore[no-untyped-call]
        port.startListening()
    else:
        port = reactor.adoptStreamPort(listening.fileno(), listening.family, factory)
    return port  # type: ignore[no-any-return]


class _UnixPort(unix.Port):
    """A port on a unix socket that others may serve, too.

    Twisted's own sets mode and backlog anew when it adopts a socket; when it stops it shuts the socket down for
    everybody and removes its name.
    """

    _shouldShutdown = False  # noqa: N815  Twisted's name

    def startListening(self) -> None:  # noqa: N802  Twisted calls it
        tcp.Port.startListening(self)

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call]


def _bind_tcp(host: str, port: int, backlog: int, *, shared: bool) -> socket.socket:
    family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    listening = socket.socket(family, kind)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(where)
        _tune(listening)
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


def _bind_unix(path: str, backlog: int, mode: int) -> socket.socket:
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Nobody else may connect before the mode is what it is to be.
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        Path(path).chmod(mode)
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening


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


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    if error.errno == errno.EACCES:
        return "not permitted (ports below 1024 need a privilege)"
    return error.strerror or str(error)


# ---------------------------------------------------------------- the service


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
        listening: socket.socket | None = None,
        lean: bool = False,
    ) -> None:
        """Prepare to listen; `tls` is a `net.tls.Certificates` for TLS from the first byte, `lean` as for `serve`.

        `listening` is a socket that someone else has bound and keeps; without it one is bound when this starts.
        """
        self.address = address
        self._factory = factory
        self._tls = tls
        self._reactor = reactor
        self._backlog = backlog
        self._unix_mode = unix_mode
        self._drain = drain
        self._listening = listening
        self._owner = listening is None
        self._lean = lean
        self._port: IListeningPort | None = None

    @property
    def bound(self) -> TcpAddress | UnixAddress:
        """The address really bound, its port chosen by the system if 0 was asked for."""
        return self.address if self._listening is None else bound(self._listening, self.address)

    def startService(self) -> None:
        """Listen. Raises `ConfigurationInvalid` if the address cannot be had."""
        if self._listening is None:
            self._listening = bind(self.address, backlog=self._backlog, unix_mode=self._unix_mode)
        self._port = serve(self._listening, self._factory, self._reactor, tls=self._tls, lean=self._lean)
        super().startService()  # type: ignore[no-untyped-call]
        if self._owner:
            self.log.info("listening on {address}", address=self.bound)

    @deferred
    async def stopService(self) -> None:
        """Accept no more, then wait until the conversations have ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        listening, self._listening = self._listening, None
        if port is not None:
            stopped: Deferred[None] | None = port.stopListening()
            if stopped is not None:
                await stopped
        if listening is not None:
            listening.close()
            if self._owner:
                with contextlib.suppress(OSError):
                    release(self.address)
        if self._drain is not None:
            await self._drain()
