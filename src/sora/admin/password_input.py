"""Where the password of an account comes from: prompt, standard input or, with a warning, the command line."""

import sys
from typing import Any

import click

from sora.admin.invocation import refuse
from sora.sasl.passwords import hash_password


def password_options(command: Any) -> Any:
    """Add `--password` and `--password-stdin` to a command."""
    command = click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")(
        command
    )
    return click.option("--password", help="The password; others can see it in the process list.")(command)


def given_password(password: str | None, password_stdin: bool, *, required: bool) -> str | None:
    """Return the password given; prompt for it if it is required. None: none was given."""
    if password is not None and password_stdin:
        raise click.UsageError("--password and --password-stdin exclude each other")
    if password is not None:
        click.echo(
            "sora-admin: warning: a password on the command line is visible to others; use --password-stdin", err=True
        )
        return password
    if password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not required:
        return None
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password on: use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def hashed(password: str, cost: int) -> str:
    """Hash a new password, or end the command with the reason why it cannot be one."""
    try:
        return hash_password(password, cost=cost)
    except ValueError as error:
        refuse(str(error))
