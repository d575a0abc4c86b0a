"""The only place for what it takes to reach a database: where, as whom, and how long to wait."""

import attrs


@attrs.frozen(kw_only=True)
class DatabaseSettings:
    """How to reach one PostgreSQL; several hosts are one database with its standbys (the writable one is used)."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    """Host names, addresses, or directories (starting with "/") that hold a unix socket; tried in this order."""
    port: int = 5432
    user: str = "sora"
    password: str | None = attrs.field(default=None, repr=False)
    name: str = "sora"
    """The database."""
    socket_dir: str | None = None
    """A directory with a unix socket, used instead of `hosts`."""
    writable: bool = True
    """Whether only a server that takes writes will do; False for the read endpoint."""
    sslmode: str = "prefer"
    """As libpq's: disable, allow, prefer, require, verify-ca, verify-full."""
    sslrootcert: str | None = None
    pool_min: int = 2
    """Connections kept open."""
    pool_max: int = 8
    """Connections at most; the LISTEN connection comes on top."""
    pool_wait_max: float = 10.0
    """Seconds a request waits for a connection until it fails with `Busy`."""
    pool_queue_max: int = 10_000
    """Requests waiting at once; more fail with `Busy` at once."""
    idle_timeout: float = 300.0
    """Seconds until an unused connection above `pool_min` is closed."""
    connect_timeout: float = 5.0
    statement_timeout: float = 60.0
    lock_timeout: float = 10.0
    silence_max: float | None = None
    """Seconds until a server that has not answered a statement is given up, because it cannot even cancel it: its
    host hangs, or its process was stopped. None: ten more than `statement_timeout`."""

    @property
    def silence(self) -> float:
        """Seconds that an answer may take at most."""
        return self.statement_timeout + 10.0 if self.silence_max is None else self.silence_max

    @property
    def places(self) -> tuple[str, ...]:
        """Where to look for a server, in order."""
        return (self.socket_dir,) if self.socket_dir is not None else self.hosts
