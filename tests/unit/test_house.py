"""The house keeps its rules: sizes, names of rooms, generated files."""

import re
from pathlib import Path

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600
VAGUE = re.compile(r"(^|/)(utils?|helpers?|manager|common|misc|handler|info|data)(\.py|/)")


def python_files() -> list[Path]:
    return [p for folder in ("src", "tests", "twisted") for p in sorted((ROOT / folder).rglob("*.py"))]


class HouseTests(unittest.SynchronousTestCase):
    """What a reader may rely on everywhere."""

    def test_no_file_is_longer_than_a_reader_can_hold(self) -> None:
        long = {
            str(p.relative_to(ROOT)): n for p in python_files() if (n := len(p.read_text().splitlines())) > LINES_MAX
        }
        self.assertEqual(long, {})

    def test_no_room_has_a_vague_name(self) -> None:
        names = [str(p.relative_to(ROOT)) for p in python_files()]
        self.assertEqual([name for name in names if VAGUE.search(name)], [])

    def test_every_module_says_what_it_is_for(self) -> None:
        silent = [
            str(p.relative_to(ROOT))
            for p in python_files()
            if p.read_text().strip() and not p.read_text().lstrip().startswith(('"""', 'r"""'))
        ]
        self.assertEqual(silent, [])
