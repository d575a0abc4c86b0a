"""What an IMAP connection knows of who connects: the layers below, the client's name, what is hidden from it."""

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sora.front.imap.filters import Client
from sora.front.imap.services import ImapServices
from sora.imap import framer
from sora.net.conversation import Conversation
from sora.wire import client_hello


@attrs.frozen
class Wake:
    """Something happened to the selected mailbox, or to the server: look at it."""


Incoming = framer.Event | Wake


class Peer(Conversation[Incoming]):
    """A connection before anything is said on it."""

    __slots__ = (
        "_heard",
        "client",
        "framer",
        "hidden",
        "in_tls",
        "peer",
        "services",
    )

    log = Logger()

    def __init__(self, services: ImapServices, *, secure: bool, peer: str) -> None:
        """Serve who comes from an address, in TLS from the first octet if `secure`."""
        super().__init__(services.wheel)
        self.services = services
        self.in_tls = secure
        self.peer = peer
        self.hidden = services.hidden
        """Capabilities, in capitals, that this client is not to see or use."""
        self.framer = self.new_framer()
        self.client = Client()
        """What it says it is, and what its TLS says."""
        self._heard: Deferred[None] | None = None

    @property
    def plaintext(self) -> bool:
        """Whether a password may be sent on this connection."""
        return self.services.permits_plaintext(self.in_tls, self.peer)

    @property
    def starttls(self) -> bool:
        """Whether TLS can be begun on this connection."""
        return self.services.certificates is not None and not (self.in_tls or self.compressing)

    def new_framer(self) -> framer.Framer:
        """Return what reads the client's octets from the beginning."""
        plus = b"LITERAL+" not in self.hidden
        return framer.Framer(
            append_max=self.services.append_max,
            together_max=self.services.session_memory,
            any_size_unasked=plus,
        )

    def recognize(self, client: Client) -> bool:
        """Remember what the client is, and hide from it what the operator wants; tells whether that is news."""
        self.client = client
        hidden = self.services.hidden
        for one in self.services.filters:
            if one.fits(client):
                hidden |= one.hidden
                if not one.hidden <= self.hidden:
                    names = b" ".join(sorted(one.hidden)).decode("ascii")
                    self.log.info(
                        "{caps} is hidden from {client}: {reason}", caps=names, client=client, reason=one.reason
                    )
        news, self.hidden = hidden != self.hidden, hidden
        self.framer.any_size_unasked = b"LITERAL+" not in hidden
        return news

    @property
    def overhears(self) -> bool:
        """Whether `overhear` wants to be given the ClientHello; the transport asks."""
        return self.services.overhears

    def overhear(self, data: bytes) -> bool:
        """Look at the first octets of TLS, none if they are given up; tells whether no more are wanted."""
        try:
            hello = client_hello.read(data)
        except ValueError:
            hello = None
        else:
            if hello is None and data:
                return False
        if hello is not None:
            self.recognize(attrs.evolve(self.client, ja4=hello.ja4))
        if self._heard is not None:
            heard, self._heard = self._heard, None
            heard.callback(None)
        return True

    async def introduced(self) -> None:
        """Wait for what decides what the greeting shows."""
        if self.in_tls and self.overhears:
            self._heard = Deferred()
            await self._heard
