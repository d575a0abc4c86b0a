"""`sora-admin groups`, `acl` and `shared`: who may use whose mailboxes, and mailboxes that belong to a domain."""

import click

from sora.admin.commands.addresses import address, canonical, domain_name, group_name
from sora.admin.invocation import Invocation, Storage, config_option, json_option, pass_invocation, print_json
from sora.core.ids import MailboxId
from sora.core.rights import ALL, Edit, Rights, parse
from sora.core.rights import canonical as letters
from sora.mail.mailboxes import valid
from sora.store.grants import ANYONE, COMMONS, GROUP, Entry
from sora.store.model import Actor

group_option = click.option("--group", callback=group_name, required=True, help="The group: $sales@example.org.")
mailbox_option = click.option("--mailbox", required=True, help="The mailbox, as its owner calls it.")
owner_option = click.option("--email", callback=address, help="The account that the mailbox belongs to.")
domain_option = click.option("--domain", callback=domain_name, help="The domain that the mailbox belongs to.")
needed_domain = click.option("--domain", callback=domain_name, required=True, help="The domain.")


def _rights(_: click.Context, __: click.Parameter, value: str) -> Rights:
    try:
        return parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


# ------------------------------------------------------------ groups


@click.group()
@config_option
def groups() -> None:
    """Groups of accounts that rights can be given to."""


@groups.command(name="create")
@config_option
@group_option
@pass_invocation
def create_group(invocation: Invocation, *, group: str) -> None:
    """Create a group without members."""

    async def work(storage: Storage, _: object) -> None:
        await storage.store.grants.create_group(group)

    invocation.with_storage(work)
    click.echo(f"created {group}")


@groups.command(name="delete")
@config_option
@group_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def delete_group(invocation: Invocation, *, group: str, yes: bool) -> None:
    """Delete a group, with all rights that were given to it."""
    if not yes:
        click.confirm(f"Delete {group} with all its rights?", abort=True, err=True)

    async def work(storage: Storage, _: object) -> None:
        await storage.store.grants.delete_group(group)

    invocation.with_storage(work)
    click.echo(f"deleted {group}")


@groups.command()
@config_option
@group_option
@click.option("--email", callback=address, required=True, help="The account.")
@pass_invocation
def add(invocation: Invocation, *, group: str, email: str) -> None:
    """Make an account of the domain a member."""
    _member(invocation, group, email, member=True)


@groups.command()
@config_option
@group_option
@click.option("--email", callback=address, required=True, help="The account.")
@pass_invocation
def remove(invocation: Invocation, *, group: str, email: str) -> None:
    """Take a member out."""
    _member(invocation, group, email, member=False)


def _member(invocation: Invocation, group: str, email: str, *, member: bool) -> None:
    async def work(storage: Storage, _: object) -> None:
        await storage.store.grants.join(group, email, member=member)

    invocation.with_storage(work)
    click.echo(f"{email} is {'now' if member else 'no longer'} in {group}")


@groups.command(name="list")
@config_option
@domain_option
@json_option
@pass_invocation
def list_groups(invocation: Invocation, *, domain: str | None, as_json: bool) -> None:
    """List groups with their members; with --json one object a line."""

    async def work(storage: Storage, _: object) -> list[tuple[str, tuple[str, ...]]]:
        return await storage.store.grants.groups(domain)

    for group, members in invocation.with_storage(work):
        if as_json:
            print_json({"group": group, "members": list(members)})
        else:
            click.echo(f"{group:40} {', '.join(members)}")


# ------------------------------------------------------------ access control lists


@click.group()
@config_option
def acl() -> None:
    """Who may do what in a mailbox (RFC 4314): l r s w i p k x t e a."""


async def _mailbox(storage: Storage, email: str | None, domain: str | None, name: str) -> MailboxId:
    if (email is None) == (domain is None):
        raise click.UsageError("name either --email or --domain")
    owner = await storage.store.accounts.row(email or f"{COMMONS}@{domain}")
    return (await storage.store.mailboxes.find(owner.id, valid(name))).id


def _identifier(_: click.Context, __: click.Parameter, value: str) -> str:
    if value.lower() == ANYONE:
        return ANYONE
    return GROUP + canonical(value.removeprefix(GROUP)) if value.startswith(GROUP) else canonical(value)


def _line(entry: Entry) -> str:
    return f"{'-' * entry.grant.negative + entry.identifier:40} {letters(entry.grant.rights)}"


identifier_option = click.option(
    "--identifier",
    callback=_identifier,
    required=True,
    help="An account of the domain, a group ($sales@example.org), or anyone.",
)
negative_option = click.option("--negative", is_flag=True, help="Rights that are taken, whoever else gives them.")


