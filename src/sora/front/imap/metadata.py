"""Annotations: GETMETADATA, SETMETADATA, and LIST that returns them (RFC 5464, RFC 9590)."""

from typing import cast

from sora.core import limits
from sora.front.imap.mailboxes import Write, returns
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, list_parse, metadata_parse, responses
from sora.imap.metadata_parse import GetMetadata, SetMetadata
from sora.mail.metadata import EntryInvalid, ValueTooLong, entry_name
from sora.store.annotations import Depth
from sora.store.model import Listing, MailboxRow

list_parse.ARGUMENTS[commands.Return.METADATA] = metadata_parse.entries


def _names(entries: tuple[str, ...]) -> list[str]:
    try:
        return list(dict.fromkeys(entry_name(entry) for entry in entries))
    except EntryInvalid as error:
        raise Refusal(str(error), bad=True) from None


@handles(GetMetadata)
async def get_metadata(session: ImapProtocol, command: GetMetadata) -> Done:
    """Read annotations; entries that were named and have no value are NIL."""
    names, depth = _names(command.entries), Depth(command.depth)
    found = await session.services.metadata.read(session.signed_in.account, command.mailbox, names, depth)
    shown: dict[str, bytes | None] = dict(found)
    if depth is Depth.NOTHING or not found:
        shown = {name: found.get(name) for name in names}
    too_long = 0
    if command.size_max is not None:
        sizes = [len(value) for value in found.values()]
        too_long = max((size for size in sizes if size > command.size_max), default=0)
        shown = {name: value for name, value in shown.items() if value is None or len(value) <= command.size_max}
    if shown:
        session.send(metadata_parse.metadata(responses.mailbox(command.mailbox, utf8=session.utf8), shown))
    return Done("GETMETADATA completed", b"METADATA LONGENTRIES %d" % too_long if too_long else b"")


@handles(SetMetadata)
async def set_metadata(session: ImapProtocol, command: SetMetadata) -> Done:
    """Set annotations, all or none."""
    names = _names(tuple(entry for entry, _ in command.values))
    if len(names) < len(command.values):
        raise Refusal("an entry is named twice", bad=True)
    values = dict(zip(names, (value for _, value in command.values), strict=True))
    try:
        await session.services.metadata.write(session.signed_in.account, command.mailbox, values)
    except EntryInvalid as error:
        raise Refusal(str(error), bad=True) from None
    except ValueTooLong as error:
        raise Refusal(str(error), b"METADATA MAXSIZE %d" % limits.METADATA_VALUE_MAX) from None
    return Done("SETMETADATA completed")


@returns(commands.Return.METADATA)
async def list_metadata(session: ImapProtocol, command: commands.ListMailboxes, everything: Listing) -> Write:
    """Answer LIST's METADATA for all mailboxes from one query (RFC 9590)."""
    names = _names(cast("tuple[str, ...]", command.arguments[commands.Return.METADATA]))
    found = await session.services.metadata.read_many(session.signed_in.account, everything.mailboxes, names)

    def write(row: MailboxRow) -> bytes:
        values = found.get(row.id, {})
        mailbox = responses.mailbox(row.name, utf8=session.utf8)
        return metadata_parse.metadata(mailbox, [(name, values.get(name)) for name in names])

    return write
