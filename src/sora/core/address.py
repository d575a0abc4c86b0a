"""Mail addresses as names of accounts: parsed once, compared in canonical form.

RFC 5321 4.1.2, RFC 6531 3.3, RFC 5233 (detail). Canonical: local part without `+detail`, both sides
NFC and lower-cased, the domain in its A-label form, so that case and spelling never make two accounts of one.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import attrs
import idna

from sora.core.errors import AddressInvalid

DETAIL_SEPARATOR: Final = "+"
ADDRESS_MAX: Final = 512
"""Octets; RFC 5321 says 256, rewritten senders (SRS) are longer."""

_REMEMBERED: Final = 4_096
"""Addresses whose reading is remembered: mail comes for the same recipients again and again."""

_ATOM = r"[^\x00-\x20\x7f()<>@,;:\\\".\[\]]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")


@attrs.frozen
class Address:
    """An address whose parts are canonical; `str()` gives the canonical text without detail."""

    local: str
    domain: str
    detail: str | None = None

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def full(self) -> str:
        """The canonical text with its detail."""
        if self.detail is None:
            return str(self)
        return f"{self.local}{DETAIL_SEPARATOR}{self.detail}@{self.domain}"


def _domain(text: str) -> str:
    lowered = unicodedata.normalize("NFC", text).lower()
    if not lowered.isascii():
        try:
            lowered = idna.encode(lowered, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise AddressInvalid("the domain is not a valid internationalized name") from None
    labels = lowered.split(".")
    if len(lowered) > 255 or not all(_LABEL.match(label) for label in labels):
        raise AddressInvalid("the domain is malformed")
    return lowered


@lru_cache(_REMEMBERED)
def parse(text: str) -> Address:
    """Parse `local[+detail]@domain`; raises `AddressInvalid` with the reason.

    Quoted local parts and address literals name no account and are refused.
    """
    if len(text.encode("utf-8", "surrogatepass")) > ADDRESS_MAX:
        raise AddressInvalid(f"longer than {ADDRESS_MAX} octets")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain:
        raise AddressInvalid("an address is written local@domain")
    local = unicodedata.normalize("NFC", local).lower()
    if not _LOCAL.match(local) or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in local):
        raise AddressInvalid("the local part is malformed")
    name, separator, detail = local.partition(DETAIL_SEPARATOR)
    if not name:
        raise AddressInvalid("the local part is empty before its detail")
    return Address(name, _domain(domain), detail if separator else None)
