"""A connection's transport that writes at once: the lean replacement of Twisted's TCP and TLS server transports.

Twisted's own transport buffers each write and asks the reactor for a turn to send it; this one sends first and
buffers what the socket does not take. It speaks to the reactor through `IReactorFDSet` only (addReader and so on),
so that it runs on any reactor with file descriptors; `net.lean_port` makes it and `docs/design/transport.md` says
what the contract is. TLS is the standard library's `ssl` on the non-blocking socket: no memory buffers between.

What differs from Twisted's: reading is paused lazily (the descriptor leaves the reactor only if something arrives
meanwhile), a closing connection whose producer is paused still closes when all is written, pull producers are not
served, and half-closing is not offered: a peer's FIN ends the connection, as Twisted's does it for each protocol
that does not ask for more.
"""

# ruff: noqa: N802  Twisted's names

import contextlib
import socket
import struct
from collections.abc import Iterable
from errno import ENOBUFS
from ssl import SSLContext, SSLError, SSLSocket, SSLWantReadError, SSLWantWriteError, SSLZeroReturnError
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    ILoggingContext,
    IPushProducer,
    IReadWriteDescriptor,
    ISystemHandle,
    ITransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sora.wire.client_hello import HELLO_MAX

READ_SIZE: Final = 65_536
"""Octets read at once, as Twisted does."""
SEND_SIZE: Final = 131_072
"""Octets offered to the socket at once; at least a TLS record, which must be offered again as a whole."""
FULL: Final = 65_536
"""Octets waiting to be sent from which on the producer is asked to pause."""
RECORD: Final = 16_384
"""The most that one TLS record holds (RFC 8446 5.1)."""
PEEKS: Final = 20
"""Looks at the beginning of TLS until it is given up."""
PEEK_LATER: Final = 0.02
"""Seconds between two of them."""
RECORDS: Final = 4
"""TLS records taken in one turn of the reactor: as much as a read without TLS."""

