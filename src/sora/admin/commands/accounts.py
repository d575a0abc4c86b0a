"""`sora-admin accounts`: create, list, show, update and delete accounts."""

from collections.abc import AsyncIterator
from typing import Final

import click

from sora.admin.commands.addresses import canonical
from sora.admin.commands.quota import changed, size_or_none
from sora.admin.invocation import Invocation, Storage, config_option, json_option, pass_invocation, print_json, refuse
from sora.admin.password_input import given_password, hashed, password_options
from sora.core import address as addresses
from sora.core.errors import AccountExists, AddressInvalid, NoSuchAccount
from sora.core.units import format_size
from sora.store.model import AccountRow, AccountStatus, NewMailbox

PAGE: Final = 1_000


def _default_mailboxes() -> tuple[NewMailbox, ...]:
    from sora.mail.mailboxes import DEFAULTS

    return tuple(DEFAULTS)


def _address(_: click.Context, __: click.Parameter, value: str) -> str:
    return canonical(value)


def _addresses(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(canonical, values))


email_option = click.option("--email", callback=_address, required=True, help="The account's address.")


quota_option = click.option(
    "--quota",
    callback=size_or_none,
    help="Octets that its messages may have (64mb, 10gb), or none; see `sora-admin quota`.",
)


async def _set_quota(storage: Storage, email: str, quota: int | None) -> None:
    if quota is not None:
        account = (await storage.store.accounts.row(email)).id
        had = (await storage.store.quotas.usage(account)).limits
        await storage.store.quotas.limit(account, changed(had, storage=quota, messages=None, mailboxes=None))


@click.group()
@config_option
def accounts() -> None:
    """Create, list, show, change and delete accounts."""


@accounts.command()
@config_option
@email_option
@password_options
@click.option(
    "--alias", "aliases", callback=_addresses, multiple=True, help="Another address of the account (repeatable)."
)
@quota_option
@json_option
@pass_invocation
def create(
    invocation: Invocation,
    *,
    email: str,
    password: str | None,
    password_stdin: bool,
    aliases: tuple[str, ...],
    quota: int | None,
    as_json: bool,
) -> None:
    """Create an account with its usual mailboxes."""
    cost = invocation.configuration().auth.bcrypt_cost
    secret = given_password(password, password_stdin, required=True)
    password_hash = hashed(secret or "", cost)
    mailboxes = (invocation.default_mailboxes or _default_mailboxes)()

    async def work(storage: Storage, _: object) -> AccountRow:
        try:
            await storage.store.accounts.create(email, password_hash, mailboxes, aliases=aliases)
        except AccountExists as error:
            raise AccountExists(f"{error}; `sora-admin accounts update` changes an account") from None
        await _set_quota(storage, email, quota)
        return await storage.store.accounts.row(email)

    row = invocation.with_storage(work)
    if as_json:
        print_json(row)
    else:
        click.echo(f"created {row.address}")


def _line(row: AccountRow) -> str:
    return f"{row.address:40} {row.status.value:10} {row.messages:9} messages {format_size(row.size):>12}"


async def _all(storage: Storage, domain: str | None) -> AsyncIterator[AccountRow]:
    after = ""
    while True:
        rows = await storage.store.accounts.rows(after=after, limit=PAGE, domain=domain)
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        after = rows[-1].address


@accounts.command(name="list")
@config_option
@click.option("--domain", help="Only accounts of this domain.")
@json_option
@pass_invocation
def list_(invocation: Invocation, *, domain: str | None, as_json: bool) -> None:
    """List accounts by address; with --json one object a line."""
    try:
        canonical = addresses.parse(f"postmaster@{domain}").domain if domain else None
    except AddressInvalid as error:
        raise click.UsageError(f"--domain: {error}") from None

    async def work(storage: Storage, _: object) -> None:
        async for row in _all(storage, canonical):
            if as_json:
                print_json(row)
            else:
                click.echo(_line(row))

    invocation.with_storage(work)


@accounts.command()
@config_option
@email_option
@json_option
@pass_invocation
def show(invocation: Invocation, *, email: str, as_json: bool) -> None:
    """Show one account, found by any of its addresses."""

    async def work(storage: Storage, _: object) -> AccountRow:
        return await storage.store.accounts.row(email)

    row = invocation.with_storage(work)
    if as_json:
        print_json(row)
        return
    facts = (
        ("address", row.address),
        ("aliases", ", ".join(row.aliases) or "none"),
        ("status", row.status.value),
        ("created", row.created_at.isoformat(timespec="seconds")),
        ("mailboxes", row.mailboxes),
        ("messages", row.messages),
        ("size", f"{row.size} octets"),
    )
    for name, value in facts:
        click.echo(f"{name + ':':11} {value}")


@accounts.command()
@config_option
@email_option
@password_options
@click.option("--prompt", is_flag=True, help="Ask for a new password.")
@click.option("--add-alias", "added", callback=_addresses, multiple=True, help="Give the account another address.")
@click.option("--remove-alias", "removed", callback=_addresses, multiple=True, help="Take an address away.")
@quota_option
@click.option("--status", type=click.Choice(["active", "suspended"]), help="Suspend, or make active (again).")
@json_option
@pass_invocation
def update(
    invocation: Invocation,
    *,
    email: str,
    password: str | None,
    password_stdin: bool,
    prompt: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    status: str | None,
    quota: int | None,
    as_json: bool,
) -> None:
    """Change an account: its password (which ends what was remembered of the old one), aliases, status."""
    cost = invocation.configuration().auth.bcrypt_cost
    nothing_else = not (added or removed or status or quota is not None)
    secret = given_password(password, password_stdin, required=prompt or nothing_else)
    password_hash = None if secret is None else hashed(secret, cost)

    async def work(storage: Storage, _: object) -> AccountRow:
        store = storage.store.accounts
        row = await store.row(email)
        for alias in added:
            if alias not in (row.address, *row.aliases):
                await store.add_alias(row.id, alias)
        for alias in removed:
            if alias == row.address:
                raise NoSuchAccount(f"{alias} is the account's own address, no alias")
            if alias in row.aliases:
                await store.remove_alias(row.id, alias)
        if password_hash is not None:
            await store.set_password(row.id, password_hash)
        if status is not None:
            await store.set_status(row.id, AccountStatus(status))
        await _set_quota(storage, email, quota)
        return await store.row(email)

    row = invocation.with_storage(work)
    if as_json:
        print_json(row)
    else:
        click.echo(f"updated {row.address}")


@accounts.command()
@config_option
@email_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_invocation
def delete(invocation: Invocation, *, email: str, yes: bool, as_json: bool) -> None:
    """Delete an account; until the clean-up's grace period is over, `update --status active` brings it back."""
    if not yes:
        click.confirm(f"Delete {email} with all its mail?", abort=True, err=True)

    async def work(storage: Storage, _: object) -> AccountRow:
        row = await storage.store.accounts.row(email)
        if row.address != email:
            refuse(f"{email} is an alias of {row.address}; name the account itself")
        if row.status is not AccountStatus.DELETED:
            await storage.store.accounts.set_status(row.id, AccountStatus.DELETED)
        return await storage.store.accounts.row(email)

    row = invocation.with_storage(work)
    if as_json:
        print_json(row)
    else:
        click.echo(f"deleted {row.address}")
