"""How text is compared: one folding, used when text is stored for search and when it is sought."""

import re
import unicodedata
from typing import Final

_SPACES: Final = re.compile(r"\t[ \t]*+| [ \t]++")


def fold(text: str) -> str:
    """Return `text` as it is compared: case folded in every script, in compatible letters, composed, without NUL.

    Equal are at least those texts that i;unicode-casemap calls equal (RFC 5051, RFC 5255 4.2).

    Search is by substring of folded text, so both sides must come through here.
    """
    if text.isascii():
        return text.lower().replace("\0", "")
    compatible = unicodedata.normalize("NFKC", text)
    return unicodedata.normalize("NFC", compatible.casefold()).replace("\0", "")


def spaced(text: str) -> str:
    """Return text with each run of spaces and tabs as one space: how header fields are compared, however folded.

    RFC 5322 3.2.2: such a run means no more than a space.
    """
    return _SPACES.sub(" ", text) if "\t" in text or "  " in text else text
