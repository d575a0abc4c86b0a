"""How a class of settings is described: the metadata that reader, writer and documentation use."""

from collections.abc import Iterable
from typing import Any, Final

import attrs

from sora.core.config.kinds import Kind

_KEY: Final = "sora"


@attrs.frozen
class Setting:
    """One setting: what it may be and what it is for."""

    kind: Kind
    help: str
    example: Any = None
    """A value as TOML has it, shown when the default says little."""
    types: frozenset[str] = frozenset()
    """The server types that have this setting; empty: all."""


@attrs.frozen
class Table:
    """A table within a table."""

    section: type
    many: bool = False
    """Whether it is an array of tables."""
    types: frozenset[str] = frozenset()


def setting(kind: Kind, default: Any, help: str, *, example: Any = None, types: Iterable[str] = ()) -> Any:
    """Declare a setting of an attrs class; a default of None means that leaving it out has a meaning of its own."""
    return attrs.field(default=default, metadata={_KEY: Setting(kind, help, example, frozenset(types))})


def table(section: type, *, optional: bool = False) -> Any:
    """Declare a nested table; an optional one is None when the file does not have it."""
    metadata = {_KEY: Table(section)}
    if optional:
        return attrs.field(default=None, metadata=metadata)
    return attrs.field(factory=section, metadata=metadata)


def tables(section: type, *, types: Iterable[str] = ()) -> Any:
    """Declare an array of tables, empty unless the file has some."""
    return attrs.field(default=(), metadata={_KEY: Table(section, many=True, types=frozenset(types))})


def described(section: type) -> dict[str, tuple[Setting | Table, Any]]:
    """Return name, description and default of all that a section holds, in its order."""
    found = {}
    for field in attrs.fields(section):
        description = field.metadata.get(_KEY)
        if description is not None:
            default: Any = field.default
            if hasattr(default, "factory"):
                default = default.factory()
            found[field.name] = (description, default)
    return found
