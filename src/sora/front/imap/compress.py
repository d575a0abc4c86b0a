"""Compressed connections: COMPRESS=DEFLATE (RFC 4978)."""

from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap.session_commands import Compress


@handles(Compress)
async def compress(session: ImapProtocol, command: Compress) -> Done:
    """Compress what follows the answer, in both directions."""
    if command.mechanism != "DEFLATE":
        raise Refusal("the only mechanism is DEFLATE", bad=True)
    if session.compressing:
        # NO is for a layer below that compresses (RFC 4978 3).
        raise Refusal("DEFLATE is active already", b"COMPRESSIONACTIVE", bad=True)
    if session.framer.ahead:
        raise Refusal("nothing may follow COMPRESS before its answer", b"CLIENTBUG", bad=True)
    return Done("DEFLATE active", then=session.compress)
