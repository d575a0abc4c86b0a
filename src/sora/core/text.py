"""How text is compared: one folding, used when text is stored for search and when it is sought."""

import unicodedata


def fold(text: str) -> str:
    """Return `text` as it is compared: case folded in every script, composed (NFC), without NUL.

    Search is by substring of folded text, so both sides must come through here.
    """
    if text.isascii():
        return text.lower().replace("\0", "")
    return unicodedata.normalize("NFC", text.casefold()).replace("\0", "")
