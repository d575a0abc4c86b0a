"""Certificates: made when there are none, kept while valid, followed when they change."""

import os
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.trial.unittest import SynchronousTestCase

from sora.core.errors import ConfigurationInvalid
from sora.net import tls


class CertificateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.now = 0.0

    def test_one_of_our_own_is_made_once_with_its_key_closed_to_others(self) -> None:
        cert, key = tls.self_signed(self.directory, "mail.example.org")
        first = cert.read_bytes()
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
        names = x509.load_pem_x509_certificate(first).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(names.value.get_values_for_type(x509.DNSName), ["mail.example.org", "localhost"])
        self.assertEqual(tls.self_signed(self.directory, "mail.example.org"), (cert, key))
        self.assertEqual(cert.read_bytes(), first)
        self.assertEqual(sorted(entry.name for entry in self.directory.iterdir()), ["tls-cert.pem", "tls-key.pem"])

    def test_an_expired_or_broken_one_is_made_anew(self) -> None:
        self.patch(tls, "SELF_SIGNED_DAYS", 0)
        cert, key = tls.self_signed(self.directory, "h")
        self.patch(tls, "SELF_SIGNED_DAYS", 825)
        first = cert.read_bytes()
        tls.self_signed(self.directory, "h")
        self.assertNotEqual(cert.read_bytes(), first)
        second = cert.read_bytes()
        key.unlink()
        tls.self_signed(self.directory, "h")
        self.assertNotEqual(cert.read_bytes(), second)

    def served(self, certificates: tls.Certificates) -> Any:
        return certificates.serverConnectionForTLS(None).get_context()

    def test_changed_files_are_served_after_the_next_look(self) -> None:
        cert, key = tls.self_signed(self.directory, "h")
        certificates = tls.Certificates(cert, key, clock=lambda: self.now)
        first = self.served(certificates)
        key.unlink()
        tls.self_signed(self.directory, "h")
        self.assertIs(self.served(certificates), first)
        self.now += tls.LOOK_EVERY
        self.assertIsNot(self.served(certificates), first)
        self.assertFalse(certificates.reload())

    def test_both_kinds_of_contexts_follow_the_files_and_refuse_what_is_old(self) -> None:
        cert, key = tls.self_signed(self.directory, "h")
        certificates = tls.Certificates(cert, key, clock=lambda: self.now)
        first = certificates.ssl_context()
        self.assertIs(certificates.ssl_context(), first)
        self.assertGreaterEqual(first.minimum_version, ssl.TLSVersion.TLSv1_2)
        for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION):
            self.assertTrue(first.options & option)
        key.unlink()
        tls.self_signed(self.directory, "h")
        self.now += tls.LOOK_EVERY
        self.assertIsNot(certificates.ssl_context(), first)

    def test_a_key_that_needs_a_password_is_refused_without_asking_for_it(self) -> None:
        cert, key = tls.self_signed(self.directory, "h")
        loaded: Any = serialization.load_pem_private_key(key.read_bytes(), None)
        key.write_bytes(
            loaded.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        self.assertRaises(ConfigurationInvalid, tls.Certificates, cert, key)

    def test_a_pair_that_does_not_fit_leaves_the_old_one_in_service(self) -> None:
        cert, key = tls.self_signed(self.directory, "h")
        certificates = tls.Certificates(cert, key, clock=lambda: self.now)
        first = self.served(certificates)
        for ruin in (lambda: cert.write_text("half"), cert.unlink):
            ruin()
            self.now += tls.LOOK_EVERY
            self.assertIs(self.served(certificates), first)

    def test_unusable_files_are_a_configuration_mistake_that_names_them(self) -> None:
        cert, key = tls.self_signed(self.directory, "h")
        other = self.directory / "other"
        other.mkdir()
        _, foreign = tls.self_signed(other, "h")
        for pair in ((cert, foreign), (cert, cert), (self.directory / "none", key)):
            error = self.assertRaises(ConfigurationInvalid, tls.Certificates, *pair)
            self.assertIn(str(pair[0]), str(error))
