"""Requests are signed as botocore signs them, and the key of a day is derived once."""

from calendar import timegm
from time import strptime

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.trial import unittest

from sora.s3.settings import S3Settings
from sora.s3.signing import Signer

HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
REQUESTS = (
    ("GET", "https://mail.s3.example.org/domain/example.org/ab/abcdef.0123", {}),
    ("GET", "http://127.0.0.1:9000/mail/a%20b%2B%C3%BC//c~d", {"Range": "bytes=0-99"}),
    ("GET", "https://s3.example.org:443/mail/x", {}),
    ("GET", "http://[::1]:9000/mail/x", {}),
    ("POST", "https://mail.s3.example.org/?delete=", {"Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww=="}),
    ("GET", "https://mail.s3.example.org/?encoding-type=url&list-type=2&max-keys=7&prefix=a%2F&start-after=b", {}),
    (
        "PUT",
        "https://mail.s3.example.org/a",
        {"x-amz-checksum-sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "Content-Type": "text/a;  b=c "},
    ),
)


class _Auth(S3SigV4Auth):
    """botocore's, given the payload's hash."""

    def payload(self, request: AWSRequest) -> str:
        return HASH


class SigningTests(unittest.SynchronousTestCase):
    """`Signer.sign` beside botocore."""

    def signed(self, credentials: Credentials, method: str, url: str, headers: dict[str, str]) -> None:
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        _Auth(credentials, "s3", "eu-central-1").add_auth(request)
        date = request.context["timestamp"]
        settings = S3Settings(endpoint="https://s3.example.org", bucket="mail", region="eu-central-1")
        signer = Signer(settings, None, now=lambda: float(timegm(strptime(date, "%Y%m%dT%H%M%SZ"))))
        ours = signer.sign(credentials.get_frozen_credentials(), method, url, headers, HASH)
        self.assertEqual(ours["Authorization"], request.headers["Authorization"], (method, url))
        self.assertEqual(ours["X-Amz-Date"], request.headers["X-Amz-Date"])
        self.assertEqual(signer.sign(credentials.get_frozen_credentials(), method, url, headers, HASH), ours)

    def test_every_kind_of_request_has_botocores_signature(self) -> None:
        for method, url, headers in REQUESTS:
            self.signed(Credentials("AKIDEXAMPLE", "a/secret+key="), method, url, headers)

    def test_a_session_token_is_sent_and_signed(self) -> None:
        for method, url, headers in REQUESTS:
            self.signed(Credentials("AKIDEXAMPLE", "a/secret+key=", "a token"), method, url, headers)

    def test_another_day_and_another_secret_have_another_key(self) -> None:
        now = [0.0]
        settings = S3Settings(endpoint="https://s3.example.org", bucket="mail")
        signer = Signer(settings, None, now=lambda: now[0])
        one, other = (Credentials("A", secret).get_frozen_credentials() for secret in ("one", "other"))
        made = []
        for moment, credentials in ((0.0, one), (0.0, other), (86_400.0, one)):
            now[0] = moment
            made.append(signer.sign(credentials, "GET", "https://s3.example.org/a", {}, HASH)["Authorization"])
        self.assertEqual(len(set(made)), 3)
        now[0] = 0.0
        self.assertEqual(signer.sign(one, "GET", "https://s3.example.org/a", {}, HASH)["Authorization"], made[0])
