"""How a log line looks: one line an event, as text or JSON, with session, account and protocol.

twistd is started with `--logger sora.observe.log.observer`; the configuration sets level and form later.
Whoever holds a conversation sets the context variables, and every line written on its behalf carries them.
Values are escaped, so that nothing a peer sends can start a line of its own.
"""

import json
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import attrs
from twisted.logger import ILogObserver, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

session: ContextVar[str] = ContextVar("session", default="")
account: ContextVar[str] = ContextVar("account", default="")
protocol: ContextVar[str] = ContextVar("protocol", default="")

_CONTEXT: Final = (("protocol", protocol), ("session", session), ("account", account))
_LEVELS: Final = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
}


@attrs.define
class Form:
    """What is shown and how; one per process, changed by `configure`."""

    level: Any = LogLevel.info
    json: bool = False
    stream: TextIO | None = None
    """Where lines go; None: where the observer was told to write."""
    slot: str = ""
    """Which of several processes this is; empty if there is one."""
    debug: bool = False
    """Whether debug lines are shown: hot paths ask this before they build one."""


form: Final = Form()


def configure(*, level: str, json_lines: bool, output: str = "stderr") -> None:
    """Set what is shown and where: `stderr`, `stdout` or the path of a file to append to.

    Raises `KeyError` for an unknown level, `OSError` for a file that cannot be written.
    """
    before = form.stream
    if output in ("stdout", "stderr"):
        form.stream = sys.__stdout__ if output == "stdout" else None
    else:
        form.stream = open(output, "a", encoding="utf-8", buffering=1)  # noqa: SIM115  open as long as we run
    if before is not None and before is not sys.__stdout__:
        before.close()
    form.level = _LEVELS[level]
    form.json = json_lines
    form.debug = form.level == LogLevel.debug


def _context() -> dict[str, str]:
    here = {name: value for name, variable in _CONTEXT if (value := variable.get())}
    return {"slot": form.slot, **here} if form.slot else here


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text


def _indented(text: str) -> str:
    return "\n  ".join(_escaped(line) for line in text.split("\n"))


def render(event: dict[str, Any]) -> str | None:
    """Return the line for an event, or None if its level is not shown."""
    level = event.get("log_level", LogLevel.info)
    if level < form.level:
        return None
    when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="milliseconds")
    message = formatEvent(event)
    failure = event.get("log_failure")
    trace = failure.getTraceback() if isinstance(failure, Failure) else ""
    if form.json:
        fields = {"time": when, "level": level.name, "source": event.get("log_namespace", ""), "message": message}
        fields.update(_context())
        if trace:
            fields["traceback"] = trace
        return json.dumps(fields, ensure_ascii=False) + "\n"
    context = "".join(f" {name}={_escaped(value)}" for name, value in _context().items())
    shown = f"{when} {level.name:5} {_indented(message)}{context}\n"
    return f"{shown}  {_indented(trace.rstrip())}\n" if trace else shown


@implementer(ILogObserver)
class _Observer:
    """Writes the lines of events; without a standard error and a configured output it is silent."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __call__(self, event: dict[str, Any]) -> None:
        stream = form.stream or self._stream
        line = render(event)
        if stream is not None and line is not None:
            stream.write(line)
            stream.flush()


def observer(stream: TextIO | None = None) -> ILogObserver:
    """Return the observer that twistd uses, writing to standard error unless told otherwise."""
    return _Observer(stream if stream is not None else sys.stderr)
