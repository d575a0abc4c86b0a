"""What a new user meets: an account to try, and three lines to paste. Only on embedded defaults."""

import os
import secrets
import sys
from pathlib import Path
from typing import Final, Protocol

from sora.core.config.model import Configuration
from sora.core.errors import AccountExists
from sora.mail.mailboxes import DEFAULTS
from sora.net.listeners import TcpAddress
from sora.sasl.passwords import hash_password
from sora.store.interfaces import Accounts

DEMO: Final = "demo@example.org"
PASSWORD_FILE: Final = "demo-password"  # noqa: S105  a file's name


class Places(Protocol):
    """Whoever knows where the servers listen."""

    def plain_address(self, type: str) -> TcpAddress | None:
        """Return where the first server of a type listens without TLS, if it is on TCP."""


async def welcome(configuration: Configuration, accounts: Accounts) -> None:
    """On embedded defaults, create the demonstration account in an empty store; before anyone can deliver to it."""
    if _first_try(configuration) and not await accounts.rows(limit=1):
        await _create(accounts, _password_file(configuration), cost=configuration.auth.bcrypt_cost)


def greet(configuration: Configuration, places: Places) -> None:
    """On embedded defaults, say what to do next: once the servers listen, and as long as there is that account."""
    file = _password_file(configuration)
    if _first_try(configuration) and file.exists():
        _show(places, file, configuration.embedded.state.absolute())


def _first_try(configuration: Configuration) -> bool:
    return configuration.database is None and configuration.s3 is None


def _password_file(configuration: Configuration) -> Path:
    return configuration.embedded.state.absolute() / PASSWORD_FILE


async def _create(accounts: Accounts, file: Path, *, cost: int) -> None:
    password = secrets.token_urlsafe(12)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(password + "\n")
    try:
        await accounts.create(DEMO, hash_password(password, cost=cost), DEFAULTS)
    except AccountExists:
        file.unlink()


def _show(places: Places, file: Path, state: Path) -> None:
    lmtp, imap = places.plain_address("lmtp"), places.plain_address("imap")
    if lmtp is None or imap is None:
        return
    mail = "Subject: hello\\n\\nIt works."
    host, port = lmtp.host or "127.0.0.1", lmtp.port
    send = f"import smtplib; smtplib.LMTP('{host}', {port}).sendmail('you@example.org', '{DEMO}', '{mail}')"
    lines = (
        "",
        f'python3 -c "{send}"',
        f"curl --user \"{DEMO}:$(cat '{file}')\" 'imap://{imap.host or '127.0.0.1'}:{imap.port}/INBOX;MAILINDEX=1'",
        f"ls '{state}'",
        "",
    )
    # twistd sends sys.stdout to the log; these lines are for whoever started it.
    if sys.__stdout__ is not None:
        sys.__stdout__.write("\n".join(lines) + "\n")
        sys.__stdout__.flush()