@acl.command()
@config_option
@owner_option
@domain_option
@mailbox_option
@identifier_option
@click.option("--rights", callback=_rights, required=True, help="Letters, such as lrs.")
@negative_option
@pass_invocation
def grant(
    invocation: Invocation,
    *,
    email: str | None,
    domain: str | None,
    mailbox: str,
    identifier: str,
    rights: Rights,
    negative: bool,
) -> None:
    """Set the rights of an identifier, in the place of those that it had."""

    async def work(storage: Storage, _: object) -> None:
        box = await _mailbox(storage, email, domain, mailbox)
        await storage.store.grants.grant(box, identifier, Edit.REPLACE, rights, negative=negative)

    invocation.with_storage(work)
    click.echo(f"{identifier}: {letters(rights)}")


@acl.command()
@config_option
@owner_option
@domain_option
@mailbox_option
@identifier_option
@negative_option
@pass_invocation
def revoke(
    invocation: Invocation, *, email: str | None, domain: str | None, mailbox: str, identifier: str, negative: bool
) -> None:
    """Take an identifier off the list."""

    async def work(storage: Storage, _: object) -> None:
        box = await _mailbox(storage, email, domain, mailbox)
        await storage.store.grants.grant(box, identifier, Edit.REPLACE, frozenset(), negative=negative)

    invocation.with_storage(work)
    click.echo(f"{identifier}: none")


@acl.command(name="list")
@config_option
@owner_option
@domain_option
@mailbox_option
@json_option
@pass_invocation
def list_acl(invocation: Invocation, *, email: str | None, domain: str | None, mailbox: str, as_json: bool) -> None:
    """Show a mailbox's list; its owner has all rights and is not in it."""

    async def work(storage: Storage, _: object) -> list[Entry]:
        return await storage.store.grants.entries(await _mailbox(storage, email, domain, mailbox))

    for entry in invocation.with_storage(work):
        if as_json:
            grant = entry.grant
            print_json({"identifier": entry.identifier, "rights": letters(grant.rights), "negative": grant.negative})
        else:
            click.echo(_line(entry))


# ------------------------------------------------------------ mailboxes of a domain


@click.group()
@config_option
def shared() -> None:
    """Mailboxes that belong to a domain instead of an account."""


@shared.command(name="create")
@config_option
@needed_domain
@mailbox_option
@click.option("--email", callback=address, help="An account of the domain that is given rights in it.")
@click.option("--rights", callback=_rights, default=letters(ALL), help="Those rights; all if left out.")
@pass_invocation
def create_shared(invocation: Invocation, *, domain: str, mailbox: str, email: str | None, rights: Rights) -> None:
    """Create a mailbox of a domain; without --email nobody sees it until `acl grant`."""

    async def work(storage: Storage, _: object) -> None:
        creator = None
        if email is not None:
            row = await storage.store.accounts.row(email)
            if row.address.rpartition("@")[2] != domain:
                raise click.UsageError(f"{email} is not of {domain}")
            creator = row.id
        await storage.store.grants.create_common(domain, valid(mailbox), rights, creator)

    invocation.with_storage(work)
    click.echo(f"created {mailbox} of {domain}")


@shared.command(name="delete")
@config_option
@needed_domain
@mailbox_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_invocation
def delete_shared(invocation: Invocation, *, domain: str, mailbox: str, yes: bool) -> None:
    """Delete a mailbox of a domain with its messages."""
    if not yes:
        click.confirm(f"Delete {mailbox} of {domain} with all its mail?", abort=True, err=True)

    async def work(storage: Storage, _: object) -> None:
        owner = await storage.store.accounts.row(f"{COMMONS}@{domain}")
        await storage.store.mailboxes.delete(owner.id, valid(mailbox), Actor(None, "sora-admin", "admin", ""))

    invocation.with_storage(work)
    click.echo(f"deleted {mailbox} of {domain}")


@shared.command(name="list")
@config_option
@needed_domain
@json_option
@pass_invocation
def list_shared(invocation: Invocation, *, domain: str, as_json: bool) -> None:
    """List a domain's mailboxes; with --json one object a line."""

    async def work(storage: Storage, _: object) -> list[tuple[str, int, int]]:
        owner = await storage.store.accounts.row(f"{COMMONS}@{domain}")
        listing = await storage.store.mailboxes.listing(owner.id)
        return [(row.name, row.messages, row.size) for row in listing.mailboxes]

    for name, messages, size in invocation.with_storage(work):
        if as_json:
            print_json({"mailbox": name, "messages": messages, "size": size})
        else:
            click.echo(f"{name:40} {messages:9} messages {size:12} octets")
