"""The page of promises tells the truth about the tests: each that it names exists, and each case has some."""

import re
from pathlib import Path

from twisted.trial import unittest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "promises.md"
NAMED = re.compile(r"`(tests/[\w./]+)(?:::(\w+))?`")
CASES = (
    *("D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D12", "D13", "D14"),
    *("V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V10", "V11", "V12", "V13"),
    *("L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8", "L9", "L10", "L11", "L12", "L13", "L14", "L15"),
    *("A1", "A3", "A4", "A5", "A7", "T1", "T2", "T3", "T4", "T7", "Z1", "Z3", "Z5", "P5", "U4", "U8"),
)
CLIENTS = (*(f"C{number}" for number in range(1, 18)), "C19", "C20", "C22")
PROMISES = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P10")


def missing(text: str) -> list[str]:
    """Return what a text names in backticks below tests/ and what is not there."""
    found = []
    for path, name in NAMED.findall(text):
        file = ROOT / path
        if not file.exists() or (
            name and not re.search(rf"^\s*(?:async )?(?:def|class) {name}\b", file.read_text(), re.M)
        ):
            found.append(f"{path}::{name}" if name else path)
    return found


class PromisesTests(unittest.SynchronousTestCase):
    """docs/promises.md."""

    def test_every_test_named_exists(self) -> None:
        self.assertEqual(missing(PAGE.read_text()), [])

    def test_a_name_that_does_not_exist_is_noticed(self) -> None:
        here = "tests/unit/test_promises.py"
        text = (
            f"`{here}::PromisesTests` `{here}::test_nothing_of_the_kind` `tests/unit/no_file.py::x` `tests/nowhere.txt`"
        )
        self.assertEqual(
            missing(text), [f"{here}::test_nothing_of_the_kind", "tests/unit/no_file.py::x", "tests/nowhere.txt"]
        )

    def test_every_promise_and_every_case_names_its_tests(self) -> None:
        text = PAGE.read_text()
        for promise in PROMISES:
            section = re.search(rf"^### {promise}\. .*?(?=^###? |^## |^P9)", text, re.M | re.S)
            self.assertTrue(section is not None and NAMED.search(section[0]), promise)
        for case in CASES:
            row = re.search(rf"^\| {case} \|.*", text, re.M)
            self.assertTrue(row is not None and NAMED.search(row[0]), case)

    def test_the_protocol_pages_name_every_dialog(self) -> None:
        for protocol in ("imap", "lmtp"):
            text = (ROOT / "docs" / "protocols" / f"{protocol}.md").read_text()
            dialogs = {path.stem for path in (ROOT / "tests" / "dialogs" / protocol).glob("*.txt")}
            self.assertEqual(sorted(dialogs - set(re.findall(r"`([a-z0-9_]+)`", text))), [])

    def test_every_case_of_the_clients_names_dialogs_that_exist(self) -> None:
        text = (ROOT / "docs" / "protocols" / "imap.md").read_text()
        for case in CLIENTS:
            row = re.search(rf"^\| {case} \|(?:[^|\n]*\|){{2}}([^|\n]*)\|$", text, re.M)
            assert row is not None, case
            named = re.findall(r"`(\w+)`", row[1])
            self.assertTrue(named, case)
            for name in named:
                self.assertTrue((ROOT / "tests" / "dialogs" / "imap" / f"{name}.txt").exists(), name)

    def test_what_all_pages_name_exists(self) -> None:
        for page in sorted((ROOT / "docs").rglob("*.md")):
            self.assertEqual(missing(page.read_text()), [], str(page))

    def test_every_link_between_the_pages_leads_somewhere(self) -> None:
        for page in sorted((ROOT / "docs").rglob("*.md")):
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
