"""The password hash SHA512-CRYPT (`$6$`), which Python no longer brings along; after its public specification.

https://www.akkadia.org/drepper/SHA-crypt.txt: the numbered steps there are named in the comments.
"""

import hashlib
from typing import Final

ROUNDS_DEFAULT: Final = 5_000
ROUNDS_MIN: Final = 1_000
SALT_MAX: Final = 16
_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LAST: Final = 63
"""The digest's last octet, which stands alone in the encoding."""


def _repeat(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encode(digest: bytes) -> str:
    """Write the digest in the specification's order of octets and its own base 64 (step 22)."""
    text = []
    first, second, third = 0, 21, 42
    for _ in range(21):
        number = digest[first] << 16 | digest[second] << 8 | digest[third]
        for _ in range(4):
            text.append(_ALPHABET[number & 63])
            number >>= 6
        first, second, third = second + 1, third + 1, first + 1
    text.append(_ALPHABET[digest[_LAST] & 63] + _ALPHABET[digest[_LAST] >> 6])
    return "".join(text)


def _mixed(password: bytes, salt: bytes) -> bytes:
    """Return digest A (steps 1-12)."""
    inner = hashlib.sha512(password + salt + password).digest()
    outer = hashlib.sha512(password + salt + _repeat(inner, len(password)))
    bits = len(password)
    while bits:
        outer.update(inner if bits & 1 else password)
        bits >>= 1
    return outer.digest()


def digest(password: bytes, salt: bytes, rounds: int) -> str:
    """Return the hash's last part, 86 characters. `salt` has up to 16 octets, `rounds` is 1,000 or more."""
    state = _mixed(password, salt)
    # Steps 13-20: password and salt are replaced by sequences of the same length that depend on all of them.
    sequence = _repeat(hashlib.sha512(password * len(password)).digest(), len(password))
    salted = _repeat(hashlib.sha512(salt * (16 + state[0])).digest(), len(salt))
    for number in range(rounds):  # step 21
        parts = [sequence if number & 1 else state]
        if number % 3:
            parts.append(salted)
        if number % 7:
            parts.append(sequence)
        parts.append(state if number & 1 else sequence)
        state = hashlib.sha512(b"".join(parts)).digest()
    return _encode(state)
