"""Maildirs as the programs keep them: messages with LF line ends, flags as letters of the file's name."""

import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from tests.integration.clients.oracle import digest, without_fields

LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


@attrs.frozen
class Filed:
    """A message of a Maildir, with the line ends of the wire."""

    path: Path
    flags: frozenset[str]
    data: bytes

    def content(self, strip: tuple[bytes, ...] = ()) -> str:
        """Return the digest, header fields that a program added for itself (`strip`) left out."""
        return digest(without_fields(self.data, strip))


def make(folder: Path) -> None:
    """Make an empty Maildir."""
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)


def put(folder: Path, messages: Iterable[bytes], prefix: str, letters: str = "") -> None:
    """Write messages as a mail program of the same machine does."""
    for number, data in enumerate(messages):
        path = folder / "cur" / f"{1_700_000_000 + number}.{prefix}{number}.lab:2,{letters}"
        path.write_bytes(data.replace(b"\r\n", b"\n"))


def filed(folder: Path) -> list[Filed]:
    """Read a Maildir."""
    found = []
    for part in ("cur", "new"):
        for path in sorted((folder / part).iterdir()):
            data = path.read_bytes().replace(b"\n", b"\r\n")
            found.append(
                Filed(path, frozenset(LETTERS[letter] for letter in _letters(path) if letter in LETTERS), data)
            )
    return found


def by_content(folder: Path, strip: tuple[bytes, ...] = ()) -> dict[str, frozenset[str]]:
    """Return flags by digest, header fields that the program added for itself (`strip`) left out."""
    table: dict[str, frozenset[str]] = {}
    for one in filed(folder):
        name = one.content(strip)
        if name in table:
            raise AssertionError(f"twice the same message: {one.path}")
        table[name] = one.flags
    return table


def reflag(path: Path, letters: str) -> None:
    """Give a message exactly these flags, as a mail program does: by renaming it."""
    name = path.name.split(":2,")[0]
    path.rename(path.parent.parent / "cur" / f"{name}:2,{''.join(sorted(letters))}")


def remove(path: Path) -> None:
    """Delete a message's file."""
    os.unlink(path)


def _letters(path: Path) -> str:
    return path.name.partition(":2,")[2]
