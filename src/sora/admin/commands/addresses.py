"""How commands read addresses, domains and groups: canonical, or the command is misused."""

import click

from sora.core import address as addresses
from sora.core.errors import AddressInvalid
from sora.store.grants import GROUP


def canonical(text: str) -> str:
    """Return an account's address. Raises `click.BadParameter`."""
    try:
        parsed = addresses.parse(text)
    except AddressInvalid as error:
        raise click.BadParameter(f"{text}: {error}") from None
    if parsed.detail is not None:
        raise click.BadParameter(f"{text}: an account's address has no {addresses.DETAIL_SEPARATOR}detail")
    return str(parsed)


def address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read an address that may be left out."""
    return None if value is None else canonical(value)


def domain_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a domain that may be left out."""
    return None if value is None else canonical(f"postmaster@{value}").rpartition("@")[2]


def group_name(_: click.Context, __: click.Parameter, value: str) -> str:
    """Read a group: `$name@domain`, with or without the sign."""
    return GROUP + canonical(value.removeprefix(GROUP))
