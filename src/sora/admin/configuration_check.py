"""Checks what a configuration refers to without starting anything: files, certificates, directories."""

import os
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509

from sora.core.config.model import Configuration
from sora.core.config.servers import MAIL
from sora.core.config.storage import is_local
from sora.core.errors import ConfigurationInvalid

EXPIRY_WARNING: Final = timedelta(days=14)


class Weight(Enum):
    """How much a remark matters."""

    ERROR = "error"
    """The server would not start, or not do what was asked for."""
    WARNING = "warning"
    """It works, but think again."""


@attrs.frozen
class Remark:
    """One thing to say about a configuration."""

    weight: Weight
    where: str
    text: str


def _error(where: str, text: str) -> Remark:
    return Remark(Weight.ERROR, where, text)


def _warning(where: str, text: str) -> Remark:
    return Remark(Weight.WARNING, where, text)


def remarks(configuration: Configuration) -> Iterator[Remark]:
    """Yield everything worth saying, errors and warnings."""
    for complaint in configuration.unsupported():
        where, _, text = complaint.partition(": ")
        yield _error(where, text)
    if not configuration.started():
        yield _error("servers", "no server is started")
    yield from _certificates(configuration)
    yield from _authorities(configuration)
    yield from _directories(configuration)
    yield from _exposure(configuration)


# ------------------------------------------------------------ certificates


def _certificates(configuration: Configuration) -> Iterator[Remark]:
    tls = configuration.tls
    if tls.enabled and tls.cert_file is not None and tls.key_file is not None:
        yield from _pair("tls", tls.cert_file, tls.key_file)
    for server in configuration.started():
        if server.tls_cert_file is not None and server.tls_key_file is not None:
            yield from _pair(f"servers.{server.name}", server.tls_cert_file, server.tls_key_file)
        elif server.tls and (tls.cert_file is None or not tls.enabled) and not _loopback(configuration, server.name):
            yield _warning(f"servers.{server.name}", "no certificate is named: clients will not trust the one we make")


def _pair(where: str, cert_file: Path, key_file: Path) -> Iterator[Remark]:
    from sora.net.tls import Certificates

    try:
        Certificates(cert_file, key_file)
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except ConfigurationInvalid as error:
        for complaint in error.complaints:
            yield _error(where, complaint)
        return
    except ValueError as error:
        yield _error(where, f"{cert_file}: {error}")
        return
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(0):
        yield _error(where, f"{cert_file} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    elif left < EXPIRY_WARNING:
        yield _warning(where, f"{cert_file} expires on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if certificate.not_valid_before_utc > datetime.now(UTC):
        yield _error(where, f"{cert_file} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")
    if key_file.stat().st_mode & stat.S_IROTH:
        yield _warning(where, f"{key_file} can be read by everyone")


def _authorities(configuration: Configuration) -> Iterator[Remark]:
    database, s3 = configuration.database, configuration.s3
    files = [
        ("database.ca_file", database.ca_file if database is not None else None),
        (
            "database.read.ca_file",
            database.read.ca_file if database is not None and database.read is not None else None,
        ),
        ("s3.ca_file", s3.ca_file if s3 is not None else None),
    ]
    for where, file in files:
        if file is None:
            continue
        try:
            ssl.create_default_context(cafile=os.fspath(file))
        except OSError as error:
            # A file that holds no certificate is an SSLError, which is an OSError too.
            yield _error(where, f"{file}: {error.strerror or 'holds no certificate'}")


# ------------------------------------------------------------ directories


def _directories(configuration: Configuration) -> Iterator[Remark]:
    wanted: list[tuple[str, Path]] = []
    if configuration.database is None or configuration.s3 is None:
        wanted.append(("embedded.state", configuration.embedded.state))
    if configuration.s3 is None and configuration.storage.objects is not None:
        wanted.append(("storage.objects", configuration.storage.objects))
    if configuration.local_cache.enabled and configuration.local_cache.path is not None:
        wanted.append(("local_cache.path", configuration.local_cache.path))
    if configuration.logging.output not in ("stderr", "stdout"):
        wanted.append(("logging.output", Path(configuration.logging.output).parent))
    for server in configuration.started():
        if server.address.path:
            wanted.append((f"servers.{server.name}.addr", Path(server.address.path).parent))
    for where, directory in wanted:
        problem = _unwritable(directory)
        if problem is not None:
            yield _error(where, problem)
    binaries = configuration.embedded.binaries
    if configuration.database is None and binaries is not None and not (binaries / "postgres").is_file():
        yield _error("embedded.binaries", f"{binaries} holds no postgres")


def _unwritable(directory: Path) -> str | None:
    """Return why a directory cannot be written to, or made; None if it can."""
    existing = directory.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return f"{existing} is no directory"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written to" + (
            "" if existing == directory else f", so {directory} cannot be made"
        )
    return None


# ------------------------------------------------------------ what is open to whom


def _loopback(configuration: Configuration, name: str) -> bool:
    address = configuration.servers[name].address
    return bool(address.path) or is_local(address.host)


def _exposure(configuration: Configuration) -> Iterator[Remark]:
    for server in configuration.started():
        public = server.type in MAIL and not _loopback(configuration, server.name)
        if public and configuration.insecure_auth(server) and not server.tls:
            yield _warning(f"servers.{server.name}", "passwords may be sent in the clear (insecure_auth)")
        if server.api_key is not None and len(server.api_key.reveal()) < 16:
            yield _error(f"servers.{server.name}.api_key", "is shorter than 16 characters")
    database, s3 = configuration.database, configuration.s3
    if database is not None:
        if database.effective_sslmode != "verify-full" and not all(map(is_local, database.hosts)):
            yield _warning("database.sslmode", f"{database.effective_sslmode} does not prove who the database is")
        if database.allow_unsafe:
            yield _warning("database.allow_unsafe", "acknowledged mail may be lost")
    if s3 is not None and not s3.verify:
        yield _warning("s3.verify", "the store's certificate is not checked")
    if s3 is None and database is not None:
        yield _warning("s3", "bodies are kept in a directory of this node only; other nodes cannot read them")