_CLOSED: Final = Failure(ConnectionDone())  # type: ignore[no-untyped-call]
_LOST: Final = Failure(ConnectionLost())  # type: ignore[no-untyped-call]
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send a reset."""
_WAIT: Final = (BlockingIOError, SSLWantWriteError, SSLWantReadError)


def address_of(family: int, name: Any) -> IAddress:
    """Return Twisted's address for what `getsockname` or `accept` said."""
    if family == socket.AF_UNIX:
        return UNIXAddress(name or None)
    if family == socket.AF_INET6:
        host, port = name[:2]
        if len(name) > 3 and name[3]:
            # The scope of a link-local address is part of it; Python leaves it in the fourth element.
            host = socket.getnameinfo(name, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
        return IPv6Address("TCP", host, port)
    return IPv4Address("TCP", *name)


@implementer(ITransport, ISystemHandle, IConsumer, IPushProducer, IReadWriteDescriptor, ILoggingContext)
class Connection:
    """One accepted connection.

    `connected`, `disconnecting` and `producer` are what Twisted's transports have under these names.
    """

    __slots__ = (
        "_aborted",
        "_handshaking",
        "_head",
        "_later",
        "_offset",
        "_paused",
        "_peeked",
        "_peer",
        "_producer_paused",
        "_reading",
        "_size",
        "_socket",
        "_tail",
        "_upgrade",
        "_writing",
        "connected",
        "disconnecting",
        "producer",
        "protocol",
        "reactor",
    )

    def __init__(self, accepted: socket.socket, peer: Any, protocol: Protocol, reactor: Any) -> None:
        """Take over a connected socket; `peer` is what `accept` said. Nothing is read before `begin`."""
        accepted.setblocking(False)
        self._socket: socket.socket | None = accepted
        self._peer = peer
        self.protocol = protocol
        self.reactor = reactor
        self.connected = True
        self.disconnecting = False
        self.producer: IPushProducer | None = None
        self._producer_paused = False
        self._head: bytes = b""
        self._offset = 0
        """How much of the head was sent."""
        self._tail: list[bytes] | None = None
        self._size = 0
        """Octets that wait to be sent."""
        self._reading = self._writing = self._paused = self._aborted = False
        self._handshaking = False
        """Whether TLS begins, or is about to: nothing can be sent or received yet."""
        self._upgrade: SSLContext | None = None
        """The context for TLS, while older octets still leave in the clear."""
        self._later: list[bytes] | None = None
        """What was written meanwhile."""
        self._peeked = 0
        """How often the protocol was shown the beginning of TLS."""

    def begin(self) -> None:
        """Start to read, and tell the protocol that it is connected."""
        self._reading = True
        self.reactor.addReader(self)
        self.protocol.makeConnection(self)  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------ what a protocol calls

    def write(self, data: bytes) -> None:
        """Send what the socket takes now, and the rest when it takes more."""
        if not isinstance(data, bytes):
            raise TypeError(f"octets are written, not {type(data).__name__}")
        if not self.connected or self._aborted or not data:
            return
        if self._later is not None:
            self._later.append(data)
            return
        if not self._size and not self._handshaking:
            sent = self._transmit(data)
            if sent == len(data):
                return
            # An error is left to the reactor, which finds it in the next turn, outside of the protocol's call.
            if sent > 0:
                data = data[sent:]
        self._queue(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write several pieces as one."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Close when everything written has left; nothing more is read. Never calls the protocol at once."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if not self._size:
                self.reactor.callLater(0, self._finish)

    def abortConnection(self) -> None:
        """Drop what was not sent and reset the connection."""
        if self.connected and not self._aborted:
            self._aborted = True
            self._stop_reading()
            self._stop_writing()
            self.reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))  # type: ignore[no-untyped-call]

    def startTLS(self, certificates: Any) -> None:
        """Go on in TLS, as the server, with the context of a `net.tls.Certificates`.

        What was written before leaves in the clear, what is written after only in TLS. Nothing that the peer sent
        behind its STARTTLS is taken for more than the beginning of a handshake; what the protocol itself still
        holds of it, the protocol must forget (RFC 3501 6.2.1, CVE-2011-0411).
        """
        if self._socket is None or self._aborted:
            return
        if isinstance(self, SecureConnection) or self._handshaking:
            raise RuntimeError("TLS is in use already")
        self._handshaking = True
        self._upgrade = certificates.ssl_context()
        self._later = []
        if not self._size:
            self._secure()

    def getPeer(self) -> IAddress:
        """Return the address of the other end."""
        if self._peer is None or isinstance(self._peer, bytes | str):
            return address_of(socket.AF_UNIX, self._peer)
        return address_of(socket.AF_INET6 if len(self._peer) > 2 else socket.AF_INET, self._peer)

    def getHost(self) -> IAddress:
        """Return the address of our end. Raises `OSError` when the connection is gone."""
        here = self._open()
        return address_of(here.family, here.getsockname())

    def getHandle(self) -> socket.socket:
        """Return the socket. Raises `OSError` when the connection is gone."""
        return self._open()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have a streaming producer pause when too much waits to be sent, and go on when all has left."""
        if self.producer is not None or not streaming:
            raise RuntimeError(f"{producer!r}: one streaming producer at a time")
        if self.connected:
            self.producer = producer
            self._producer_paused = False
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Deliver nothing until `resumeProducing`; the reactor is told only if something arrives meanwhile."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again what arrives."""
        self._paused = False
        if not self._reading and self.connected and not self.disconnecting and not self._aborted:
            self._reading = True
            self.reactor.addReader(self)

    def stopProducing(self) -> None:
        """Close, as `IPushProducer` asks."""
        self.loseConnection()

    # ------------------------------------------------------------ what the reactor calls

    def fileno(self) -> int:
        """Return the descriptor, or -1 when the connection is gone."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """Return what the reactor's own log lines about this connection begin with."""
        return type(self.protocol).__name__

    def doRead(self) -> Any:
        """Read once and deliver it; tells why the connection ended."""
        if self._idle():
            return None
        assert self._socket is not None  # noqa: S101  for the type checker: _idle has looked
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def doWrite(self) -> Any:
        """Send what waits; tells why the connection ended."""
        if self._socket is None or self._aborted:
            return None
        if self._size:
            sent = self._transmit(self._head if not self._offset else memoryview(self._head)[self._offset :])
            if sent < 0:
                return CONNECTION_LOST
            self._offset += sent
            self._size -= sent
            if self._offset == len(self._head):
                self._head = b"".join(self._tail) if self._tail else b""
                self._tail = None
                self._offset = 0
            if self._size:
                return None
        return self._sent()

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket and tell the protocol; called by the reactor, harmless a second time."""
        gone = self._socket
        if gone is None:
            return
        self.connected = False
        self._stop_reading()
        self._stop_writing()
        if self.producer is not None:
            producer, self.producer = self.producer, None
            producer.stopProducing()
        self._socket = None
        self._head, self._tail, self._size, self._upgrade, self._later = b"", None, 0, None, None
        self._close(gone)
        self.protocol.connectionLost(reason)

    # ------------------------------------------------------------ inside

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise OSError("the connection is closed")
        return self._socket

    def _idle(self) -> bool:
        """Whether nothing is to be read now; the reactor watches no longer then."""
        if self._paused or self.disconnecting or self._aborted or self._handshaking or self._socket is None:
            self._stop_reading()
            return True
        return False

    def _transmit(self, data: bytes | memoryview) -> int:
        """Offer octets to the socket; returns how many it took, -1 when the connection is broken."""
        assert self._socket is not None  # noqa: S101  for the type checker: callers have looked
        try:
            return self._socket.send(data if len(data) <= SEND_SIZE else memoryview(data)[:SEND_SIZE])
        except _WAIT:
            return 0
        except OSError as error:
            return 0 if error.errno == ENOBUFS else -1

    def _queue(self, data: bytes) -> None:
        if not self._size:
            self._head, self._offset = data, 0
        elif self._tail is None:
            self._tail = [data]
        else:
            self._tail.append(data)
        self._size += len(data)
        if not self._handshaking:
            self._start_writing()
        if self._size > FULL and self.producer is not None and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def _sent(self) -> Any:
        """Everything has left: begin TLS, let the producer go on, or end."""
        self._stop_writing()
        if self._upgrade is not None:
            self._secure()
            return None
        if self.producer is not None and self._producer_paused:
            self._producer_paused = False
            self.producer.resumeProducing()
        return CONNECTION_DONE if self.disconnecting and not self._size else None

    def _finish(self) -> None:
        if not self._size and not self._aborted:
            self.connectionLost(_CLOSED)

    def _secure(self) -> None:
        """Become a `SecureConnection`, and give it what was to be sent by TLS."""
        context, later, plain = self._upgrade, self._later, self._open()
        assert context is not None and later is not None  # noqa: S101  startTLS has set them
        # The socket's object is replaced by another one, for the same descriptor: the reactor must know the new one.
        self._stop_reading()
        self._stop_writing()
        self.__class__ = SecureConnection
        self._upgrade = self._later = None
        try:
            self._socket = wrapped(plain, context)
        except OSError:
            self._socket = plain
            self.reactor.callLater(0, self.connectionLost, _LOST)
            return
        self._reading = True
        self.reactor.addReader(self)
        for data in later:
            self.write(data)

    def _close(self, gone: socket.socket) -> None:
        if self._aborted:
            with contextlib.suppress(OSError):
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        gone.close()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self.reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.reactor.removeReader(self)


def wrapped(plain: socket.socket, context: SSLContext) -> SSLSocket:
    """Return the server's side of TLS on a connected socket, which it replaces. Raises `OSError` if it is no more."""
    try:
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False)
    except ValueError as error:
        raise OSError(str(error)) from error


