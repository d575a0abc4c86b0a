"""What a wheel holds, and that it works without the checkout."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "src", "twisted")


def _missing() -> str:
    """Return what the tests need and do not have."""
    absent = [name for name in ("build", "setuptools") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


class WheelTests(unittest.SynchronousTestCase):
    """Built from a copy, without network."""

    if _missing():
        skip = _missing()

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="sora-wheel-")
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        copy = self.directory / "copy"
        copy.mkdir()
        unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__", "dropin.cache")
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
            else:
                shutil.copy(ROOT / name, copy / name)
        self.run_python(
            *("-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", "dist"), cwd=copy
        )
        [self.wheel] = (copy / "dist").glob("*.whl")

    def run_python(self, *arguments: str, cwd: Path, path: str = "") -> str:
        """Run Python and return what it prints, complaints included."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**environment, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_it_holds_the_program_its_deltas_and_its_plugin_and_nothing_else(self) -> None:
        source = ROOT / "src"
        wanted = {
            str(path.relative_to(source))
            for path in (source / "sora").rglob("*")
            if path.suffix in (".py", ".sql", ".typed")
        }
        self.assertTrue({"sora/py.typed", "sora/tap.py", "sora/postgres/deltas/0001_tables.sql"} <= wanted)
        with zipfile.ZipFile(self.wheel) as archive:
            held = {name for name in archive.namelist() if ".dist-info/" not in name}
        self.assertEqual(held, wanted | {"twisted/plugins/sora_plugin.py"})

    def test_what_it_holds_works_elsewhere(self) -> None:
        installed = self.directory / "installed"
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(installed)
        run = {"cwd": self.directory, "path": str(installed)}
        count = "import sora.postgres.migrate as m; print(m.__file__, len(m.deltas()))"
        deltas = len(list((ROOT / "src/sora/postgres/deltas").glob("*.sql")))
        self.assertEqual(
            self.run_python("-c", count, **run),
            f"{installed}/sora/postgres/migrate.py {deltas}\n",  # type: ignore[arg-type]
        )
        for name in ("sora", "sora-imap", "sora-lmtp"):
            said = self.run_python("-m", "twisted", name, "--help", **run)  # type: ignore[arg-type]
            self.assertIn("--config=", said)
        self.assertIn("accounts", self.run_python("-m", "sora.admin.cli", "--help", **run))  # type: ignore[arg-type]
