"""Reads a configuration file, and says everything that is wrong with it at once."""

from pathlib import Path

from sora.core.config.model import Configuration


def load(path: Path | None) -> Configuration:
    """Read a configuration; None: the embedded defaults. Raises `ConfigurationInvalid` with all complaints."""
    raise ValueError(path)
