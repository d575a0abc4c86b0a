"""The kinds of values that settings have: how each is read from TOML, and how it is written back."""

import ipaddress
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from sora.core import units
from sora.core.config.secret import MASK, Secret

SHOWN_MAX: Final = 60
"""Characters of a wrong value that a complaint repeats."""
SIZE_MAX: Final = 2**53
DURATION_MAX: Final = 100 * 366 * 86_400.0


@attrs.frozen
class Place:
    """Where a value stands: what relative paths and `env:` references in it refer to."""

    directory: Path | None = None
    environment: dict[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)

    def path(self, text: str) -> Path:
        """Return a path; a relative one starts at the folder of the configuration file."""
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise ValueError(f"{text}: the home directory is not known") from None
        return path if self.directory is None or path.is_absolute() else self.directory / path


@attrs.frozen
class Kind:
    """One kind of value: its name for people, its reading (raises `ValueError`) and its writing as TOML."""

    name: str
    read: Callable[[Any, Place], Any]
    show: Callable[[Any], str]
    secret: bool = False


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _wrong(value: object, wanted: str) -> ValueError:
    shown = repr(value)
    if len(shown) > SHOWN_MAX:
        shown = shown[:SHOWN_MAX] + "…"
    return ValueError(f"must be {wanted}, not {shown}")


def _text(value: Any, _: Place) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    return value.strip()


def _boolean(value: Any, _: Place) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false, without quotes")
    return value


def _size(value: Any, _: Place) -> int:
    size = value
    if isinstance(value, str):
        size = units.parse_size(value)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= SIZE_MAX:
        raise _wrong(value, 'a size such as "25mb"')
    return size


def _duration(value: Any, _: Place) -> float:
    if not isinstance(value, str):
        raise _wrong(value, 'a duration such as "30s", "1h30m" or "14d"')
    seconds = units.parse_duration(value)
    if seconds > DURATION_MAX:
        raise _wrong(value, "a duration of at most a hundred years")
    return seconds


def _path(value: Any, place: Place) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(value, "a path")
    return place.path(value)


