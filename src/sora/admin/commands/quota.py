"""`sora-admin quota`: what accounts and domains hold, and how much they may."""

from typing import Final

import click

from sora.admin.commands.addresses import address, domain_name
from sora.admin.invocation import Invocation, Storage, config_option, json_option, pass_invocation, print_json
from sora.core.quota import Limits, Usage
from sora.core.units import format_size, parse_size
from sora.store.grants import COMMONS

NONE: Final = "none"


def size_or_none(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Read a size as in the configuration; -1 is no limit."""
    if value is None or value == NONE:
        return None if value is None else -1
    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def count_or_none(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Read a whole number; -1 is no limit."""
    if value is None or value == NONE:
        return None if value is None else -1
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is no whole number")
    return int(value)


def changed(had: Limits, *, storage: int | None, messages: int | None, mailboxes: int | None) -> Limits:
    """Return limits with what was given in the place of what was; -1 is none, None leaves it."""

    def one(before: int | None, given: int | None) -> int | None:
        return before if given is None else None if given < 0 else given

    return Limits(
        storage=one(had.storage, storage),
        messages=one(had.messages, messages),
        mailboxes=one(had.mailboxes, mailboxes),
    )


def described(usage: Usage) -> str:
    """Write what is held and what may be."""
    limits = usage.limits
    storage = None if limits.storage is None else format_size(limits.storage)
    rows = (
        ("storage:", f"{usage.storage} octets", storage),
        ("messages:", usage.messages, limits.messages),
        ("mailboxes:", usage.mailboxes, limits.mailboxes),
    )
    return "\n".join(
        f"{name:11} {used}, no limit" if limit is None else f"{name:11} {used} of {limit}" for name, used, limit in rows
    )


whose_email = click.option("--email", callback=address, help="The account.")
whose_domain = click.option("--domain", callback=domain_name, help="All accounts of a domain together.")


whose_common = click.option(
    "--shared", is_flag=True, help="With --domain: the mailboxes that belong to the domain itself, as an account's."
)


def _one(email: str | None, domain: str | None, *, shared: bool) -> str | None:
    """Return the account that is meant; None: all of a domain together."""
    if (email is None) == (domain is None) or (shared and domain is None):
        raise click.UsageError("name either --email or --domain; --shared goes with --domain")
    return f"{COMMONS}@{domain}" if shared else email


def _tell(usage: Usage, *, as_json: bool) -> None:
    if as_json:
        print_json(usage)
    else:
        click.echo(described(usage))


@click.group()
@config_option
def quota() -> None:
    """Show and set how much accounts and domains may hold; without one of its own an account has `[quota]`."""


@quota.command()
@config_option
@whose_email
@whose_domain
@whose_common
@json_option
@pass_invocation
def show(invocation: Invocation, *, email: str | None, domain: str | None, shared: bool, as_json: bool) -> None:
    """Show what an account holds, or what a domain held when it was counted last, and the limits."""
    account = _one(email, domain, shared=shared)

    async def work(storage: Storage, _: object) -> Usage:
        quotas = storage.store.quotas
        if account is not None:
            return await quotas.usage((await storage.store.accounts.row(account)).id)
        return await quotas.domain(domain or "")

    _tell(invocation.with_storage(work), as_json=as_json)


@quota.command(name="set")
@config_option
@whose_email
@whose_domain
@whose_common
@click.option("--storage", callback=size_or_none, help="Octets of all messages (64mb, 10gb), or none.")
@click.option("--messages", callback=count_or_none, help="Messages, or none.")
@click.option("--mailboxes", callback=count_or_none, help="Mailboxes of the account, or none.")
@json_option
@pass_invocation
def set_(
    invocation: Invocation,
    *,
    email: str | None,
    domain: str | None,
    shared: bool,
    storage: int | None,
    messages: int | None,
    mailboxes: int | None,
    as_json: bool,
) -> None:
    """Set limits; those that are not named stay as they are."""
    account = _one(email, domain, shared=shared)
    if (storage, messages, mailboxes) == (None, None, None):
        raise click.UsageError("name --storage, --messages or --mailboxes")
    if account is None and mailboxes is not None:
        raise click.UsageError("a domain has no limit of mailboxes")

    async def work(opened: Storage, _: object) -> Usage:
        quotas = opened.store.quotas
        if account is not None:
            whose = (await opened.store.accounts.row(account)).id
            had = (await quotas.usage(whose)).limits
            now = changed(had, storage=storage, messages=messages, mailboxes=mailboxes)
            return await quotas.limit(whose, now)
        had = (await quotas.domain(domain or "")).limits
        return await quotas.limit_domain(domain or "", changed(had, storage=storage, messages=messages, mailboxes=None))

    _tell(invocation.with_storage(work), as_json=as_json)


@quota.command()
@config_option
@whose_email
@whose_domain
@whose_common
@json_option
@pass_invocation
def clear(invocation: Invocation, *, email: str | None, domain: str | None, shared: bool, as_json: bool) -> None:
    """Take an account's own limits away, so that `[quota]` holds for it, or a domain's."""
    account = _one(email, domain, shared=shared)

    async def work(storage: Storage, _: object) -> Usage:
        if account is not None:
            return await storage.store.quotas.limit((await storage.store.accounts.row(account)).id, None)
        return await storage.store.quotas.limit_domain(domain or "", None)

    _tell(invocation.with_storage(work), as_json=as_json)
