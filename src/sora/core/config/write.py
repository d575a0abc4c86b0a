"""Writes what follows from the configuration classes: `etc/sora.toml` and `docs/operate/configuration.md`.

`python -m sora.core.config.write [FOLDER]` writes both below a checkout's folder (default: the current one).
"""

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import attrs
import toml

from sora.core.config.kinds import Kind
from sora.core.config.model import Configuration
from sora.core.config.servers import BUILT, TYPES, Server, defaults
from sora.core.config.setting import Setting, Table, described

FILE: Final = Path("etc/sora.toml")
DOCUMENT: Final = Path("docs/operate/configuration.md")
_WIDTH: Final = 110

_FILE_HEAD: Final = """\
# The configuration of sora: every setting with its default, commented out. A setting that has no default is shown
# with an example. Uncomment what you change; `sora-admin config check --config FILE` tells what is wrong with it.
# Durations are written "30s", "1h30m", "14d"; sizes "64kb", "25mb", "1gb". A secret may be written "env:NAME" (an
# environment variable) or "file:PATH" (a file's content). Relative paths start at the folder of this file.
# Without [database] and [s3] the server runs a PostgreSQL of its own and keeps bodies in a directory.
"""

_DOCUMENT_HEAD: Final = """\
# Configuration

This page is generated from the classes in `src/sora/core/config`, as is [`etc/sora.toml`](../../etc/sora.toml), a
complete file to start from. `make docs` writes both.

`twistd -n sora --config FILE` reads one TOML 1.0 file. Without a file everything has its default: an embedded
PostgreSQL, a directory of bodies, IMAP on 127.0.0.1:1143 (TLS on 1993) and LMTP on 127.0.0.1:2003.

* Check a file with `sora-admin config check --config FILE`; show what is in force, secrets masked, with
  `sora-admin config show --config FILE`. All mistakes are reported at once, each with its line and key. A key that
  nothing reads is a mistake.
* A **duration** is written `"30s"`, `"1h30m"`, `"14d"`, `"2w"`; a **size** `"64kb"`, `"25mb"`, `"1gb"` (multiples of
  1024) or a number of octets.
* A **secret** is written as it is, or better as `"env:NAME"` (an environment variable) or `"file:PATH"` (the content
  of a file, without the line's end). It is never shown, logged or dumped.
* A relative **path** starts at the folder of the configuration file.
* Sections marked *later* are read and checked, but what they configure is not part of this version: a server that
  is asked for it says so and does not start.
"""

_LATER: Final = frozenset({"shared_mailboxes", "sieve", "relay", "relay_queue", "cluster"})


def _line(text: str) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(text).split("\n\n", 1)[0].split())


def _as_toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return toml.dumps({"x": value}).removeprefix("x = ").strip()


def _inline(setting: Setting, default: Any) -> str:
    """Return a value to show: the default, or the example where there is none."""
    if default is None or default in ((), {}, ""):
        if isinstance(setting.example, dict):
            return "{ " + ", ".join(f"{name} = {_as_toml(value)}" for name, value in setting.example.items()) + " }"
        if setting.example is not None:
            return _as_toml(setting.example)
        return '""' if default == "" else "[]"
    return setting.kind.show(default)


def _comment(text: str) -> list[str]:
    return ["# " + line for line in textwrap.wrap(text, _WIDTH)]


def _assignments(section: type, *, only: str | None = None, given: dict[str, str] | None = None) -> list[str]:
    """Return the settings of a section as commented lines; `only` is a server type, `given` are values to show."""
    lines = []
    for name, (description, default) in described(section).items():
        if isinstance(description, Table) or (only and description.types and only not in description.types):
            continue
        shown = (given or {}).get(name) or _inline(description, default)
        lines += [*_comment(description.help), f"#{name} = {shown}", ""]
    return lines


def _section(name: str, section: type) -> list[str]:
    lines = [*_comment(_line(section.__doc__ or "")), f"#[{name}]", *_assignments(section)]
    for inner, (description, _) in described(section).items():
        if isinstance(description, Table):
            if description.many:
                lines += [*_comment(_line(description.section.__doc__ or "")), f"#[[{name}.{inner}]]"]
                lines += _assignments(description.section)
            else:
                lines += _section(f"{name}.{inner}", description.section)
    return lines


def _server(server: Server) -> list[str]:
    given = {"type": _as_toml(server.type), "addr": _as_toml(server.addr), "tls": str(server.tls).lower()}
    lines = [f"#[servers.{server.name}]"]
    if server.name == server.type:
        return lines + _assignments(Server, only=server.type, given=given)
    return [*lines, *(f"#{name} = {value}" for name, value in given.items()), ""]


def configuration_file() -> str:
    """Return the text of `etc/sora.toml`."""
    lines = [*_FILE_HEAD.splitlines(), ""]
    for name, (description, _) in described(Configuration).items():
        if name == "shared_mailboxes":
            lines += [*_comment(_line(Server.__doc__ or "") + " With no server named, these three are started."), ""]
            for server in defaults().values():
                lines += _server(server)
            lines += [*_comment("The sections from here on are of features that this version does not have yet."), ""]
        if isinstance(description, Table):
            lines += _section(name, description.section)
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown_default(default: Any, kind: Kind) -> str:
    if default is None or default in ((), {}, ""):
        return ""
    return f"`{kind.show(default)}`"


def _rows(section: type, *, with_types: bool = False) -> list[str]:
    head = ["Setting", "Kind", "Default", "Meaning"]
    rows = [[*head, "Server types"] if with_types else head]
    rows.append(["---"] * len(rows[0]))
    for name, (description, default) in described(section).items():
        if isinstance(description, Table):
            continue
        meaning = description.help
        if description.example is not None:
            meaning += f" Example: `{_inline(attrs.evolve(description), None)}`."
        row = [f"`{name}`", description.kind.name, _shown_default(default, description.kind), meaning]
        if with_types:
            row.append(", ".join(one for one in TYPES if one in description.types) or "all")
        rows.append(row)
    return ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _chapter(name: str, section: type) -> list[str]:
    later = " (later)" if name in _LATER else ""
    lines = ["", f"## `[{name}]`{later}", "", _line(section.__doc__ or ""), "", *_rows(section)]
    for inner, (description, _) in described(section).items():
        if isinstance(description, Table):
            title = f"[[{name}.{inner}]]" if description.many else f"[{name}.{inner}]"
            lines += ["", f"### `{title}`", "", _line(description.section.__doc__ or ""), ""]
            lines += _rows(description.section)
    return lines


def _servers_chapter() -> list[str]:
    built = ", ".join(f"`{one}`" for one in TYPES if one in BUILT)
    later = ", ".join(f"`{one}`" for one in TYPES if one not in BUILT)
    return [
        "",
        "## `[servers.NAME]`",
        "",
        _line(Server.__doc__ or "")
        + f" This version runs the types {built}; later ones will run {later}. `[[server]]` entries with a `name` are"
        " read as well. `[[servers.NAME.client_filters]]` has the settings of `[[server.client_filters]]`.",
        "",
        *_rows(Server, with_types=True),
    ]


def document() -> str:
    """Return the text of `docs/operate/configuration.md`."""
    lines = _DOCUMENT_HEAD.splitlines()
    for name, (description, _) in described(Configuration).items():
        if name == "shared_mailboxes":
            lines += _servers_chapter()
        if isinstance(description, Table):
            lines += _chapter(name, description.section)
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write both files below a checkout's folder."""
    for path, text in ((FILE, configuration_file()), (DOCUMENT, document())):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
