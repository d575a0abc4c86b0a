"""The only place where a configured secret is held, so that it never appears in a log, an error or a dump."""

import base64
import binascii
import hmac
from contextlib import suppress
from typing import Final, NoReturn

MASK: Final = "(secret)"


class Secret:
    """A text that no repr, format or pickle shows; `reveal()` returns it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself; for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def key_of(secret: Secret, octets: int = 32) -> bytes:
    """Return the key that a secret writes in hex or base64. Raises `ValueError` unless it has `octets` octets."""
    text = secret.reveal().strip()
    candidates = []
    with suppress(ValueError):
        candidates.append(bytes.fromhex(text))
    with suppress(binascii.Error, ValueError):
        candidates.append(base64.b64decode(text, validate=True))
    for key in candidates:
        if len(key) == octets:
            return key
    raise ValueError(f"is no key of {octets} octets in hex or base64")
