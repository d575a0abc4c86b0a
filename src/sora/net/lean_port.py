"""A listening socket for lean transports: accepts what waits and makes a `net.lean.Connection` of each.

The socket is given, bound and listening already: a fresh one, or one that another process has opened.
"""

# ruff: noqa: N802  Twisted's names

import errno
import os
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, ILoggingContext, IReadDescriptor
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sora.net.lean import Connection, SecureConnection, address_of, wrapped

ACCEPTS: Final = 64
"""Connections accepted in one turn of the reactor, so that those that are open are served in a storm, too."""
REST: Final = 0.5
"""Seconds without accepting after the system had no descriptor or no memory left."""

_NONE_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@implementer(IListeningPort, IReadDescriptor, ILoggingContext)
class LeanPort:
    """One listening socket and the factory of its protocols."""

    log = Logger()

    def __init__(self, listening: socket.socket, factory: Factory, *, reactor: Any, tls: Any = None) -> None:
        """Take over a listening socket; `tls` is a `net.tls.Certificates` for TLS from the first octet."""
        listening.setblocking(False)
        self.socket = listening
        self._factory = factory
        self._reactor = reactor
        self._tls = tls
        self._open = True
        self._spare: int | None = None
        """A descriptor to give up when there are no others, so that who comes can be turned away."""
        self._resting: IDelayedCall | None = None

    def startListening(self) -> None:
        """Start to accept."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._factory.doStart()  # type: ignore[no-untyped-call]
        self._reactor.addReader(self)

    def stopListening(self) -> "Deferred[None]":
        """Accept no more and close the socket."""
        if self._open:
            self._reactor.removeReader(self)
            self.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
        return succeed(None)

    def getHost(self) -> IAddress:
        """Return the address that is listened on."""
        return address_of(self.socket.family, self.socket.getsockname())

    def fileno(self) -> int:
        """Return the descriptor, -1 when closed."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor's own log lines about this port begin with."""
        return type(self._factory).__name__

    def doRead(self) -> None:
        """Accept what waits, up to `ACCEPTS`."""
        for _ in range(ACCEPTS):
            if not self._open:
                return
            try:
                accepted, peer = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NONE_LEFT:
                    self._turn_away(error)
                    return
                # The peer has gone before it was accepted, or a packet filter refused it: look at the next one.
                continue
            try:
                self._connect(accepted, peer)
            except OSError:
                # The peer has gone already, which TLS is the first to notice.
                accepted.close()
            except Exception:  # noqa: BLE001  the boundary: one connection's failure is not the port's
                self.log.failure("a connection could not be taken")

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket; called by the reactor when it ends."""
        if not self._open:
            return
        self._open = False
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self.socket.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        self._factory.doStop()  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------ inside

    def _connect(self, accepted: socket.socket, peer: Any) -> None:
        if self._tls is not None:
            # First of all: what the factory counts must be a connection that ends one day.
            accepted = wrapped(accepted, self._tls.ssl_context())
        protocol: Any = self._factory.buildProtocol(address_of(accepted.family, peer))
        if protocol is None:
            accepted.close()
            return
        kind = Connection if self._tls is None else SecureConnection
        connection = kind(accepted, peer, protocol, self._reactor)
        try:
            connection.begin()
        except Exception:
            connection.connectionLost(Failure())  # type: ignore[no-untyped-call]
            raise

    def _turn_away(self, error: OSError) -> None:
        """Close those who wait, for which one descriptor is kept; if that is no way out, leave them waiting a while."""
        self.log.warn("connections are turned away: {reason}", reason=error.strerror)
        if error.errno == errno.EMFILE and self._spare is not None:
            os.close(self._spare)
            self._spare = None
            try:
                for _ in range(ACCEPTS):
                    self.socket.accept()[0].close()
            except OSError:
                pass
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                pass
            else:
                return
        self._reactor.removeReader(self)
        self._resting = self._reactor.callLater(REST, self._again)

    def _again(self) -> None:
        self._resting = None
        self._reactor.addReader(self)
