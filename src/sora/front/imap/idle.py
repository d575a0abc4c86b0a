"""Waiting for news: IDLE (RFC 2177). Nothing is polled; the change feed wakes the session."""

from sora.front.imap.peer import Wake
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, framer, responses
from sora.imap.view import Expunges


@handles(commands.Idle)
async def idle(session: ImapProtocol, command: commands.Idle) -> Done:
    """Announce changes until the client says DONE."""
    session.send(responses.continuation("idling"))
    session.follow(session.framer.expect_line())
    session.idling = True
    session.expire_in(session.services.idle_timeout)
    try:
        await session.announce_paced(Expunges.ALLOWED)
        while not session.leaving:
            event = await session.receive()
            if isinstance(event, Wake):
                await session.tell_news()
            elif isinstance(event, framer.Line):
                if event.data.strip().upper() == b"DONE":
                    return Done("IDLE completed")
                raise Refusal("IDLE ends with DONE", bad=True)
            elif isinstance(event, framer.Refused | framer.Fatal):
                raise Refusal("IDLE ends with DONE", bad=True)
    finally:
        session.idling = False
    return Done("IDLE ended")