def read_secret(value: Any, place: Place) -> Secret:
    """Read a secret or what refers to one: `env:NAME`, `file:PATH`. Never repeats the value in an error."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if name not in place.environment:
            raise ValueError(f"the environment variable {name} is not set")
        return Secret(place.environment[name])
    if value.startswith("file:"):
        path = place.path(value.removeprefix("file:"))
        try:
            text = path.read_text("utf-8")
        except OSError as error:
            raise ValueError(f"cannot read the file {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the file {path} is not text in UTF-8") from None
        return Secret(text.rstrip("\r\n"))
    return Secret(value)


@attrs.frozen
class SocketAddress:
    """Where to listen: a host (empty: all interfaces) and port, or the path of a unix socket."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def overlaps(self, other: "SocketAddress") -> bool:
        """Whether both cannot be listened on at once."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        wildcards = ("", "::", "0.0.0.0")  # noqa: S104  compared with, not bound
        return self.host == other.host or self.host in wildcards or other.host in wildcards


_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]/]*)):(?P<port>\d{1,5})\Z")


def parse_listen(text: str) -> SocketAddress:
    """Parse `:143`, `127.0.0.1:1143`, `[::1]:143`, `localhost:143`, `unix:/path`. Raises `ValueError`."""
    if text.startswith("unix:/"):
        return SocketAddress("", 0, text.removeprefix("unix:"))
    match = _LISTEN.match(text)
    if match is None or int(match["port"]) > 65_535:
        raise _wrong(text, 'an address such as ":143", "127.0.0.1:1143", "[::1]:143" or "unix:/path"')
    host = match["v6"] or match["host"]
    host = {"localhost": "127.0.0.1", "*": ""}.get(host, host)
    if host:
        try:
            host = str(ipaddress.ip_address(host))
        except ValueError:
            raise _wrong(text, "an address to listen on: an IP address, not a name") from None
    return SocketAddress(host, int(match["port"]))


def _listen(value: Any, _: Place) -> str:
    if not isinstance(value, str):
        raise _wrong(value, 'an address such as ":143"')
    parse_listen(value)
    return value


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: Any, _: Place) -> Network:
    try:
        # A number would be taken for an address too.
        if not isinstance(value, str):
            raise ValueError(value)
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise _wrong(value, 'a network such as "10.0.0.0/8" or "::1"') from None


def _hostport(value: Any, _: Place) -> str:
    text = _text(value, _)
    match = re.match(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?\Z", text)
    if match is None or (match[1] is not None and not 0 < int(match[1]) < 65_536):
        raise _wrong(value, 'a host with or without a port, such as "backend1:143"')
    return text


def _host(value: Any, _: Place) -> str:
    text = _text(value, _)
    if text.startswith("/"):
        return text
    wanted = "a host name, an IP address or the directory of a unix socket (the port has its own setting)"
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            raise _wrong(value, wanted) from None
    elif re.match(r"[A-Za-z0-9_.-]+\Z", text) is None:
        raise _wrong(value, wanted)
    return text


def _regex(value: Any, _: Place) -> str:
    try:
        re.compile(_text(value, _))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return str(value)


TEXT: Final = Kind("text", _text, _quoted)
BOOLEAN: Final = Kind("true or false", _boolean, lambda value: "true" if value else "false")
SIZE: Final = Kind("size", _size, lambda value: _quoted(units.format_size(value)))
DURATION: Final = Kind("duration", _duration, lambda value: _quoted(units.format_duration(value) if value else "0"))
PATH: Final = Kind("path", _path, _quoted)
SECRET: Final = Kind("secret", read_secret, lambda _: _quoted(MASK), True)
LISTEN: Final = Kind("address", _listen, _quoted)
NETWORK: Final = Kind("network", _network, _quoted)
HOSTPORT: Final = Kind("host[:port]", _hostport, _quoted)
HOST: Final = Kind("host", _host, _quoted)
REGEX: Final = Kind("regular expression", _regex, _quoted)


def integer(low: int, high: int) -> Kind:
    """Return the kind of whole numbers from `low` to `high`."""

    def read(value: Any, _: Place) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _wrong(value, f"a whole number from {low} to {high}")
        return value

    return Kind(f"whole number, {low} to {high}", read, str)


def within(kind: Kind, low: float, high: float = math.inf) -> Kind:
    """Return a size or duration that is limited to a range."""

    def read(value: Any, place: Place) -> Any:
        number = kind.read(value, place)
        if number < low:
            raise ValueError(f"must be at least {kind.show(low)}")
        if number > high:
            raise ValueError(f"must be at most {kind.show(high)}")
        return number

    return Kind(kind.name, read, kind.show)


def choice(*words: str) -> Kind:
    """Return the kind of one of several words."""

    def read(value: Any, _: Place) -> str:
        if value not in words:
            raise _wrong(value, "one of " + ", ".join(words))
        return str(value)

    return Kind("one of " + ", ".join(f"`{word}`" for word in words), read, _quoted)


def many(kind: Kind) -> Kind:
    """Return the kind of lists of `kind`, read as a tuple."""

    def read(value: Any, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list") if kind.secret else _wrong(value, f"a list ([…]) of {kind.name}")
        return tuple(kind.read(one, place) for one in value)

    return Kind(f"list of {kind.name}", read, lambda value: "[" + ", ".join(map(kind.show, value)) + "]", kind.secret)


def named(kind: Kind) -> Kind:
    """Return the kind of tables from free names to `kind`, read as a dict."""

    def read(value: Any, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError("must be a table of names")
        return {name: kind.read(one, place) for name, one in value.items()}

    def show(value: dict[str, Any]) -> str:
        return "{ " + ", ".join(f"{name} = {kind.show(one)}" for name, one in value.items()) + " }" if value else "{}"

    return Kind(f"table of {kind.name}", read, show, kind.secret)
