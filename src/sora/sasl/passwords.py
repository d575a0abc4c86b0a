"""Password hashes: verified in every scheme that mail servers have left behind, made anew with bcrypt.

A hash is `{SCHEME}text` or a bare crypt text (`$2b$…`, `$6$…`, `$argon2id$…`). Nothing here raises for a malformed
hash or one whose parameters would take minutes: `verify` says no, and `complaint` says why, for the log.
All of this takes long (a tenth of a second and more) and belongs into a thread.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

import argon2
import bcrypt

from sora.core.limits import PASSWORD_MAX
from sora.sasl import sha512_crypt

BCRYPT_OCTETS_MAX: Final = 72
"""What bcrypt reads of a password; the rest is cut off when verifying, as everywhere, and refused for new hashes."""
BCRYPT_COST_MAX: Final = 16
SHA512_CRYPT_ROUNDS_MAX: Final = 1_000_000
PBKDF2_ROUNDS_MAX: Final = 5_000_000
ARGON2_MEMORY_MAX: Final = 1_048_576
"""KiB."""
ARGON2_TIME_MAX: Final = 64
_SHA512_OCTETS: Final = 64

_SCHEME = re.compile(r"\{([A-Za-z0-9.-]{1,32})\}")
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})\Z")
_SHA512_CRYPT = re.compile(r"\$6\$(?:rounds=(\d{1,9})\$)?([^$\0\n]{0,64})\$([./A-Za-z0-9]{86})\Z")
_PBKDF2_DOVECOT = re.compile(r"\$1\$([^$]{1,128})\$(\d{1,8})\$([0-9A-Fa-f]{40})\Z")
_PBKDF2_PASSLIB = re.compile(
    r"\$pbkdf2(|-sha256|-sha512)\$(\d{1,8})\$([./+A-Za-z0-9=]{0,512})\$([./+A-Za-z0-9=]{20,128})\Z"
)


class _Unusable(ValueError):
    """The hash cannot be used, for the reason in the text."""


def _bounded(number: int, low: int, high: int, what: str) -> int:
    if not low <= number <= high:
        raise _Unusable(f"its {what} is not between {low} and {high}")
    return number


Check = Callable[[bytes], bool]


def _bcrypt(text: str) -> Check:
    match = _BCRYPT.match(text)
    if match is None:
        raise _Unusable("it is no bcrypt hash")
    _bounded(int(match[1]), 4, BCRYPT_COST_MAX, "cost")
    # $2a$, $2b$ and $2y$ differ only in the names of old bugs; one spelling suffices.
    known = f"$2b${match[1]}${match[2]}{match[3]}".encode()
    return lambda password: bcrypt.checkpw(password[:BCRYPT_OCTETS_MAX], known)


def _salted_sha512(raw: bytes) -> Check:
    known, salt = raw[:_SHA512_OCTETS], raw[_SHA512_OCTETS:]
    if len(known) < _SHA512_OCTETS or not salt:
        raise _Unusable("it is too short")
    return lambda password: hmac.compare_digest(hashlib.sha512(password + salt).digest(), known)


def _ssha512(text: str) -> Check:
    return _salted_sha512(base64.b64decode(text, validate=True))


def _ssha512_hex(text: str) -> Check:
    return _salted_sha512(bytes.fromhex(text))


def _sha512_crypt(text: str) -> Check:
    match = _SHA512_CRYPT.match(text)
    if match is None:
        raise _Unusable("it is no SHA512-CRYPT hash")
    rounds = sha512_crypt.ROUNDS_DEFAULT if match[1] is None else max(int(match[1]), sha512_crypt.ROUNDS_MIN)
    _bounded(rounds, sha512_crypt.ROUNDS_MIN, SHA512_CRYPT_ROUNDS_MAX, "number of rounds")
    salt = match[2].encode()[: sha512_crypt.SALT_MAX]
    known = match[3]
    return lambda password: hmac.compare_digest(sha512_crypt.digest(password, salt, rounds), known)


def _argon2(text: str) -> Check:
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        raise _Unusable("it is no Argon2 hash") from None
    _bounded(parameters.memory_cost, 1, ARGON2_MEMORY_MAX, "memory")
    _bounded(parameters.time_cost, 1, ARGON2_TIME_MAX, "time cost")

    def check(password: bytes) -> bool:
        try:
            return bool(argon2.low_level.verify_secret(text.encode(), password, parameters.type))
        except argon2.exceptions.Argon2Error:
            return False

    return check


def _adapted_base64(text: str) -> bytes:
    standard = text.rstrip("=").replace(".", "+")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _pbkdf2(text: str) -> Check:
    if match := _PBKDF2_DOVECOT.match(text):
        name, salt, rounds, known = "sha1", match[1].encode(), int(match[2]), bytes.fromhex(match[3])
    elif match := _PBKDF2_PASSLIB.match(text):
        name, rounds = match[1].lstrip("-") or "sha1", int(match[2])
        salt, known = _adapted_base64(match[3]), _adapted_base64(match[4])
    else:
        raise _Unusable("it is no PBKDF2 hash")
    _bounded(rounds, 1, PBKDF2_ROUNDS_MAX, "number of rounds")
    return lambda password: hmac.compare_digest(hashlib.pbkdf2_hmac(name, password, salt, rounds, len(known)), known)


_SCHEMES: Final[dict[str, Callable[[str], Check]]] = {
    "BLF-CRYPT": _bcrypt,
    "SSHA512": _ssha512,
    "SSHA512.B64": _ssha512,
    "SSHA512.HEX": _ssha512_hex,
    "SHA512-CRYPT": _sha512_crypt,
    "ARGON2ID": _argon2,
    "ARGON2I": _argon2,
    "PBKDF2": _pbkdf2,
}
_BARE: Final = (("$2", "BLF-CRYPT"), ("$6$", "SHA512-CRYPT"), ("$argon2", "ARGON2ID"), ("$pbkdf2", "PBKDF2"))


def _split(hash: str) -> tuple[str, str]:
    match = _SCHEME.match(hash)
    if match is not None:
        scheme, text = match[1].upper(), hash[match.end() :]
        if scheme == "CRYPT":
            return _split(text) if not text.startswith("{") else ("", text)
        return scheme, text
    for start, scheme in _BARE:
        if hash.startswith(start):
            return scheme, hash
    return "", hash


def _check_of(hash: str) -> Check:
    scheme, text = _split(hash)
    make = _SCHEMES.get(scheme)
    if make is None:
        raise _Unusable("its scheme is not known")
    try:
        return make(text)
    except (binascii.Error, UnicodeError):
        raise _Unusable("it is malformed") from None


def complaint(hash: str) -> str | None:
    """Return why a hash cannot be used, without repeating it; None if it can."""
    try:
        _check_of(hash)
    except _Unusable as error:
        return str(error)
    except ValueError:
        return "it is malformed"
    return None


def verify(password: bytes, hash: str) -> bool:
    """Tell whether a password fits a hash; a malformed hash fits none. NULs and over-long passwords never fit."""
    if not 0 < len(password) <= PASSWORD_MAX or b"\0" in password:
        return False
    try:
        return _check_of(hash)(password)
    except ValueError:
        return False


def hash_password(password: bytes | str, *, cost: int) -> str:
    """Hash a new password with bcrypt. Raises `ValueError` for one that is empty, too long for bcrypt, or has NULs."""
    if isinstance(password, str):
        password = password.encode("utf-8", "surrogatepass")
    if not password:
        raise ValueError("the password is empty")
    if b"\0" in password:
        raise ValueError("the password holds a NUL")
    if len(password) > BCRYPT_OCTETS_MAX:
        raise ValueError(f"the password is longer than {BCRYPT_OCTETS_MAX} octets")
    return "{BLF-CRYPT}" + bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


def bcrypt_cost(hash: str) -> int | None:
    """Return the cost of a bcrypt hash; None for other schemes."""
    scheme, text = _split(hash)
    match = _BCRYPT.match(text) if scheme == "BLF-CRYPT" else None
    return None if match is None else int(match[1])


def needs_rehash(hash: str, cost: int) -> bool:
    """Tell whether a hash is weaker than a new one would be; Argon2id never is."""
    known = bcrypt_cost(hash)
    if known is not None:
        return known < cost
    return _split(hash)[0] != "ARGON2ID"


def dummy_verify(password: bytes, cost: int) -> None:
    """Take as long as verifying a bcrypt hash of this cost, for names that have none."""
    salt = f"$2b${cost:02}$".encode() + b"." * 22
    bcrypt.hashpw(password[:BCRYPT_OCTETS_MAX].replace(b"\0", b"0"), salt)


def verify_evenly(password: bytes, hashes: tuple[str, ...], cost: int) -> int | None:
    """Return the index of the hash that a password fits, or None: after the same time for all hashes, and for none.

    A failure against a cheaper bcrypt hash is followed by the work that is missing: costs c, c+1, … cost-1 add up
    with the verification itself to one of `cost`. Other schemes are followed by a whole one.
    """
    for index, hash in enumerate(hashes):
        if verify(password, hash):
            return index
    known = [found for hash in hashes if (found := bcrypt_cost(hash)) is not None and complaint(hash) is None]
    if known:
        for missing in range(max(known), cost):
            dummy_verify(password, missing)
    else:
        dummy_verify(password, cost)
    return None
