"""Takes the detours out of Twisted's epoll reactor: the only file that knows the reactor's inside.

Twisted gives each event to the log's context first and then finds out what it is; `install` replaces the one
method of the running reactor that waits for events by a function that calls `doRead` or `doWrite` at once. What
happens when they raise or say that a connection ended is Twisted's own. The reactor of another Twisted, in which
what is relied upon is not found, is left as it is.
"""

import select
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger
from twisted.python import log

BATCH: Final = 256
"""Events taken from the kernel at once; Twisted makes room for as many as there are connections, each time."""


_log = Logger()


def prepare(reactor: Any, *, lean: bool) -> bool:
    """Make a reactor lean if that is wanted and possible, and log it; tells whether lean transports fit it."""
    if not lean:
        _log.info("transport: Twisted's own")
        return False
    if not IReactorFDSet.providedBy(reactor):
        _log.warn("transport: Twisted's own, because {reactor} watches no descriptors", reactor=type(reactor).__name__)
        return False
    if install(reactor):
        _log.info("transport: lean, on a lean reactor")
    else:
        _log.warn("transport: lean, on Twisted's {reactor} as it is", reactor=type(reactor).__name__)
    return True


def install(reactor: Any) -> bool:
    """Make a reactor lean, once; tells whether it is. False: not the epoll reactor that is known."""
    if not is_known(reactor):
        return False
    if "doIteration" not in vars(reactor):
        reactor.doIteration = _iteration(reactor)
    return True


def uninstall(reactor: Any) -> None:
    """Give a reactor its own method back."""
    vars(reactor).pop("doIteration", None)


def is_known(reactor: Any) -> bool:
    """Whether this is Twisted's epoll reactor with what is relied upon here."""
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return False
    return (
        type(reactor) is EPollReactor
        and EPollReactor.doIteration is EPollReactor.doPoll
        and isinstance(getattr(reactor, "_selectables", None), dict)
        and isinstance(getattr(reactor, "_poller", None), select.epoll)
        and all(callable(getattr(reactor, name, None)) for name in ("_doReadOrWrite", "_disconnectSelectable"))
    )


def _iteration(reactor: Any) -> Callable[[float | None], None]:
    selectables = reactor._selectables
    other = reactor._doReadOrWrite
    disconnect = reactor._disconnectSelectable
    readable, writable = select.EPOLLIN, select.EPOLLOUT

    def iterate(timeout: float | None) -> None:
        # The poller is looked up each time: a watchdog may stand before it.
        for descriptor, event in reactor._poller.poll(-1 if timeout is None else timeout, BATCH):
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue
            try:
                if event == readable:
                    why = selectable.doRead()
                elif event == writable:
                    why = selectable.doWrite()
                else:
                    _guarded(other, selectable, descriptor, event)
                    continue
            except BaseException as error:  # noqa: BLE001  the boundary: as Twisted's reactors do
                log.err()  # type: ignore[no-untyped-call]
                why = error
            if why:
                _guarded(disconnect, selectable, why, event == readable)

    return iterate


def _guarded(what: Callable[..., object], *arguments: object) -> None:
    """Call what tells protocols that their connection ended; the reactor goes on, whatever they raise."""
    try:
        what(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  the boundary: as Twisted's reactors do
        log.err()  # type: ignore[no-untyped-call]
