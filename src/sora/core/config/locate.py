"""Finds the line on which a key of a TOML document stands, which the parser does not tell."""

import re
from typing import Final

import attrs

Key = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|#[^\n]*|[^\"'#\[\]{}=\n]+|.",
    re.DOTALL,
)
_PART = re.compile(r"\s*(?:\"((?:\\.|[^\"\\])*)\"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.|\Z)")
_OPENING: Final = "[{"
_CLOSING: Final = "]}"


@attrs.define
class _Statement:
    """One header or assignment: its first line, its key and whether it is a header."""

    line: int
    text: str = ""
    header: str = ""


def _statements(document: str) -> list[_Statement]:
    """Split a well-formed document; a value may go over many lines."""
    found: list[_Statement] = []
    line, depth, start, key, seen_equals = 1, 0, 1, "", False
    for match in _TOKEN.finditer(document):
        piece = match.group()
        if piece == "\n" and depth == 0:
            if key.strip():
                text = key.strip()
                header = "" if seen_equals else "[[" if text.startswith("[[") else "["
                found.append(_Statement(start, text.strip("[] \t\r") if header else text, header))
            key, seen_equals, start = "", False, line + 1
        elif piece == "=" and depth == 0:
            seen_equals = True
        elif piece in _OPENING:
            depth += 1
        elif piece in _CLOSING:
            depth -= 1
        if not seen_equals and piece != "\n" and not piece.startswith("#"):
            key += piece
        line += piece.count("\n")
    return found


def _parts(text: str) -> list[str]:
    parts, position = [], 0
    while match := _PART.match(text, position):
        parts.append(next(group for group in match.groups() if group is not None))
        position = match.end()
        if position >= len(text):
            break
    return parts


class Lines:
    """The lines of all keys and tables of one document, which the parser has accepted."""

    def __init__(self, document: str) -> None:
        self._lines: dict[Key, int] = {}
        self._arrays: dict[Key, int] = {}
        prefix: Key = ()
        for statement in _statements(document + "\n"):
            parts = _parts(statement.text)
            if statement.header:
                prefix = self._inside(parts[:-1]) + tuple(parts[-1:])
                if statement.header == "[[":
                    self._lines.setdefault(prefix, statement.line)
                    self._arrays[prefix] = self._arrays.get(prefix, -1) + 1
                    prefix = (*prefix, self._arrays[prefix])
                self._lines.setdefault(prefix, statement.line)
                continue
            for end in range(1, len(parts) + 1):
                self._lines.setdefault((*prefix, *parts[:end]), statement.line)

    def _inside(self, parts: list[str]) -> Key:
        """Return the path of a header, with the index of the latest element of each array on the way."""
        path: Key = ()
        for part in parts:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def line(self, key: Key) -> int | None:
        """Return the line of a key, or of the innermost table around it that has one (the first that names it)."""
        for end in range(len(key), 0, -1):
            if key[:end] in self._lines:
                return self._lines[key[:end]]
        return next((line for known, line in self._lines.items() if known[: len(key)] == key), None)
