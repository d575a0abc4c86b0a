"""Makes an `ImapProtocol` for each connection, counts them, and ends them when the server stops."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from sora.front.imap import (
    acl,
    any_state,
    append,
    compress,
    copy,
    fetch,
    idle,
    language,
    mailboxes,
    metadata,
    multisearch,
    notify,
    quota,
    replace,
    search,
    select,
    sign_in,
    sort,
    starttls,
    status,
    store,
)
from sora.front.imap.services import ImapServices
from sora.front.imap.session import ImapProtocol
from sora.net.listeners import peer_ip
from sora.observe import metrics

FAMILIES = (
    acl,
    any_state,
    append,
    compress,
    copy,
    fetch,
    idle,
    language,
    mailboxes,
    metadata,
    multisearch,
    notify,
    quota,
    replace,
    search,
    select,
    sign_in,
    sort,
    starttls,
    status,
    store,
)
"""Importing them registers their commands."""


class ImapFactory(Factory):
    """The connections of one IMAP listener."""

    noisy = False

    def __init__(self, services: ImapServices, *, secure: bool) -> None:
        self.services = services
        self.secure = secure
        self._drained: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> ImapProtocol:
        peer = str(peer_ip(addr) or "") if addr is not None else ""
        refusal = self.services.crowded(peer)
        (metrics.ACCEPTED_IMAP if refusal is None else metrics.TURNED_AWAY_IMAP).inc()
        session = ImapProtocol(self.services, secure=self.secure, peer=peer, refusal=refusal)
        if refusal is None:
            self.services.sessions.add(session)
        return session

    def drain(self) -> "Deferred[None]":
        """Say BYE to everyone; fires when all connections have ended."""
        done: Deferred[None] = Deferred()
        waiting = set(self.services.sessions)

        def ended(session: ImapProtocol) -> None:
            waiting.discard(session)
            if not waiting and not done.called:
                done.callback(None)

        for session in list(waiting):
            session.on_end(ended)
            session.stop()
        if not waiting and not done.called:
            done.callback(None)
        return done
