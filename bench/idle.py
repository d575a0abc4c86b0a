"""What waiting clients cost, and how soon they hear of a delivery."""

import contextlib
import select
import time

from bench.engine import Line, ScriptFailed
from bench.mail import message
from bench.measure import Measure
from bench.processes import spent
from bench.scripts import Imap, delivery
from bench.servers import PASSWORD, user

_ANNOUNCED = 60
_LISTENERS = 4
_FIRST = 100
_WAIT = 5.0
"""Seconds until an announcement counts as missed."""


def idle_notify(measure: Measure) -> None:
    """Deliver one message at a time; time each from the end of its text to EXISTS at the last of the listeners."""
    measure.fill(_ANNOUNCED, 10)
    listeners = [(measure.line(measure.server.imap), Imap()) for _ in range(_LISTENERS)]
    measure.untimed(
        (line, [[*imap.opened(user(_ANNOUNCED), PASSWORD, "INBOX"), imap.idle()]]) for line, imap in listeners
    )
    (sender,) = measure.lmtp(1)
    time.sleep(0.3)
    tree, began = measure.server.tree, time.monotonic()
    before = tree.cpu()
    figures = measure.figures
    for number in range(measure.scale.count(100)):
        if time.monotonic() - began > 2 * measure.scale.seconds:
            break
        heard = _announce(sender, [line for line, _ in listeners], message(int(time.time_ns() % 10**12) + number, 2048))
        if heard is None:
            figures.failures += 1
        else:
            figures.latencies.append(heard)
            figures.items += 1
        time.sleep(0.05)
    figures.seconds = time.monotonic() - began
    figures.add_cpu(spent(before, tree.cpu()))


def _announce(sender: Line, listeners: list[Line], text: bytes) -> float | None:
    """Deliver on a blocking socket and return the seconds until all listeners have heard."""
    envelope, body = delivery(user(_ANNOUNCED), text)
    assert sender.sock is not None  # noqa: S101  for the type
    sender.sock.setblocking(True)
    sender.sock.settimeout(_WAIT)
    sender.sock.sendall(envelope.send)
    _read_lines(sender, envelope.lines)
    waiting = {line.sock.fileno(): (line, b"") for line in listeners if line.sock is not None}
    with contextlib.closing(select.epoll()) as poll:
        for number in waiting:
            poll.register(number, select.EPOLLIN)
        start = time.perf_counter()
        sender.sock.sendall(body.send)
        while waiting and time.perf_counter() - start < _WAIT:
            for number, _ in poll.poll(_WAIT):
                line, seen = waiting[number]
                assert line.sock is not None  # noqa: S101  for the type
                chunk = line.sock.recv(65536)
                if not chunk:
                    raise ScriptFailed("a connection in IDLE was closed")
                seen += chunk
                if b" EXISTS\r\n" in seen:
                    poll.unregister(number)
                    del waiting[number]
                else:
                    waiting[number] = (line, seen)
        heard = time.perf_counter() - start
    _read_lines(sender, 1)
    return None if waiting else heard


def _read_lines(line: Line, count: int) -> None:
    assert line.sock is not None  # noqa: S101  for the type
    answer = b""
    while answer.count(b"\n") < count:
        chunk = line.sock.recv(65536)
        if not chunk:
            raise ScriptFailed("the LMTP connection was closed")
        answer += chunk
    if answer[answer[:-1].rfind(b"\n") + 1 :][:1] not in (b"2", b"3"):
        raise ScriptFailed(f"a delivery was answered {answer[-200:]!r}")


def idle_memory(measure: Measure) -> None:
    """Hold connections in IDLE and weigh the server before and after; then watch what doing nothing costs.

    The server is started again for it: one that had work before has memory to spare, and sessions seem to need none.
    """
    measure.server.again(cold=False)
    tree, figures, count = measure.server.tree, measure.figures, measure.scale.idlers
    # What the first sessions pay for all (views, pools, threads, reserves of memory) is not theirs.
    _idlers(measure, _FIRST)
    measure.settle()
    empty = tree.memory()
    _idlers(measure, count)
    measure.settle()
    figures.values["KiB a session"] = (tree.memory() - empty) / 1024 / count
    figures.values["MiB before"] = empty / 2**20
    before, began = tree.cpu(), time.monotonic()
    time.sleep(3)
    figures.seconds = time.monotonic() - began
    figures.values["% CPU idle"] = 100 * sum(spent(before, tree.cpu()).values()) / figures.seconds


def _idlers(measure: Measure, count: int) -> None:
    for start in range(0, count, 50):
        part = [(measure.line(measure.server.imap), Imap()) for _ in range(min(50, count - start))]
        measure.untimed(
            (line, [[*imap.opened(user(1 + (start + n) % 32), PASSWORD, "Sent"), imap.idle()]])
            for n, (line, imap) in enumerate(part)
        )
