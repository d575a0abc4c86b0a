"""TLS on a connection that began without: STARTTLS (RFC 3501 6.2.1). Nothing received before it survives it."""

from sora.front.imap.filters import Client
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands


@handles(commands.StartTls)
async def start_tls(session: ImapProtocol, command: commands.StartTls) -> Done:
    """Begin TLS; who sends anything behind the command, which nobody honest does, is cut off (CVE-2011-0411)."""
    if not session.starttls:
        raise Refusal("STARTTLS is not offered here", bad=True)
    if session.framer.ahead or session.pending:
        session.log.warn("octets came behind STARTTLS: the connection is closed")
        session.leaving = True
        raise Refusal("nothing may follow STARTTLS before its answer", b"CLIENTBUG", bad=True)
    return Done("begin TLS now", then=lambda: _begin(session))


def _begin(session: ImapProtocol) -> None:
    """Begin TLS, as a new connection in all but its deadline (RFC 3501 6.2.1)."""
    if session.services.certificates is not None:
        session.hidden, session.client = session.services.hidden, Client()
        session.framer = session.new_framer()
        session.enabled.clear()
        session.secure(session.services.certificates)
        session.in_tls = True
