"""What a new user meets: an account to try, and three lines to paste. Only on embedded defaults."""

import os
import secrets
import sys
from pathlib import Path
from typing import Final

from sora.core.config.model import Configuration
from sora.core.errors import AccountExists
from sora.mail.mailboxes import DEFAULTS
from sora.sasl.passwords import hash_password
from sora.service.servers import Servers
from sora.service.storage import Storage

DEMO: Final = "demo@example.org"
PASSWORD_FILE: Final = "demo-password"  # noqa: S105  a file's name


async def greet(configuration: Configuration, storage: Storage, servers: Servers) -> None:
    """On embedded defaults, create the demonstration account in an empty store and say what to do next."""
    if configuration.database is not None or configuration.s3 is not None:
        return
    state = configuration.embedded.state.absolute()
    file = state / PASSWORD_FILE
    if not await storage.store.accounts.rows(limit=1):
        await _create(storage, file, cost=configuration.auth.bcrypt_cost)
    if file.exists():
        _show(servers, file, state)


async def _create(storage: Storage, file: Path, *, cost: int) -> None:
    password = secrets.token_urlsafe(12)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(password + "\n")
    try:
        await storage.store.accounts.create(DEMO, hash_password(password, cost=cost), DEFAULTS)
    except AccountExists:
        file.unlink()


def _show(servers: Servers, file: Path, state: Path) -> None:
    lmtp, imap = servers.plain_address("lmtp"), servers.plain_address("imap")
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
