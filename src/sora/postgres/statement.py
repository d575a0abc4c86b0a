"""SQL with named parameters, and the name under which a connection prepares it."""

# ruff: noqa: S608  the pieces are constants of this folder

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from sora.core.uidset import runs

_PARAMETER: Final = re.compile(r"%\((\w+)\)s|%%")

Parameters = Mapping[str, Any]


class Statement:
    """One SQL text, written with `%(name)s`; prepared on each connection when first used there.

    The text is a constant of a module: values reach it as parameters only. Not for statements
    whose text differs from call to call: pass those as `str`.
    """

    __slots__ = ("execute", "name", "names", "prepare", "text")
    # text: as written; names: of its parameters, in order; prepare: prepares it and executes it, in one round trip;
    # execute: once it is prepared

    def __init__(self, text: str) -> None:
        self.text = text
        names: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            name = match.group(1)
            if name is None:
                return "%%"
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}"

        body = _PARAMETER.sub(numbered, text)
        self.names = tuple(names)
        self.name = "sora_" + hashlib.blake2s(text.encode(), digest_size=8).hexdigest()
        values = ", ".join(f"%({name})s" for name in names)
        self.execute = f"EXECUTE {self.name}({values})" if names else f"EXECUTE {self.name}"
        self.prepare = f"PREPARE {self.name} AS {body}; {self.execute}"


def integers(values: Iterable[int | None]) -> str:
    """Write integers as an array literal: cheaper to make and to read than a list of parameters."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def runs_of(uids: Sequence[int]) -> str:
    """Write UIDs as an array literal, first and last of each run in turn; each UID is in one run, in any order."""
    found = runs(uids)
    if any(low <= before for (_, before), (low, _) in pairwise(found)):
        found = runs(sorted(set(uids)))
    return "{" + ",".join([f"{low},{high}" for low, high in found]) + "}"


def function(name: str, parameters: Sequence[str]) -> Statement:
    """Return the statement that calls an SQL function by its parameters' names."""
    return Statement(f"SELECT * FROM {name}({', '.join(f'%({p})s' for p in parameters)})")
