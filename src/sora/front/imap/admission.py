"""The only place that says which rights a command needs in the selected mailbox, and looks for them (RFC 4314 4).

One's own mailbox costs nothing. In another's the rights are read before each command, so that what was taken from
someone ends with the next command; who may not read any more loses the mailbox as if it had been deleted.
"""

from typing import TYPE_CHECKING, Final

import attrs

from sora.core.errors import NoSuchMailbox, NotPermitted
from sora.core.flags import Change
from sora.core.rights import ALL, WRITING, Rights, settable
from sora.imap import acl_parse, commands, responses
from sora.mail.sharing import DENIED
from sora.store.model import FlagChange

if TYPE_CHECKING:
    from sora.front.imap.session import ImapProtocol

NEEDS: Final[dict[type, str]] = {
    commands.Expunge: "e",
    commands.Move: "te",
    commands.Replace: "te",
}
"""What a command needs beyond `r`; STORE goes by the flags that it names, CLOSE and FETCH do less without `e` and `s`.

Targets of COPY and MOVE are names: `mail.sharing` looks at them.
"""
_LEAVING: Final = (commands.Select, commands.Unselect, commands.Close, commands.Logout)
"""Commands that want nothing of the mailbox but to leave it."""
GONE: Final = "the selected mailbox was deleted"


class Lost(Exception):
    """The selected mailbox may not be read any more."""


def writable(rights: Rights) -> bool:
    """Tell whether anything can be changed with these rights."""
    return bool(rights & WRITING)


def read_write(rights: Rights, *, own_seen: bool) -> bool:
    """Tell whether SELECT says READ-WRITE (RFC 4314 5.2): a \\Seen of one's own changes nothing that others see."""
    return writable(rights - {"s"} if own_seen else rights)


def tell_flags(session: "ImapProtocol") -> None:
    """Tell which flags there are, and which of them may be set for good (RFC 3501 7.2.6, RFC 4314 5.1.1)."""
    here = session.here
    keywords = here.mailbox.keywords
    here.keywords_told = len(keywords)
    session.send(responses.flags(keywords))
    session.send(acl_parse.permanent_flags(keywords, session.rights, settable=not here.read_only))


async def hears(session: "ImapProtocol") -> bool:
    """Tell whether the session may be told what happens in the selected mailbox."""
    selected = session.selected
    if selected is None or not session.services.sharing.foreign(selected.name):
        return True
    try:
        await session.services.sharing.here(session.signed_in.account, selected.name, selected.mailbox.row.id)
    except NoSuchMailbox:
        return False
    return True


async def admitted(session: "ImapProtocol", command: commands.Command) -> commands.Command:
    """Return the command as far as the rights in the selected mailbox let it be carried out.

    Raises `NotPermitted`, and `Lost` if the mailbox may not be read any more.
    """
    selected = session.selected
    if selected is None or not session.services.sharing.foreign(selected.name):
        session.rights = ALL
        return command
    had = session.rights
    try:
        mailbox = selected.mailbox.row.id
        session.rights = await session.services.sharing.here(session.signed_in.account, selected.name, mailbox)
    except NoSuchMailbox:
        session.rights = frozenset()
        if isinstance(command, _LEAVING):
            return command
        raise Lost from None
    if not selected.examined:
        selected.read_only = not writable(session.rights)
        own_seen = selected.mailbox.reader is not None
        now = read_write(session.rights, own_seen=own_seen)
        if now != read_write(had, own_seen=own_seen):
            # RFC 9051 7.1: not only SELECT says READ-ONLY, but also a change of access.
            code = b"READ-WRITE" if now else b"READ-ONLY"
            session.send(responses.untagged_ok("your rights have changed", code=code))
    if settable(had) != settable(session.rights):
        keywords = selected.mailbox.keywords
        session.send(acl_parse.permanent_flags(keywords, session.rights, settable=not selected.read_only))
    needed = NEEDS.get(type(command), "")
    if any(right not in session.rights for right in needed):
        raise NotPermitted(DENIED)
    if isinstance(command, commands.Store):
        return await _store(session, command)
    return command


async def _store(session: "ImapProtocol", command: commands.Store) -> commands.Store:
    """Leave out of a STORE what may not be changed; it fails only if nothing is left (RFC 4314 4)."""
    rights, allowed = session.rights, settable(session.rights)
    if allowed == settable(ALL):
        return command
    flags = command.flags & allowed
    keywords = command.keywords if "w" in rights else ()
    if not allowed or (command.change is not Change.REPLACE and not flags and not keywords):
        raise NotPermitted(DENIED)
    if command.change is not Change.REPLACE:
        return attrs.evolve(command, flags=flags, keywords=keywords)
    if command.unchanged_since is not None:
        raise NotPermitted("without all of s, t and w flags can only be added and removed on a condition")
    # To replace some of the flags is to take away those that are not wanted and to add the others.
    here = session.here
    uids = tuple(uid for _, uid in here.view.resolve(command.numbers, by_uid=command.by_uid))
    wanted = {word.lower() for word in keywords}
    others = tuple(word for word in here.mailbox.keywords if word.lower() not in wanted) if "w" in rights else ()
    if uids and not here.read_only:
        taken = FlagChange(uids, Change.REMOVE, allowed & ~flags, others)
        await session.services.changer.store(here.mailbox, [taken])
    return attrs.evolve(command, change=Change.ADD, flags=flags, keywords=keywords)
