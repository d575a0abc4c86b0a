"""What `twistd sora` calls: the options and the service made from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from twisted.application.service import IService
from twisted.python import usage

from sora.observe.log import observer


class Options(usage.Options):
    """`twistd sora [--config FILE] [--state DIR]`."""

    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", "c", None, "The configuration file (TOML); without one the embedded defaults are used."],
        ["state", "s", None, "The state directory of the embedded defaults (default: var)."],
    ]

    def path(self, name: str) -> Path | None:
        """Return an option as a path, if it was given."""
        value = self[name]
        return None if value is None else Path(value)

    @property
    def attached(self) -> bool:
        """Whether twistd stays at its terminal and was not told where to log."""
        twistd: Mapping[str, object] = self.parent or {}
        return bool(twistd.get("nodaemon")) and not any(twistd.get(name) for name in ("logfile", "syslog", "logger"))

    @property
    def logs_elsewhere(self) -> bool:
        """Whether twistd's log goes somewhere else than to its standard error."""
        twistd: Mapping[str, object] = self.parent or {}
        elsewhere = any(twistd.get(name) for name in ("logfile", "syslog")) or twistd.get("logger") not in (
            None,
            observer,
        )
        return elsewhere or not twistd.get("nodaemon")


def makeService(options: Options, only: str | None = None) -> IService:
    """Build the service; `only` restricts it to servers of one type. Ends with the complaints if it cannot be."""
    from sora.core.errors import ConfigurationInvalid
    from sora.service.run import service_for

    try:
        return service_for(
            options.path("config"),
            options.path("state"),
            only=only,
            attached=options.attached,
            passed_on=options.logs_elsewhere,
        )
    except ConfigurationInvalid as error:
        raise SystemExit("\n".join(f"sora: {complaint}" for complaint in error.complaints)) from None
