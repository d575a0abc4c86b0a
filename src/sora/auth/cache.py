"""The short-lived memory of verified logins: keyed digests, never passwords.

The key of an entry holds everything the verdict depended on (account, every credential with its hash, mechanism,
password), so a changed or revoked password misses at once, on every node, without anyone having to be told: the
hashes come from the database with each sign-in.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence

from sora.store.model import Login


class VerifiedCache:
    """Remembers digests for `ttl` seconds, `size_max` of them at most; the oldest go first. A ttl of 0 forgets all."""

    def __init__(self, *, clock: Callable[[], float], ttl: float = 300.0, size_max: int = 10_000) -> None:
        self._clock = clock
        self._ttl = ttl
        self._size_max = size_max
        self._key = secrets.token_bytes(32)
        self._expires: dict[bytes, float] = {}

    def digest(self, login: Login, password: bytes, mechanism: str) -> bytes:
        """Return the key under which this very sign-in is remembered; of no use outside this process."""
        parts: list[bytes] = [b"account", str(login.account).encode(), mechanism.encode()]
        for credential in login.credentials:
            parts += [str(credential.id).encode(), credential.hash.encode("utf-8", "surrogatepass")]
        return self._digest([*parts, password])

    def digest_unknown(self, address: str, password: bytes) -> bytes:
        """Return a key for a sign-in under a name that no account has."""
        return self._digest([b"nobody", address.encode("utf-8", "surrogatepass"), password])

    def _digest(self, parts: Sequence[bytes]) -> bytes:
        # Each part is preceded by its length, so that no two lists of parts are the same octets.
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(framed, key=self._key, digest_size=32).digest()

    def __contains__(self, digest: bytes) -> bool:
        expires = self._expires.get(digest)
        return expires is not None and self._clock() < expires

    def __len__(self) -> int:
        return len(self._expires)

    def add(self, digest: bytes) -> None:
        """Remember a verified login from now on; sign-ins from the cache do not prolong it."""
        if self._ttl <= 0:
            return
        now = self._clock()
        self._expires.pop(digest, None)
        self._expires[digest] = now + self._ttl
        # All live equally long, so the order of insertion is the order of expiry.
        while self._expires:
            oldest = next(iter(self._expires))
            if len(self._expires) <= self._size_max and self._expires[oldest] > now:
                break
            del self._expires[oldest]
