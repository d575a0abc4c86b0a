"""The octets of new messages: literals, and with CATENATE parts of stored messages (RFC 4469, RFC 6855 4)."""

from collections.abc import Sequence

from sora.core.errors import MessageTooLarge, NoSuchMailbox
from sora.front.imap.fetch import Source, cut, wants
from sora.front.imap.session import ImapProtocol, Refusal
from sora.imap import responses, url
from sora.imap.commands import MessageUrl, NewText
from sora.mail.append import NewMail


async def mails(session: ImapProtocol, messages: Sequence[NewText]) -> list[NewMail]:
    """Put the parts of messages together.

    Raises `Refusal` for a URL that leads nowhere, for an empty message (RFC 3502) and for UTF8 before it is
    enabled, `MessageTooLarge`, and what reading can raise.
    """
    found: list[NewMail] = []
    room = max(session.services.append_max, session.services.session_memory)
    for message in messages:
        if message.utf8 and not session.utf8:
            raise Refusal("ENABLE UTF8=ACCEPT comes first", b"CANNOT")
        raw = await _octets(session, message, min(room, session.services.append_max))
        if not raw:
            raise Refusal("an empty message cancels the command")
        room -= len(raw)
        found.append(NewMail(raw, flags=message.flags, keywords=message.keywords, internal_date=message.internal_date))
    return found


async def _octets(session: ImapProtocol, message: NewText, octets_max: int) -> bytes:
    if len(message.parts) == 1 and isinstance(message.parts[0], bytes):
        pieces: list[bytes] = [message.parts[0]]
    else:
        pieces = []
        held = 0
        for part in message.parts:
            pieces.append(await _read(session, part.text) if isinstance(part, MessageUrl) else part)
            held += len(pieces[-1])
            if held > octets_max:
                break
    if sum(map(len, pieces)) > octets_max:
        raise MessageTooLarge("the message would be too large")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _read(session: ImapProtocol, text: bytes) -> bytes:
    """Read what a URL names; \\Seen stays as it is (RFC 4469 3)."""
    place = url.parse(text)
    if place is None:
        raise _bad(text, "no URL of a message of this account")
    try:
        row = await session.services.mailboxes.find(session.signed_in.account, place.mailbox)
    except NoSuchMailbox:
        raise _bad(text, "there is no such mailbox") from None
    if place.uid_validity not in (None, row.uid_validity):
        raise _bad(text, "the mailbox has another UIDVALIDITY")
    want = wants(place.section)
    async for page in session.services.reader.pages(row.id, [place.uid], want):
        for message in page:
            data = Source(message.row, message.data).section(place.section)
            if data is None:
                raise _bad(text, "the message has no such part")
            return cut(data, place.partial) or b""
    raise _bad(text, "there is no such message")


def _bad(text: bytes, why: str) -> Refusal:
    shown = bytes(octet for octet in text[: responses.QUOTED_MAX] if 0x20 < octet < 0x7F and octet not in b'"\\]')
    return Refusal(why, b'BADURL "%b"' % shown)
