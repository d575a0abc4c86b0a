"""What an IMAP connection works with: built once by `service/build`, shared by all connections of a server."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from sora.auth.login import Authenticator
from sora.core import limits
from sora.core.ids import AccountId
from sora.front.imap.filters import Filter
from sora.mail.append import Appender
from sora.mail.change import Changer
from sora.mail.live import Live
from sora.mail.mailboxes import MailboxUseCases
from sora.mail.metadata import MetadataUseCases
from sora.mail.quota import QuotaUseCases, QuotaWatch
from sora.mail.read import MessageReader
from sora.mail.search import Searcher
from sora.mail.search_order import Orders
from sora.mail.sharing import Sharing
from sora.net.tls import Certificates
from sora.net.wheel import Wheel

if TYPE_CHECKING:
    from sora.front.imap.session import ImapProtocol

IDLE_TIMEOUT: Final = 1_860.0
"""Seconds of silence until a signed-in client is logged out; RFC 3501 5.4 asks for 30 minutes at least."""


@attrs.define
class ImapServices:
    """Use cases and settings of one IMAP server."""

    authenticator: Authenticator
    mailboxes: MailboxUseCases
    live: Live
    reader: MessageReader
    changer: Changer
    searcher: Searcher
    orders: Orders
    appender: Appender
    quotas: QuotaUseCases
    sharing: Sharing
    metadata: MetadataUseCases
    watch: QuotaWatch
    wheel: Wheel
    permits_plaintext: Callable[[bool, str], bool]
    """Whether a password may be sent, given TLS and the peer's address."""
    certificates: Certificates | None = None
    """For STARTTLS; None: it is not offered."""
    hidden: frozenset[bytes] = frozenset()
    """Capabilities hidden from everyone, in capitals."""
    filters: Sequence[Filter] = ()
    """Capabilities hidden from certain clients."""
    overhears: bool = False
    """Whether TLS is such that the ClientHello can be had before the handshake, and some filter asks for it."""
    wake_uploader: Callable[[], None] = lambda: None
    append_max: int = limits.MESSAGE_MAX
    idle_timeout: float = IDLE_TIMEOUT
    connections_max: int = 20_000
    connections_per_ip_max: int | None = None
    """None: no limit of its own."""
    connections_per_user_max: int = limits.USER_CONNECTIONS_MAX
    session_memory: int = limits.SESSION_MEMORY
    command_timeout: float = limits.COMMAND_TIME_MAX
    greeting: str = "ready"
    identity: tuple[tuple[str, str | None], ...] = (("name", "sora"),)
    sessions: "set[ImapProtocol]" = attrs.field(factory=set)
    users: dict[AccountId, int] = attrs.field(factory=dict)
    """How many connections each account has that is signed in."""

    def crowded(self, peer: str) -> str | None:
        """Return why one more connection from `peer` is refused, or None."""
        if len(self.sessions) >= self.connections_max:
            return "too many connections"
        limit = self.connections_per_ip_max
        if limit is not None and peer and sum(session.peer == peer for session in self.sessions) >= limit:
            return "too many connections from your address"
        return None

    def enter(self, account: AccountId) -> bool:
        """Count one more connection of an account; False if it has too many already."""
        count = self.users.get(account, 0)
        if count >= self.connections_per_user_max:
            return False
        self.users[account] = count + 1
        return True

    def leave(self, account: AccountId) -> None:
        """Count one connection of an account less."""
        self.users[account] -= 1
        if not self.users[account]:
            del self.users[account]

    def left(self, session: "ImapProtocol") -> None:
        """A connection has ended."""
        self.sessions.discard(session)
