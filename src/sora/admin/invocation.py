"""One call of `sora-admin`: its configuration, its reactor, its storage, and how errors become exit codes.

Exit codes: 0 done; 1 refused, or something was found wrong; 2 misused, or the configuration is wrong; 75 something
outside is away and the same command may succeed later (EX_TEMPFAIL).
"""

import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, TypeVar

import attrs
import click
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from sora.core.config.load import load
from sora.core.config.model import Configuration
from sora.core.errors import ConfigurationInvalid, SoraError
from sora.store.interfaces import ObjectStore, Store

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Work = Coroutine[Deferred[Any], Any, T]

REFUSED: Final = 1
MISUSED: Final = 2
TEMPORARY: Final = 75


class Storage(Protocol):
    """What a command works on; `service.storage` opens it."""

    @property
    def store(self) -> Store:
        """The database."""

    @property
    def objects(self) -> ObjectStore:
        """The object store."""

    async def close(self) -> None:
        """Close everything."""


class Opener(Protocol):
    """Opens the storage of a configuration."""

    def __call__(self, configuration: Configuration, reactor: Any, /) -> Awaitable[Storage]:
        """Return the open storage."""


async def open_configured(configuration: Configuration, reactor: Any) -> Storage:
    """Open the storage that a configuration names, as the server does."""
    from sora.service.storage import open_storage

    # A protocol's attributes are invariant, the PostgreSQL store's are of its own classes.
    storage: Any = await open_storage(configuration, reactor)
    return storage  # type: ignore[no-any-return]


def run_in_reactor(main: Callable[[Any], "Work[T]"]) -> T:
    """Run a coroutine in the reactor, which a process can do once; raises what it raises."""
    from twisted.internet import reactor

    running: Any = reactor
    ended: list[T | Failure] = []

    def end(result: "T | Failure") -> None:
        ended.append(result)
        running.stop()

    running.callWhenRunning(lambda: Deferred.fromCoroutine(main(running)).addBoth(end))
    running.run()
    if not ended:
        raise KeyboardInterrupt
    result = ended[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


@attrs.define
class Invocation:
    """What holds for one call; tests put a store in memory in the place of the configured one."""

    config: Path | None = None
    state: Path | None = None
    open_storage: Opener = open_configured
    run: Callable[[Callable[[Any], "Work[Any]"]], Any] = run_in_reactor
    default_mailboxes: Callable[[], Any] | None = None

    def configuration(self) -> Configuration:
        """Read the configuration; every complaint goes to standard error and ends the command."""
        try:
            return load(self.config).in_state(self.state)
        except ConfigurationInvalid as error:
            _end(error)

    def with_storage(self, work: Callable[[Storage, IReactorTime], "Work[T]"]) -> T:
        """Open the storage, do the work, close the storage; an expected error ends the command with its text."""
        configuration = self.configuration()

        async def main(reactor: Any) -> T:
            storage = await self.open_storage(configuration, reactor)
            try:
                return await work(storage, reactor)
            finally:
                await storage.close()

        try:
            return self.run(main)  # type: ignore[no-any-return]
        except SoraError as error:
            _end(error)
        except KeyboardInterrupt:
            raise click.Abort from None


def _end(error: SoraError) -> NoReturn:
    for line in error.complaints if isinstance(error, ConfigurationInvalid) else [str(error) or type(error).__name__]:
        click.echo(f"sora-admin: {line}", err=True)
    sys.exit(MISUSED if isinstance(error, ConfigurationInvalid) else TEMPORARY if error.temporary else REFUSED)


def refuse(text: str) -> NoReturn:
    """End the command as refused, with the reason on standard error."""
    click.echo(f"sora-admin: {text}", err=True)
    sys.exit(REFUSED)


def _remember(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Invocation), parameter.name, value)


def config_option(command: F) -> F:
    """Accept `--config` and `--state`, before and after any subcommand."""
    config = click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="SORA_CONFIG",
        expose_value=False,
        callback=_remember,
        help="The configuration file; without one the embedded defaults.",
    )
    state = click.option(
        "--state",
        "-s",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="SORA_STATE",
        expose_value=False,
        callback=_remember,
        help="The state directory of the embedded defaults.",
    )
    return config(state(command))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def print_json(value: Any) -> None:
    """Print a value as JSON: attrs instances by their fields, dates in ISO 8601, enums by their words."""
    if attrs.has(type(value)):
        value = attrs.asdict(value)
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))
