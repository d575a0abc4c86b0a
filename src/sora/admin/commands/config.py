"""`sora-admin config`: check a configuration, show what is in force."""

import sys
from collections.abc import Iterator
from typing import Any

import attrs
import click

from sora.admin.configuration_check import Weight, remarks
from sora.admin.invocation import MISUSED, Invocation, Storage, config_option, json_option, pass_invocation, print_json
from sora.core.config.load import load
from sora.core.config.model import Configuration
from sora.core.config.servers import Server
from sora.core.config.setting import Table, described
from sora.core.errors import ConfigurationInvalid


@click.group()
@config_option
def config() -> None:
    """Check and show the configuration."""


@config.command()
@config_option
@click.option("--connect", is_flag=True, help="Also reach the database and the object store.")
@json_option
@pass_invocation
def check(invocation: Invocation, *, connect: bool, as_json: bool) -> None:
    """Check everything that can be checked without starting the server; exit code 2 if something is wrong."""
    found: list[dict[str, str]] = []
    try:
        configuration = load(invocation.config)
    except ConfigurationInvalid as error:
        found = [{"weight": Weight.ERROR.value, "where": "", "text": text} for text in error.complaints]
    else:
        found = [
            {"weight": remark.weight.value, "where": remark.where, "text": remark.text}
            for remark in remarks(configuration)
        ]
    wrong = any(one["weight"] == Weight.ERROR.value for one in found)
    for one in found:
        if as_json:
            print_json(one)
        else:
            where = f"{one['where']}: " if one["where"] else ""
            click.echo(f"{one['weight']}: {where}{one['text']}")
    if wrong:
        sys.exit(MISUSED)
    if connect:
        invocation.with_storage(_reach)
    if not as_json:
        click.echo("the configuration is good" + (", and its stores can be reached" if connect else ""))


async def _reach(storage: Storage, _: object) -> None:
    await storage.store.accounts.rows(limit=1)
    await storage.objects.keys(limit=1)


def _section(name: str, value: Any) -> Iterator[str]:
    """Yield a table with what is in force, secrets masked; what has no value is left out."""
    yield f"[{name}]"
    inner: list[tuple[str, Any]] = []
    for setting, (description, _) in described(type(value)).items():
        held = getattr(value, setting)
        if isinstance(description, Table):
            inner.append((setting, held))
        elif held is not None and _applies(description.types, value):
            yield f"{setting} = {description.kind.show(held)}"
    yield ""
    for setting, held in inner:
        if isinstance(held, tuple):
            for one in held:
                lines = list(_section(f"{name}.{setting}", one))
                yield from (f"[{lines[0]}]", *lines[1:])
        elif held is not None:
            yield from _section(f"{name}.{setting}", held)


def _applies(types: frozenset[str], value: Any) -> bool:
    return not (types and isinstance(value, Server)) or value.type in types


def shown(configuration: Configuration) -> str:
    """Return the configuration in force as TOML, secrets masked."""
    lines: list[str] = []
    for name in described(Configuration):
        section = getattr(configuration, name)
        if section is not None:
            lines += _section(name, section)
    for server in configuration.servers.values():
        lines += _section(f"servers.{server.name}", server)
    return "\n".join(lines).rstrip()


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # A secret's text is its mask; paths and networks are texts too.
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@config.command()
@config_option
@json_option
@pass_invocation
def show(invocation: Invocation, *, as_json: bool) -> None:
    """Show the configuration in force, with defaults, secrets masked (JSON: times in seconds, sizes in octets)."""
    configuration = invocation.configuration()
    if as_json:
        print_json(_plain(configuration))
    else:
        click.echo(shown(configuration))
