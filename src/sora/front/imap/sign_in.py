"""Becoming someone, and no one: LOGIN, AUTHENTICATE, ENABLE, UNAUTHENTICATE (RFC 3501 6.2, RFC 5161, RFC 8437)."""

from typing import Final

from sora.core.errors import PrivacyRequired
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, framer, responses, states
from sora.imap.session_commands import Unauthenticate
from sora.observe import log as lines
from sora.sasl.exchange import MECHANISMS, SaslError, decode, plain

_SPELLED: Final = {"IMAP4REV2": "IMAP4rev2"}
"""How a name is written that is not all capitals."""


@handles(commands.Login)
async def login(session: ImapProtocol, command: commands.Login) -> Done:
    """Sign in by name and password."""
    _refuse_cleartext(session)
    return await _enter(session, command.user, command.password.encode(), "LOGIN")


@handles(commands.Authenticate)
async def authenticate(session: ImapProtocol, command: commands.Authenticate) -> Done:
    """Sign in by a SASL mechanism."""
    _refuse_cleartext(session)
    if command.mechanism not in MECHANISMS:
        raise Refusal("this mechanism is not supported", b"CANNOT")
    message = command.initial if command.initial is not None else await _ask(session)
    try:
        given = plain(message)
    except SaslError as error:
        raise Refusal(str(error), bad=True) from None
    if given.acts_for_another:
        raise Refusal("acting for another user is not supported", b"AUTHORIZATIONFAILED")
    return await _enter(session, given.authentication, given.password, command.mechanism)


@handles(Unauthenticate)
async def unauthenticate(session: ImapProtocol, command: Unauthenticate) -> Done:
    """Forget who the client is and all that it has set; TLS stays, compression ends with the answer (RFC 8437)."""
    session.log.info("signed out")
    session.forget()
    lines.account.set("")
    return Done("UNAUTHENTICATE completed", then=session.compress_no_more)


@handles(commands.Enable)
async def enable(session: ImapProtocol, command: commands.Enable) -> Done:
    """Switch extensions on for this connection; what is unknown or not advertised is passed over."""
    asked = [name for name in dict.fromkeys(command.names) if name in states.ENABLEABLE and session.offers(name)]
    news = [name for name in asked if name not in session.enabled]
    session.enabled.update(news)
    if session.rev2 and session.selected is not None:
        session.selected.view.forget_recent()
    session.send(responses.enabled(_SPELLED.get(name, name) for name in news))
    if "CONDSTORE" in news or "QRESYNC" in news:
        session.follow_modseqs()
    return Done("ENABLE completed")


def _refuse_cleartext(session: ImapProtocol) -> None:
    if not session.plaintext:
        raise PrivacyRequired("sign in over TLS")


async def _ask(session: ImapProtocol) -> bytes:
    """Ask for the client's response and decode it; `*` cancels (RFC 3501 6.2.2)."""
    session.send(responses.challenge(b""))
    session.follow(session.framer.expect_line())
    event = await session.receive()
    while not isinstance(event, framer.Line | framer.Refused | framer.Fatal):
        event = await session.receive()
    if not isinstance(event, framer.Line):
        raise Refusal("the response is too long", bad=True)
    try:
        return decode(event.data)
    except SaslError as error:
        raise Refusal(str(error), bad=True) from None


async def _enter(session: ImapProtocol, name: str, password: bytes, mechanism: str) -> Done:
    user = await session.services.authenticator.sign_in(
        name, password, mechanism=mechanism, protocol="imap", peer=session.peer
    )
    if not session.services.enter(user.account):
        session.log.info("{address} has too many connections", address=user.address)
        raise Refusal("too many connections of this account", b"LIMIT")
    session.user = user
    session.framer.authenticated = True
    lines.account.set(user.address)
    session.log.info("signed in with {mechanism}", mechanism=mechanism)
    if user.bare:
        await session.services.mailboxes.furnish(user.account)
    return Done("signed in", b"CAPABILITY " + session.capabilities)
