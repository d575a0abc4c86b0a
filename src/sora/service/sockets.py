"""The listening sockets of a server with workers: one for each TCP address and worker, one for each unix socket."""

import contextlib
import socket
from collections.abc import Sequence

import attrs

from sora.core.config.servers import Server
from sora.core.errors import ConfigurationInvalid
from sora.net import listeners
from sora.net.listeners import TcpAddress, UnixAddress, parse_address


@attrs.frozen
class _Served:
    server: Server
    address: TcpAddress | UnixAddress
    sockets: list[socket.socket]
    """One for each worker; all the same for a unix socket."""


class Sockets:
    """All sockets that workers serve, open from `bind` to `close`."""

    def __init__(self, servers: Sequence[Server], workers: int) -> None:
        """Prepare for servers that are to be started."""
        self._servers = servers
        self._workers = workers
        self._bound: dict[str, _Served] = {}

    def bind(self) -> None:
        """Bind everything. Raises `ConfigurationInvalid` with a complaint for each address that cannot be had."""
        complaints = []
        for server in self._servers:
            address = parse_address(server.addr)
            served = self._bound[server.name] = _Served(server, address, [])
            try:
                self._bind(served)
            except ConfigurationInvalid as error:
                complaints += error.complaints
        if complaints:
            self.close()
            raise ConfigurationInvalid(complaints)

    def _bind(self, served: _Served) -> None:
        address, backlog = served.address, served.server.listen_backlog
        if isinstance(address, UnixAddress):
            served.sockets.extend([listeners.bind(address, backlog=backlog)] * self._workers)
            return
        listeners.refuse_taken(address)
        for _ in range(self._workers):
            one = listeners.bind(address, backlog=backlog, shared=True)
            served.sockets.append(one)
            # The system chose a port for the first; the others join it.
            address = TcpAddress(address.host, one.getsockname()[1])

    def of(self, slot: int) -> dict[str, socket.socket]:
        """Return the sockets of a worker by the names of servers."""
        return {name: served.sockets[slot] for name, served in self._bound.items()}

    @property
    def addresses(self) -> list[TcpAddress | UnixAddress]:
        """What is really bound."""
        return [listeners.bound(served.sockets[0], served.address) for served in self._bound.values()]

    def plain_address(self, type: str) -> TcpAddress | None:
        """Return where the first server of a type listens without TLS, if it is on TCP."""
        for served in self._bound.values():
            if served.server.type == type and not served.server.tls:
                address = listeners.bound(served.sockets[0], served.address)
                if isinstance(address, TcpAddress):
                    return address
        return None

    def close(self) -> None:
        """Close all; connections that wait in a queue nobody else serves are refused."""
        for served in self._bound.values():
            for one in served.sockets:
                one.close()
            if served.sockets:
                with contextlib.suppress(OSError):
                    listeners.release(served.address)
        self._bound.clear()
