"""The commands of every state: CAPABILITY, NOOP, LOGOUT, ID (RFC 3501 6.1, RFC 2971)."""

import attrs

from sora.front.imap import filters
from sora.front.imap.session import Done, ImapProtocol, handles
from sora.imap import commands, responses


@handles(commands.Capability)
async def capability(session: ImapProtocol, command: commands.Capability) -> Done:
    """List what the present state allows."""
    session.send(responses.capability(session.capabilities))
    return Done("CAPABILITY completed")


@handles(commands.Noop)
@handles(commands.Check)
async def noop(session: ImapProtocol, command: commands.Noop | commands.Check) -> Done:
    """Make sure that what was committed before is announced; sora has nothing else to check."""
    if session.selected is not None:
        await session.selected.mailbox.refresh()
    return Done("completed")


@handles(commands.Logout)
async def logout(session: ImapProtocol, command: commands.Logout) -> Done:
    """Leave; messages marked \\Deleted stay."""
    session.unselect()
    session.goodbye("see you soon")
    return Done("LOGOUT completed")


@handles(commands.Id)
async def identify(session: ImapProtocol, command: commands.Id) -> Done:
    """Exchange names of programs; what the client calls itself is logged, and decides what is hidden from it."""
    session.send(responses.identification(session.services.identity))
    if not command.fields:
        return Done("ID completed")
    session.log.info("the client is {client}", client=filters.described(command.fields))
    known = {key.lower(): value or "" for key, value in command.fields}
    client = attrs.evolve(session.client, name=known.get("name", ""), version=known.get("version", ""))
    news = session.recognize(client)
    return Done("ID completed", b"CAPABILITY " + session.capabilities if news else b"")
