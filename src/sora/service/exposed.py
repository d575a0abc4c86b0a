"""The servers of type metrics: listeners of the process that can tell about all others."""

import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any, Final

from sora import aio
from sora.core.config.model import Configuration
from sora.core.config.servers import METRICS
from sora.core.errors import ConfigurationInvalid
from sora.front.http.metrics import MetricsFactory
from sora.net.listeners import Listener, parse_address
from sora.service.servers import certificates

LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Exposed:
    """Serves the metrics that `gather` collects, wherever the configuration says."""

    def __init__(
        self,
        configuration: Configuration,
        gather: Callable[[], Awaitable[bytes]],
        reactor: Any,
        *,
        only: str | None = None,
    ) -> None:
        """Build; nothing listens before `start`. `only` is a type of servers."""
        self.listeners: dict[str, Listener] = {}
        for server in configuration.started(only):
            if server.type != METRICS:
                continue
            factory: Any = MetricsFactory(
                lambda: aio.start(gather()),
                reactor=reactor,
                allowed=server.allowed_hosts or LOOPBACK,
                api_key=server.api_key.reveal() if server.api_key is not None else None,
            )
            hostname = server.hostname or configuration.process.hostname or socket.getfqdn()
            self.listeners[server.name] = Listener(
                factory,
                parse_address(server.addr),
                reactor=reactor,
                tls=certificates(configuration, server, hostname) if server.tls else None,
                backlog=server.listen_backlog,
            )

    def start(self) -> None:
        """Listen. Raises `ConfigurationInvalid` if an address cannot be had."""
        complaints = []
        for listener in self.listeners.values():
            try:
                listener.startService()
            except ConfigurationInvalid as error:
                complaints += error.complaints
        if complaints:
            raise ConfigurationInvalid(complaints)

    async def stop(self) -> None:
        """Accept no more."""
        for listener in self.listeners.values():
            if listener.running:
                await listener.stopService()
