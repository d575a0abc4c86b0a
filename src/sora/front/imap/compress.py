"""Compressed connections: COMPRESS=DEFLATE (RFC 4978)."""

from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap.session_commands import Compress


@handles(Compress)
async def compress(session: ImapProtocol, command: Compress) -> Done:
    """Compress what follows the answer, in both directions."""
    if command.mechanism != "DEFLATE":
        raise Refusal("the only mechanism is DEFLATE", bad=True)
    if session.compressing:
        raise Refusal("DEFLATE is active already", b"COMPRESSIONACTIVE")
    if session.framer.ahead:
        raise Refusal("nothing may follow COMPRESS before its answer", b"CLIENTBUG", bad=True)
    return Done("DEFLATE active", then=session.compress)
