"""S3 over TLS: whose certificate is believed, and that a silent peer cannot hold a connection."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.trial import unittest

from sora.core.errors import ObjectStoreUnavailable
from sora.s3.client import S3ObjectStore
from sora.s3.settings import S3Settings
from tests.integration.fake_s3 import ACCESS, REGION, SECRET, Fault, Server


def certificate(name: str) -> tuple[bytes, bytes]:
    """Make a certificate for `name` signed by itself; returns key and certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, made.public_bytes(serialization.Encoding.PEM)


class TlsTests(unittest.TestCase):
    """A server with a certificate of its own."""

    timeout = 20

    def serve(self, name: str = "localhost") -> Server:
        key, public = certificate(name)
        self.ca_file = Path(self.mktemp())
        self.ca_file.write_bytes(b"# the one we trust\n" + public)
        server = Server(reactor, tls=PrivateCertificate.loadPEM(key + public).options())
        self.addCleanup(server.stop)
        return server

    def store(self, server: Server, **settings: Any) -> S3ObjectStore:
        values: dict[str, Any] = {
            "bucket": "mail",
            "region": REGION,
            "endpoint": server.endpoint,
            "path_style": True,
            "access_key": ACCESS,
            "secret_key": SECRET,
            "attempts_max": 1,
            "ca_file": str(self.ca_file),
        }
        store = S3ObjectStore(S3Settings(**(values | settings)), reactor)
        self.addCleanup(store.close)
        return store

    async def test_the_configured_authority_is_trusted(self) -> None:
        store = self.store(self.serve())
        await store.put("a", b"data")
        self.assertEqual(await store.get("a"), b"data")

    async def test_an_unknown_authority_is_refused(self) -> None:
        server = self.serve()
        with self.assertRaises(ObjectStoreUnavailable):
            await self.store(server, ca_file=None).put("a", b"data")
        self.assertEqual(server.s3.requests, [])

    async def test_a_certificate_of_another_name_is_refused(self) -> None:
        server = self.serve("other.example.org")
        with self.assertRaises(ObjectStoreUnavailable):
            await self.store(server).put("a", b"data")
        self.assertEqual(server.s3.requests, [])

    async def test_anyone_is_believed_where_the_operator_says_so(self) -> None:
        store = self.store(self.serve("other.example.org"), ca_file=None, verify=False)
        await store.put("a", b"data")
        self.assertEqual(await store.get("a"), b"data")

    async def test_a_stalled_answer_ends_at_the_deadline(self) -> None:
        server = self.serve()
        store = self.store(server, timeout=0.2, deadline=0.3)
        server.s3.faults = lambda _: Fault.STALL
        with self.assertRaises(ObjectStoreUnavailable):
            await store.get("a")

    async def test_a_body_that_stalls_half_way_ends_at_the_deadline(self) -> None:
        server = self.serve()
        store = self.store(server, timeout=0.5, deadline=0.6)
        server.s3.objects["a"] = (b"x" * 100_000, 0.0)
        server.s3.faults = lambda _: Fault.HALF
        with self.assertRaises(ObjectStoreUnavailable):
            await store.get("a")
