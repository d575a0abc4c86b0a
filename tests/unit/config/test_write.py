"""The generated files say what the classes say."""

from pathlib import Path

from twisted.trial import unittest

from sora.core.config import write
from sora.core.config.load import parse
from sora.core.config.model import Configuration
from sora.core.config.setting import Setting, Table, described

ROOT = Path(__file__).resolve().parents[3]
REFERENCES = ("env:", "file:")


def uncommented(text: str) -> str:
    return "\n".join(line[1:] if line[:1] == "#" and line[1:2] != " " else line for line in text.splitlines())


class DriftTests(unittest.SynchronousTestCase):
    """`make docs` was run."""

    def test_the_example_file_is_the_generated_one(self) -> None:
        self.assertEqual((ROOT / write.FILE).read_text("utf-8"), write.configuration_file())

    def test_the_documentation_is_the_generated_one(self) -> None:
        self.assertEqual((ROOT / write.DOCUMENT).read_text("utf-8"), write.document())


class ExampleFileTests(unittest.SynchronousTestCase):
    """`etc/sora.toml` can be used."""

    def test_as_it_is_it_changes_nothing(self) -> None:
        self.assertEqual(parse(write.configuration_file(), None, {}), Configuration())

    def test_everything_in_it_may_be_uncommented(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "key").write_text("00" * 32)
        text = uncommented(write.configuration_file()).replace("/etc/sora/sealing-k1", "key")
        text = text.replace('sse = "AES256"', 'sse = "aws:kms"')
        names = ("DB_PASSWORD", "READ_PASSWORD", "S3_SECRET", "RELAY_PASSWORD", "RELAY_TOKEN", "CLUSTER_KEY")
        environment = {f"SORA_{name}": "x" for name in names} | {"AWS_SESSION_TOKEN": "x"}
        configuration = parse(text, folder / "sora.toml", environment)
        self.assertEqual(list(configuration.servers), ["imap", "imaps", "lmtp"])
        self.assertIsNot(configuration.database, None)

    def test_every_setting_is_explained_in_both_files(self) -> None:
        texts = (write.configuration_file(), write.document())
        waiting: list[type] = [Configuration]
        seen = 0
        while waiting:
            for name, (description, _) in described(waiting.pop()).items():
                if isinstance(description, Table):
                    waiting.append(description.section)
                elif isinstance(description, Setting):
                    seen += 1
                    self.assertTrue(description.help.endswith((".", ":")), name)
                    self.assertIn(f"#{name} = ", texts[0])
                    self.assertIn(f"| `{name}` |", texts[1])
        self.assertTrue(seen > 100)
