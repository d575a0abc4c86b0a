"""Sizes and durations as people write them in a configuration file: `25mb`, `14d`, `1h30m`."""

import re
from typing import Final

_SIZE = re.compile(r"\s*(\d+)\s*([kmgt]?)(?:i?b)?\s*\Z", re.IGNORECASE)
_SIZE_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|s|m|h|d|w)")
_DURATION_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_size(text: str) -> int:
    """Return octets: `25mb`, `1 GiB`, `4096`; units are multiples of 1024. Raises `ValueError`."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size (write 4096, 64kb, 25mb, 1gb)")
    return int(match.group(1)) * _SIZE_UNITS[match.group(2).lower()]


def parse_duration(text: str) -> float:
    """Return seconds: `300ms`, `30s`, `1h30m`, `14d`, `1d12h`, `2w`. Raises `ValueError`."""
    stripped = text.strip().lower()
    if stripped == "0":
        return 0.0
    position, seconds = 0, 0.0
    while match := _DURATION.match(stripped, position):
        seconds += float(match.group(1)) * _DURATION_UNITS[match.group(2)]
        position = match.end()
    if position == 0 or position != len(stripped):
        raise ValueError(f"{text!r} is not a duration (write 30s, 1h30m, 14d)")
    return seconds


def format_size(octets: int) -> str:
    """Return the shortest exact way to write a size."""
    for unit in ("t", "g", "m", "k"):
        if octets and octets % _SIZE_UNITS[unit] == 0:
            return f"{octets // _SIZE_UNITS[unit]}{unit}b"
    return str(octets)


def format_duration(seconds: float) -> str:
    """Return the shortest exact way to write a duration."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds // _DURATION_UNITS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms"
