"""LMTP connections on Twisted: the core's steps carried out, its recipients found, its messages delivered.

A delivery runs in a Deferred of its own: a peer that goes away in the middle cancels nothing, since the
commit may already have begun and its sender will try again (which the suppression window makes harmless).
"""

import secrets
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from sora.aio import Once, start
from sora.core import limits
from sora.core.errors import SoraError
from sora.lmtp.codes import reply, reply_for
from sora.lmtp.core import BeginTls, Core, Deliver, Resolve, Say
from sora.lmtp.framer import Event, Line
from sora.mail.deliver import Envelope, Outcome, Target
from sora.net.conversation import Conversation
from sora.net.listeners import peer_ip
from sora.net.tls import Certificates
from sora.net.wheel import Wheel
from sora.observe import log as context
from sora.observe import metrics

IDLE_TIMEOUT: Final = 300.0
"""Seconds a peer may take for its next octet (RFC 5321 4.5.3.2.7)."""
CONNECTIONS_MAX: Final = 1_000
STOP_GRACE: Final = 10.0
"""Seconds a peer has to finish sending its message when the server stops, and to take the last answer."""

Network = IPv4Network | IPv6Network
PRIVATE_NETWORKS: Final[tuple[Network, ...]] = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""Who may deliver if the configuration names nobody: loopback, RFC 1918, and IPv6 unique local addresses."""

_STOPPING: Final = reply(421, "4.3.2", "shutting down")
_IDLE: Final = reply(421, "4.4.2", "idle for too long")
_CROWDED: Final = reply(421, "4.3.2", "too many connections")
_CROWDED_ADDRESS: Final = reply(421, "4.7.0", "too many connections from your address")
_BEHIND: Final = reply(501, "5.5.1", "nothing may follow STARTTLS before its answer")
_STRANGER: Final = reply(554, "5.7.1", "you may not deliver here")
_BROKEN: Final = reply(421, "4.3.0", "internal error")


class Deliveries(Protocol):
    """What LMTP asks of `mail.deliver.Deliverer`."""

    async def resolve(self, written: Sequence[str]) -> list[Target | SoraError]:
        """Find recipients."""

    async def deliver(self, envelope: Envelope, targets: Sequence[Target], raw: bytes) -> list[Outcome]:
        """Store a message for each."""


@attrs.define
class Room:
    """Octets of messages in memory, over all connections: being received, or being stored."""

    octets_max: int = limits.LMTP_TRANSACTION_OCTETS_MAX
    octets: int = 0

    def change(self, difference: int) -> bool:
        """Count a change; tells whether there is still room."""
        self.octets += difference
        return self.octets <= self.octets_max


@attrs.frozen
class LmtpServices:
    """What the LMTP connections of one server share."""

    deliveries: Deliveries
    hostname: str
    wheel: Wheel
    room: Room = attrs.field(factory=Room)
    trusted_networks: Sequence[Network] = PRIVATE_NETWORKS
    connections_max: int = CONNECTIONS_MAX
    connections_per_ip_max: int | None = None
    """None: no limit of its own."""
    idle_timeout: float = IDLE_TIMEOUT
    certificates: Certificates | None = None
    """For STARTTLS; None: it is not offered."""
    message_max: int = limits.MESSAGE_MAX
    recipients_max: int = limits.LMTP_RECIPIENTS_MAX


class LmtpProtocol(Conversation[Event]):
    """One LMTP connection."""

    def __init__(self, services: LmtpServices, factory: "LmtpFactory") -> None:
        super().__init__(services.wheel)
        self._services = services
        self._factory = factory
        self._core = self._new_core(starttls=services.certificates is not None)
        self._charged = 0
        self._delivering = 0
        self._stopping = False
        self.peer = ""
        self._secure = False

    # ------------------------------------------------------------ what the conversation calls

    def feed(self, data: bytes) -> list[Event]:
        if not self._stopping:
            self.expire_in(self._services.idle_timeout)
        events = self._core.feed(data)
        self._charge()
        return events

    async def converse(self) -> None:
        context.session.set(secrets.token_hex(6))
        context.protocol.set("lmtp")
        refusal = self._admit()
        (metrics.ACCEPTED_LMTP if refusal is None else metrics.TURNED_AWAY_LMTP).inc()
        if refusal is not None:
            self.send(refusal)
            return
        self.expire_in(self._services.idle_timeout)
        self.send(self._core.greeting())
        while not (self._stopping and self._core.idle and not self.pending):
            event = await self.receive()
            if not await self._take(event):
                return
        self.send(_STOPPING)

    def expire(self) -> None:
        if self._delivering:
            self.expire_in(STOP_GRACE)
        elif self.closing:
            self.abort()
        else:
            self.send(_STOPPING if self._stopping else _IDLE)
            self.close()
            self.expire_in(STOP_GRACE)

    def broke(self, failure: Failure) -> None:
        self.send(_BROKEN)

    def ended(self) -> None:
        self._services.room.change(self._delivering - self._charged)
        self._charged = self._delivering
        self._factory.ended(self)

    def stop(self) -> None:
        """Say goodbye, at once or when the transaction that has begun is answered."""
        self._stopping = True
        if self._core.idle and not self.pending and not self._delivering:
            self.send(_STOPPING)
            self.close()
        self.expire_in(STOP_GRACE)

    # ------------------------------------------------------------ inside

    def _admit(self) -> bytes | None:
        address: IAddress = self.transport.getPeer()
        peer = peer_ip(address)
        self.peer = str(peer) if peer is not None else ""
        self._secure = hasattr(self.transport, "getPeerCertificate")
        if peer is not None and not any(peer in network for network in self._services.trusted_networks):
            return _STRANGER
        if self._factory.count > self._services.connections_max:
            return _CROWDED
        limit = self._services.connections_per_ip_max
        if limit is not None and peer is not None and self._factory.count_of(self.peer) > limit:
            return _CROWDED_ADDRESS
        return None

    def _new_core(self, *, starttls: bool) -> Core[Target]:
        services = self._services
        return Core(
            services.hostname,
            message_max=services.message_max,
            recipients_max=services.recipients_max,
            starttls=starttls,
        )

    def _begin_tls(self, step: BeginTls) -> bool:
        """Begin TLS and forget what was said (RFC 3207 4.2); tells whether the conversation goes on."""
        certificates = self._services.certificates
        if certificates is None or self.pending or self._core.held:
            self.log.warn("octets came behind STARTTLS: the connection is closed")
            self.send(_BEHIND)
            return False
        self.send(step.data)
        self.secure(certificates)
        self._core = self._new_core(starttls=False)
        self._secure = True
        return True

    async def _take(self, event: Event) -> bool:
        """Do what one event asks for; tells whether the conversation goes on."""
        step = self._core.take(event)
        if isinstance(step, Say):
            self.send(step.data)
            if step.close:
                return False
        elif isinstance(step, BeginTls):
            return self._begin_tls(step)
        elif isinstance(step, Resolve):
            if not await self._recipients(step):
                return False
        else:
            await self._deliver(step)
        if isinstance(event, Line) and event.text[:4].upper() == b"DATA":
            self.dataReceived(b"")
        return True

    async def _recipients(self, first: Resolve) -> bool:
        """Find the recipient of this RCPT together with those of the RCPTs that already wait behind it."""
        steps: list[Say | Resolve] = [first]
        while (event := self.next_waiting()) is not None and isinstance(event, Line) and _is_rcpt(event):
            step = self._core.take(await self.receive())
            if isinstance(step, Deliver | BeginTls):
                raise TypeError("a RCPT line is something else")
            steps.append(step)
            if isinstance(step, Say) and step.close:
                break
        addresses = [step.address for step in steps if isinstance(step, Resolve)]
        found = iter(await self._services.deliveries.resolve(addresses))
        for step in steps:
            if isinstance(step, Say):
                self.send(step.data)
                if step.close:
                    return False
                continue
            target = next(found)
            if isinstance(target, Target):
                self.send(self._core.accept(target, step.address))
            else:
                self.send(self._core.refuse(target))
        return True

    async def _deliver(self, step: Deliver[Target]) -> None:
        envelope = Envelope(step.mail.sender, self._core.lhlo or "unknown", self.peer, self._with(step))
        size = len(step.data)
        self._delivering += size
        self._charge()
        self.flush()
        answers: list[Outcome] = await self._factory.deliver(self, envelope, step.recipients, step.data)
        self.expire_in(STOP_GRACE if self._stopping else self._services.idle_timeout)
        self._report(step, answers)
        for target, answer in zip(step.recipients, answers, strict=True):
            _count(answer)
            self.send(_answer(target, answer))

    def _report(self, step: Deliver[Target], answers: Sequence[Outcome]) -> None:
        if context.form.level > LogLevel.info:
            return
        pairs = zip(step.recipients, answers, strict=True)
        to = ", ".join(f"{target.full}: {_summary(answer)}" for target, answer in pairs)
        self.log.info(
            "message from <{sender}>, {size} octets: {to}", sender=step.mail.sender, size=len(step.data), to=to
        )

    def delivered(self, size: int) -> None:
        """A message of `size` octets is no longer in memory."""
        self._delivering -= size
        if self.lost:
            self._services.room.change(-size)
            self._charged -= size
        else:
            self._charge()

    def _with(self, step: Deliver[Target]) -> str:
        return f"{'UTF8' if step.mail.utf8 else ''}LMTP{'S' if self._secure else ''}"

    def _charge(self) -> None:
        """Account for the octets this connection holds; a message for which there is no room is dropped."""
        held = self._core.held + self._delivering
        if held == self._charged:
            return
        room = self._services.room
        fits = room.change(held - self._charged)
        self._charged = held
        if not fits and held > self._delivering:
            self._core.drop()
            held = self._core.held + self._delivering
            room.change(held - self._charged)
            self._charged = held


def _is_rcpt(line: Line) -> bool:
    return line.text[:5].upper() == b"RCPT "


def _summary(outcome: Outcome) -> str:
    if isinstance(outcome, SoraError):
        return f"{type(outcome).__name__} {outcome}"
    return f"{'duplicate of' if outcome.duplicate else 'uid'} {outcome.uid}"


def _count(outcome: Outcome) -> None:
    if isinstance(outcome, SoraError):
        (metrics.DELIVERY_DEFERRED if outcome.temporary else metrics.DELIVERY_REFUSED).inc()
    else:
        (metrics.DELIVERY_DUPLICATE if outcome.duplicate else metrics.DELIVERY_STORED).inc()


def _answer(target: Target, outcome: Outcome) -> bytes:
    if isinstance(outcome, SoraError):
        return reply_for(outcome)
    return reply(250, "2.1.5", f"<{target.written}> {'was stored before' if outcome.duplicate else 'stored'}")


class LmtpFactory(Factory):
    """The LMTP connections of one server."""

    noisy = False

    def __init__(self, services: LmtpServices) -> None:
        self._services = services
        self._connections: set[LmtpProtocol] = set()
        self._deliveries = 0
        self._stopping = False
        self._drained: Once[None] | None = None

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def count_of(self, peer: str) -> int:
        """Connections that are open from one address."""
        return sum(connection.peer == peer for connection in self._connections)

    def buildProtocol(self, addr: IAddress | None) -> LmtpProtocol:
        connection = LmtpProtocol(self._services, self)
        self._connections.add(connection)
        return connection

    def ended(self, connection: LmtpProtocol) -> None:
        """Forget a connection; its protocol calls this."""
        self._connections.discard(connection)
        self._check_drained()

    def deliver(
        self, connection: LmtpProtocol, envelope: Envelope, targets: Sequence[Target], data: bytes
    ) -> "Deferred[list[Outcome]]":
        """Deliver, whatever becomes of the connection; cancelling the answer does not cancel the work."""
        once: Once[list[Outcome]] = Once()
        size = len(data)
        self._deliveries += 1

        def finished(result: Any) -> Any:
            self._deliveries -= 1
            connection.delivered(size)
            self._check_drained()
            return result

        work = start(self._services.deliveries.deliver(envelope, targets, data))
        work.addBoth(finished)
        work.addCallbacks(once.fire, once.fail)
        return once.wait()

    def drain(self) -> "Deferred[None]":
        """Say 421 to idle peers, let transactions end, and fire when all connections and deliveries are gone."""
        if self._drained is None:
            self._drained = Once()
        self._stopping = True
        for connection in list(self._connections):
            connection.stop()
        self._check_drained()
        return self._drained.wait()

    def _check_drained(self) -> None:
        if self._drained is not None and not self._drained.done and not self._connections and not self._deliveries:
            self._drained.fire(None)
