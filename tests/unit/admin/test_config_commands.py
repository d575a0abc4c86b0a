"""`sora-admin config` says what is wrong before anything is started, and never shows a secret."""

import json
import tomllib
from pathlib import Path

from sora.net.tls import self_signed
from tests.unit.admin.test_cli import CliTestCase


class ConfigTests(CliTestCase):
    """`check` and `show`."""

    def check(self, text: str) -> list[str]:
        self.config.write_text(text)
        result = self.admin("config", "check", "--config", str(self.config))
        self.assertEqual(result.exit_code, 2, result.output)
        return result.stdout.splitlines()

    def test_a_good_file_is_good_without_touching_any_store(self) -> None:
        self.assertIn("good", self.done("config", "check", "--config", str(self.config)))
        self.assertEqual(self.opened, [])

    def test_connect_reaches_the_stores(self) -> None:
        self.done("config", "check", "--connect", "--config", str(self.config))
        self.assertEqual(len(self.opened), 1)
        self.storage.objects.away = True
        self.assertEqual(self.admin("config", "check", "--connect", "--config", str(self.config)).exit_code, 75)

    def test_mistakes_are_listed_with_their_lines(self) -> None:
        lines = self.check("[auth]\nbcrypt_cost = 9\n[tlss]\n")
        self.assertEqual([line.split(": ")[1] for line in lines], [f"{self.config}:2", f"{self.config}:3"])

    def test_what_this_version_cannot_start_is_told(self) -> None:
        (line,) = self.check('[servers.pop3]\naddr = "127.0.0.1:110"\n')
        self.assertEqual(line, "error: servers.pop3: a server of type pop3 is not available in this version")

    def test_files_that_cannot_be_used_are_told(self) -> None:
        (self.folder / "junk.pem").write_text("no certificate")
        lines = self.check(
            '[tls]\ncert_file = "none.pem"\nkey_file = "none.key"\n'
            '[s3]\nendpoint = "https://s"\nbucket = "b"\nca_file = "junk.pem"\n'
            '[embedded]\nstate = "junk.pem/state"\n'
        )
        self.assertEqual([line.split(": ")[1] for line in lines], ["tls", "s3.ca_file", "embedded.state"])

    def test_a_key_must_fit_its_certificate(self) -> None:
        (self.folder / "one").mkdir()
        (self.folder / "two").mkdir()
        cert, key = self_signed(self.folder / "one", "mail.example.org")
        _, other = self_signed(self.folder / "two", "mail.example.org")
        servers = '[servers.imap]\naddr = ":1993"\ntls = true\n'
        (line,) = self.check(f'{servers}tls_cert_file = "{cert}"\ntls_key_file = "{other}"\n')
        self.assertTrue(line.startswith("error: servers.imap: "), line)
        self.config.write_text(f'{servers}tls_cert_file = "{cert}"\ntls_key_file = "{key}"\n')
        self.assertNotIn("warning", self.done("config", "check", "--config", str(self.config)))

    def test_what_is_unwise_is_a_warning_and_no_error(self) -> None:
        self.config.write_text(
            '[auth]\ninsecure_auth = true\n[servers.imap]\naddr = ":143"\n'
            '[database]\nhosts = ["db.example.org"]\nsslmode = "require"\n'
        )
        text = self.done("config", "check", "--config", str(self.config))
        for where in ("servers.imap", "database.sslmode", "s3"):
            self.assertIn(f"warning: {where}: ", text)

    def test_what_is_in_force_is_shown_as_toml_and_json_with_secrets_masked(self) -> None:
        self.config.write_text(
            '[database]\nhosts = ["db"]\npassword = "hunter2"\n[s3]\nendpoint = "s"\nbucket = "b"\n'
            'access_key = "a"\nsecret_key = "hunter2"\n'
            f'[storage.sealing.keys]\nk1 = "{"68756e74" * 8}"\n[[server.client_filters]]\nclient_name = "X"\n'
        )
        shown = self.done("config", "show", "--config", str(self.config))
        as_json = self.done("config", "show", "--json", "--config", str(self.config))
        for text in (shown, as_json):
            self.assertNotIn("hunter2", text)
            self.assertNotIn("68756e74", text)
            self.assertIn("(secret)", text)
        self.assertEqual(tomllib.loads(shown)["cleanup"]["grace_period"], "14d")
        self.assertEqual(tomllib.loads(shown)["server"]["client_filters"][0]["client_name"], "X")
        self.assertEqual(json.loads(as_json)["cleanup"]["grace_period"], 1_209_600.0)

    def test_the_defaults_shown_are_a_configuration_themselves(self) -> None:
        shown = self.done("config", "show")
        self.config.write_text(shown)
        result = self.admin("config", "show", "--config", str(self.config))
        embedded = shown.replace(f'state = "{Path("var")}"', "").splitlines()
        again = result.stdout.replace(f'state = "{self.folder / "var"}"', "").splitlines()
        self.assertEqual(again, embedded)
