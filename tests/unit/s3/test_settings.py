"""Settings of a bucket: mistakes are named, secrets are not shown."""

import os
import threading
from pathlib import Path

from botocore.credentials import Credentials, ReadOnlyCredentials
from twisted.internet import reactor
from twisted.trial import unittest

from sora import aio
from sora.core.errors import ObjectStoreUnavailable
from sora.s3.requests import _base
from sora.s3.settings import S3Settings
from sora.s3.signing import Signer


class SettingsTests(unittest.SynchronousTestCase):
    """`S3Settings` alone."""

    def test_good_settings_have_no_complaints(self) -> None:
        self.assertEqual(S3Settings(endpoint="https://s3.example.org", bucket="mail").complaints(), [])

    def test_every_mistake_is_named_at_once(self) -> None:
        settings = S3Settings(
            endpoint="http://s3.example.org/path",
            bucket="",
            access_key="a",
            sse="rot13",
            kms_key_id="k",
            part_size=1,
            ca_file="/nowhere/ca.pem",
            timeout=100.0,
        )
        self.assertEqual(len(settings.complaints()), 9)

    def test_the_secret_is_not_shown(self) -> None:
        settings = S3Settings(endpoint="https://x", bucket="b", access_key="a", secret_key="hush", session_token="hush")
        self.assertNotIn("hush", repr(settings))

    def test_the_bucket_is_in_the_host_or_in_the_path(self) -> None:
        host = S3Settings(endpoint="https://s3.example.org:9000", bucket="mail")
        path = S3Settings(endpoint="https://s3.example.org:9000", bucket="mail", path_style=True)
        self.assertEqual(_base(host), "https://mail.s3.example.org:9000/")
        self.assertEqual(_base(path), "https://s3.example.org:9000/mail/")


class Passing:
    """Credentials as an instance role gives them: frozen ones are renewed when their time has come."""

    expiring = False
    renewed_in = 0

    def refresh_needed(self) -> bool:
        return self.expiring

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        if self.expiring:
            self.renewed_in = threading.get_ident()
        return ReadOnlyCredentials("second" if self.expiring else "first", "s", None)


class SignerTests(unittest.TestCase):
    """Where credentials come from."""

    async def test_configured_credentials_are_used_as_they_are(self) -> None:
        settings = S3Settings(endpoint="https://x", bucket="b", access_key="a", secret_key="s", session_token="t")
        signer = Signer(settings, reactor)
        credentials = await signer.credentials()
        headers = signer.sign(credentials, "GET", "https://x/b/key", {}, "0" * 64)
        self.assertEqual(headers["X-Amz-Content-SHA256"], "0" * 64)
        self.assertEqual(headers["X-Amz-Security-Token"], "t")
        self.assertIn("Credential=a/", headers["Authorization"])

    def chain(self, **environment: str) -> Signer:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "credentials").write_text(
            "[mail]\naws_access_key_id = of-profile\naws_secret_access_key = s\n", encoding="ascii"
        )
        base = {
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "credentials"),
            "AWS_CONFIG_FILE": str(directory / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.patch(os, "environ", clean | base | environment)
        return Signer(S3Settings(endpoint="https://x", bucket="b"), reactor)

    async def test_the_chain_finds_the_environment(self) -> None:
        signer = self.chain(AWS_ACCESS_KEY_ID="of-environment", AWS_SECRET_ACCESS_KEY="s")
        self.assertEqual((await signer.credentials()).access_key, "of-environment")

    async def test_the_chain_finds_a_profile(self) -> None:
        signer = self.chain(AWS_PROFILE="mail")
        self.assertEqual((await signer.credentials()).access_key, "of-profile")

    async def test_no_credentials_are_a_clear_error(self) -> None:
        with self.assertRaises(ObjectStoreUnavailable) as caught:
            await self.chain().credentials()
        self.assertIn("no S3 credentials", str(caught.exception))

    async def test_credentials_about_to_expire_are_renewed_in_a_thread(self) -> None:
        signer = self.chain(AWS_PROFILE="mail")
        signer._credentials = Passing()
        self.assertEqual((await signer.credentials()).access_key, "first")
        signer._credentials.expiring = True
        self.assertEqual((await signer.credentials()).access_key, "second")
        self.assertNotEqual(signer._credentials.renewed_in, threading.get_ident())

    async def test_those_who_ask_at_once_share_one_resolution(self) -> None:
        signer = self.chain(AWS_PROFILE="mail")
        asked = []

        def ask() -> object:
            asked.append(1)
            return Credentials("a", "s").get_frozen_credentials()

        signer._ask = ask
        found = await aio.gather([aio.start(signer.credentials()) for _ in range(3)])
        self.assertEqual([credentials.access_key for credentials in found], ["a"] * 3)
        self.assertEqual(len(asked), 1)
