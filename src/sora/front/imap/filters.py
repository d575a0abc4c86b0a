"""Which capabilities are hidden from which clients: the only place that compares a client with the operator's filters.

A client is known by what it says with ID (RFC 2971), and by the JA4 fingerprint of its TLS.
"""

import re
from collections.abc import Iterable
from typing import Final

import attrs

from sora.core.config.servers import ClientFilter

Fields = tuple[tuple[str, str | None], ...]
KEPT: Final = ("name", "version", "os", "vendor")
"""The fields of ID that are logged."""
KEPT_MAX: Final = 60
"""Characters of each of them."""


@attrs.frozen
class Client:
    """What is known of a client."""

    name: str = ""
    version: str = ""
    ja4: str = ""


@attrs.frozen
class Filter:
    """One filter: patterns that must all be found, and the capabilities hidden then, in capitals."""

    name: re.Pattern[str] | None
    version: re.Pattern[str] | None
    ja4: re.Pattern[str] | None
    hidden: frozenset[bytes]
    reason: str

    @classmethod
    def of(cls, configured: ClientFilter) -> "Filter":
        """Compile a filter of the configuration."""
        patterns = (configured.client_name, configured.client_version, configured.ja4_fingerprint)
        name, version, ja4 = (None if pattern is None else re.compile(pattern) for pattern in patterns)
        return cls(name, version, ja4, in_capitals(configured.disable_caps), configured.reason)

    def fits(self, client: Client) -> bool:
        """Tell whether the client is meant; a filter without patterns means nobody."""
        pairs = ((self.name, client.name), (self.version, client.version), (self.ja4, client.ja4))
        asked = [pattern.search(text) is not None for pattern, text in pairs if pattern is not None]
        return bool(asked) and all(asked)


def in_capitals(names: Iterable[str]) -> frozenset[bytes]:
    """Return names of capabilities as they are compared."""
    return frozenset(name.strip().upper().encode("ascii", "replace") for name in names)


def described(fields: Fields) -> str:
    """Return what is logged of an ID: a few fields, short and printable."""
    known = {key.lower(): value for key, value in fields if value}
    shown = (f"{key} {known[key][:KEPT_MAX]!r}" for key in KEPT if known.get(key))
    return ", ".join(shown) or "nothing"