class SecureConnection(Connection):
    """One connection in TLS, or on its way there: `startTLS` makes one of a `Connection` by changing its class."""

    __slots__ = ()

    def __init__(self, accepted: socket.socket, peer: Any, protocol: Protocol, reactor: Any) -> None:
        """Take over a socket that `wrapped` returned; its handshake begins with the first octets that come."""
        super().__init__(accepted, peer, protocol, reactor)
        self._handshaking = True

    def getPeerCertificate(self) -> None:
        """Return None: clients are not asked for certificates."""

    def doRead(self) -> Any:
        """Go on with the handshake, or deliver what up to `RECORDS` records hold."""
        if self._handshaking:
            return self._handshake()
        for _ in range(RECORDS):
            if self._idle():
                return None
            try:
                # OpenSSL reads no further than a record, and hands out all of it: nothing is left where epoll
                # does not see it.
                data = self._open().recv(READ_SIZE)
            except (SSLWantReadError, BlockingIOError):
                return None
            except SSLWantWriteError:
                self._start_writing()
                return None
            except SSLZeroReturnError:
                return CONNECTION_DONE
            except OSError:
                return CONNECTION_LOST
            if not data:
                return CONNECTION_DONE
            self.protocol.dataReceived(data)
            if len(data) < RECORD:
                return None
        return None

    def doWrite(self) -> Any:
        """Go on with the handshake, or send what waits."""
        if self._handshaking:
            return self._handshake()
        if not self._size:
            # Reading wanted to write, to answer a change of keys.
            self._stop_writing()
            return self.doRead()
        return super().doWrite()

    def _handshake(self) -> Any:
        if self._socket is None or self._aborted:
            return None
        if self.disconnecting and not self._size:
            return CONNECTION_DONE
        self._stop_writing()
        if self._peeked < PEEKS and getattr(self.protocol, "overhears", False) and not self._overheard():
            return None
        try:
            self._socket.do_handshake()  # type: ignore[attr-defined]
        except SSLWantReadError:
            return None
        except SSLWantWriteError:
            self._start_writing()
            return None
        except SSLError as error:
            return error
        except OSError:
            return CONNECTION_LOST
        self._handshaking = False
        if not self._size:
            return None
        why = super().doWrite()
        if self._size and why is None:
            self._start_writing()
        return why

    def _overheard(self) -> bool:
        """Show the protocol the ClientHello, which stays unread; tells whether the handshake may begin."""
        assert self._socket is not None  # noqa: S101  for the type checker: the caller has looked
        try:
            # Of the plain socket: the one for TLS does not offer it.
            seen = socket.socket.recv(self._socket, HELLO_MAX, socket.MSG_PEEK)
        except OSError:
            return True
        self._peeked += 1
        protocol: Any = self.protocol
        if not seen or protocol.overhear(seen):
            self._peeked = PEEKS
        elif self._peeked < PEEKS:
            # The rest is on its way. What is there already would make the reactor call at once, again and again.
            self._stop_reading()
            self.reactor.callLater(PEEK_LATER, self._look_again)
            return False
        else:
            protocol.overhear(b"")
        return True

    def _look_again(self) -> None:
        if self._socket is not None and not self._aborted and not self._reading:
            self._reading = True
            self.reactor.addReader(self)

    def _close(self, gone: socket.socket) -> None:
        if not self._aborted and not self._handshaking:
            # Sends close_notify; the peer's own need not be waited for (RFC 8446 6.1).
            with contextlib.suppress(OSError, ValueError):
                gone.unwrap()  # type: ignore[attr-defined]
        super()._close(gone)
