"""TLS contexts: certificates from files, followed when they change, and one of our own when there are none.

RFC 7525 and RFC 8996: TLS 1.2 at least, no compression, no renegotiation. A pair of files that cannot be
used (half written, key of another certificate) leaves the previous one in service. Each pair is made into two
contexts: the standard library's for the lean transport, pyOpenSSL's for Twisted's own.
"""

import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from zope.interface import implementer

from sora.core.errors import ConfigurationInvalid

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the files, which happen when a connection comes."""
TICKETS: Final = 1
"""Session tickets sent with a TLS 1.3 handshake; a mail client resumes with one, and OpenSSL would make two."""
SELF_SIGNED_DAYS: Final = 825
"""The longest validity that Apple's clients accept."""
_NO_RENEGOTIATION: Final = 0x40000000
"""SSL_OP_NO_RENEGOTIATION, which not every pyOpenSSL names."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """Makes the server side of TLS connections from a certificate file (with its chain) and a key file."""

    log = Logger()

    def __init__(self, cert_file: Path, key_file: Path, *, clock: Callable[[], float] = monotonic) -> None:
        """Read the files. Raises `ConfigurationInvalid` if they are no certificate and its key."""
        self._cert_file = cert_file
        self._key_file = key_file
        self._clock = clock
        self._looked_at = clock()
        self._seen = self._state()
        try:
            self._contexts = _contexts(cert_file, key_file)
        except (SSL.Error, OSError, ValueError) as error:
            raise ConfigurationInvalid([f"{cert_file}, {key_file}: {_why(error)}"]) from None

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802  Twisted calls it
        """Return a new connection in the current context."""
        self._look()
        return SSL.Connection(self._contexts[0], None)

    def ssl_context(self) -> ssl.SSLContext:
        """Return the current context of the standard library's kind."""
        self._look()
        return self._contexts[1]

    def _look(self) -> None:
        if self._clock() - self._looked_at >= LOOK_EVERY:
            self.reload()

    def reload(self) -> bool:
        """Read the files again if they changed; tells whether a new certificate serves now."""
        self._looked_at = self._clock()
        state = self._state()
        if state is None or state == self._seen:
            return False
        self._seen = state
        try:
            self._contexts = _contexts(self._cert_file, self._key_file)
        except (SSL.Error, OSError, ValueError) as error:
            self.log.warn(
                "the changed certificate {file} cannot be used, the previous one stays: {error}",
                file=self._cert_file,
                error=_why(error),
            )
            return False
        self.log.info("now serving the changed certificate {file}", file=self._cert_file)
        return True

    def _state(self) -> tuple[tuple[int, int, int], ...] | None:
        try:
            stats = [os.stat(file) for file in (self._cert_file, self._key_file)]
        except OSError:
            return None
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _contexts(cert_file: Path, key_file: Path) -> tuple[SSL.Context, ssl.SSLContext]:
    return _context(cert_file, key_file), _ssl_context(cert_file, key_file)


def _ssl_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = TICKETS
    # A key that needs a password is refused; OpenSSL would ask the terminal for it.
    context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    return context


def _context(cert_file: Path, key_file: Path) -> SSL.Context:
    options: Any = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2)
    context: SSL.Context = options.getContext()
    context.use_certificate_chain_file(os.fspath(cert_file))
    context.use_privatekey_file(os.fspath(key_file))
    context.check_privatekey()
    context.set_options(_NO_RENEGOTIATION)
    return context


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    reasons = [entry[-1] for entry in error.args[0] if entry] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(reasons) or str(error) or "not a certificate and its key"


def self_signed(directory: Path, hostname: str) -> tuple[Path, Path]:
    """Return the files (certificate, key) of a certificate of our own, made anew when there is none or it expired.

    The directory exists; the key is readable by us alone.
    """
    cert_file, key_file = directory / "tls-cert.pem", directory / "tls-key.pem"
    if not (_is_valid(cert_file) and _fits(cert_file, key_file)):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, hostname)
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(key_file, encoded, 0o600)
        _write(cert_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return cert_file, key_file


def _is_valid(cert_file: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_before_utc <= datetime.now(UTC) < certificate.not_valid_after_utc


def _fits(cert_file: Path, key_file: Path) -> bool:
    try:
        _context(cert_file, key_file)
    except (SSL.Error, OSError, ValueError):
        return False
    return True


def _certificate(key: ec.EllipticCurvePrivateKey, hostname: str) -> x509.Certificate:
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(one) for one in dict.fromkeys([hostname, "localhost"])]
    names += [x509.IPAddress(ip_address(one)) for one in ("127.0.0.1", "::1")]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write(file: Path, data: bytes, mode: int) -> None:
    """Replace a file in one step, never readable more widely than `mode`."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
