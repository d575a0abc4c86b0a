"""In which language the server speaks: LANGUAGE (RFC 5255 3). All texts are English."""

from typing import Final

from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import responses
from sora.imap.session_commands import Language

LANGUAGES: Final = ("en", "i-default")
"""What can be chosen; the default is the second, which is the same (RFC 5255 3.2)."""


@handles(Language)
async def language(session: ImapProtocol, command: Language) -> Done:
    """Name the languages there are, or choose the first that the client asks for and that there is."""
    if not command.ranges:
        session.send(responses.language(LANGUAGES))
        return Done("LANGUAGE completed")
    for wanted in command.ranges:
        chosen = _match(wanted)
        if chosen is not None:
            session.send(responses.language((chosen,)))
            return Done("LANGUAGE completed")
    raise Refusal("none of these languages is supported")


def _match(wanted: str) -> str | None:
    """Return the language that a range means: `en-gb` falls back to `en` (RFC 4647 3.4), `*` and `default` to ours."""
    if wanted in ("*", "default", "i-default"):
        return "i-default"
    return "en" if wanted == "en" or wanted.startswith("en-") else None
