"""Reads a configuration file, and says everything that is wrong with it at once, each with its line and key."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from sora.core.config.kinds import Place
from sora.core.config.locate import Key, Lines
from sora.core.config.model import Configuration
from sora.core.config.rules import contradictions
from sora.core.config.servers import TYPES, Server
from sora.core.config.setting import Setting, Table, described
from sora.core.errors import ConfigurationInvalid


def written(key: Key) -> str:
    """Write a key path as people do: `server[2].client_filters[0].reason`."""
    text = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Reading:
    """One reading of one file: where things are, and what was wrong so far."""

    def __init__(self, file: Path | None, document: str, environment: Mapping[str, str] | None) -> None:
        self._file = file
        self._lines = Lines(document)
        directory = None if file is None else file.absolute().parent
        self.place = Place(directory) if environment is None else Place(directory, dict(environment))
        self._complaints: list[tuple[int, str]] = []
        self._wrong: list[Key] = []
        self._server_keys: dict[Key, Key] = {}

    def complain(self, key: Key, text: str) -> None:
        """Note what is wrong at a key."""
        self._wrong.append(key)
        line = self._lines.line(key)
        where = f"{self._file}:{line}" if line is not None else str(self._file)
        self._complaints.append((line or 0, f"{where}: {written(key)}: {text}" if key else f"{where}: {text}"))

    def contradiction(self, key: Key, text: str) -> None:
        """Note what settings do not agree on, unless one of them is known to be wrong already."""
        key = self._server_keys.get(key[:2], key[:2]) + key[2:]
        if not any(wrong[: len(key)] == key or key[: len(wrong)] == wrong for wrong in self._wrong):
            self.complain(key, text)

    @property
    def complaints(self) -> list[str]:
        """All that is wrong, by line."""
        return [text for _, text in sorted(self._complaints, key=lambda complaint: complaint[0])]

    # ------------------------------------------------------------ tables

    def section(self, kind: type, given: Any, key: Key, **fixed: Any) -> Any:
        """Read a table into an instance of its class; what is wrong is noted and has its default."""
        if not isinstance(given, dict):
            self.complain(key, f"must be a table: [{written(key)}]")
            return kind(**fixed)
        known = described(kind)
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                self.unknown((*key, name), list(known))
                continue
            description, default = known[name]
            read = self._value(description, value, (*key, name))
            values[name] = default if read is None else read
        return kind(**values, **fixed)

    def _value(self, description: Setting | Table, value: Any, key: Key) -> Any:
        if isinstance(description, Table):
            if not description.many:
                return self.section(description.section, value, key)
            if not isinstance(value, list):
                self.complain(key, f"must be an array of tables: [[{written(key)}]]")
                return None
            return tuple(self.section(description.section, one, (*key, index)) for index, one in enumerate(value))
        try:
            return description.kind.read(value, self.place)
        except ValueError as error:
            self.complain(key, str(error))
            return None

    def unknown(self, key: Key, known: list[str]) -> None:
        """Note a key that nothing reads, and what it may have been meant to be."""
        close = difflib.get_close_matches(str(key[-1]), known, 1)
        self.complain(key, "unknown key" + (f"; did you mean {close[0]}?" if close else ""))

    # ------------------------------------------------------------ servers

    def servers(self, document: dict[str, Any]) -> dict[str, Server]:
        """Read `[servers.NAME]` tables and `[[server]]` entries."""
        found: dict[str, Server] = {}
        tables = document.pop("servers", {})
        if not isinstance(tables, dict):
            self.complain(("servers",), "must hold tables: [servers.NAME]")
            tables = {}
        for name, given in tables.items():
            if name == "trusted_networks":
                continue
            found[name] = self._server(name, given, ("servers", name))
        entries = document.get("server")
        if isinstance(entries, list):
            del document["server"]
            self._entries(entries, found, document)
        shared = tables.get("trusted_networks")
        everyone = document.setdefault("server", {}) if shared is not None else None
        if isinstance(everyone, dict):
            everyone.setdefault("trusted_networks", shared)
        return found

    def _entries(self, entries: list[Any], found: dict[str, Server], document: dict[str, Any]) -> None:
        """Read `[[server]]` entries; one with neither name, type nor addr holds what is meant for every server."""
        for index, given in enumerate(entries):
            key: Key = ("server", index)
            if isinstance(given, dict) and not {"name", "type", "addr"} & given.keys():
                document["server"] = given
                continue
            name = given.get("name", given.get("type")) if isinstance(given, dict) else None
            if not isinstance(name, str) or not name:
                self.complain(key, "a server needs a name and a type")
            elif name in found:
                self.complain(key, f"a server named {name} exists already")
            else:
                self._server_keys["servers", name] = key
                settings = {setting: value for setting, value in given.items() if setting != "name"}
                found[name] = self._server(name, settings, key)

    def _server(self, name: str, given: Any, key: Key) -> Server:
        if isinstance(given, dict):
            given = {"type": name, **given}
        server: Server = self.section(Server, given, key, name=name)
        if not isinstance(given, dict) or server.type not in TYPES:
            return server
        for setting, (description, _) in described(Server).items():
            if setting in given and description.types and server.type not in description.types:
                self.complain((*key, setting), f"servers of type {server.type} have no such setting")
        return server


def parse(document: str, file: Path | None = None, environment: Mapping[str, str] | None = None) -> Configuration:
    """Read the text of a configuration. Raises `ConfigurationInvalid` with all complaints.

    `file` is named in complaints, and relative paths start at its folder; `environment` replaces the process's own.
    """
    try:
        content = tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid([f"{file}: not valid TOML: {error}"]) from None
    reading = _Reading(file, document, environment)
    servers = reading.servers(content)
    sections = {name: value for name, value in content.items()}
    database = sections.get("database")
    if isinstance(database, dict) and isinstance(database.get("write"), dict):
        # The endpoint for writing may stand in a table of its own, beside [database.read].
        sections["database"] = {**database.pop("write"), **database}
    configuration: Configuration = reading.section(Configuration, sections, ())
    if servers:
        configuration = attrs.evolve(configuration, servers=servers)
    for key, text in contradictions(configuration):
        reading.contradiction(key, text)
    if reading.complaints:
        raise ConfigurationInvalid(reading.complaints)
    return configuration


def load(path: Path | None) -> Configuration:
    """Read a configuration file; None: the embedded defaults. Raises `ConfigurationInvalid` with all complaints."""
    if path is None:
        return Configuration()
    try:
        document = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationInvalid([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationInvalid([f"{path}: not UTF-8 at octet {error.start}"]) from None
    return parse(document.replace("\r\n", "\n"), path)
