"""What waiting clients cost, and how soon they hear of a delivery."""

import contextlib
import resource
import select
import ssl
import time
from collections.abc import Iterable
from statistics import median

from bench.database import Database
from bench.engine import Line, ScriptFailed
from bench.mail import message
from bench.measure import Measure
from bench.processes import Tree, spent
from bench.scripts import Imap, delivery
from bench.servers import PASSWORD, Skipped, user
from bench.sora import Sora

_ANNOUNCED = 60
_LISTENERS = 4
_ATTEMPTS = 64
"""Connections opened to find some in different workers."""
_DELIVERIES = 100
_WAIT = 5.0
"""Seconds until an announcement counts as missed."""
_CROWD = 1001
"""The first user of the crowd."""
_SESSIONS = 5
"""Sessions of each user of the crowd."""
_FIRST = 100
_OTHER_FILES = 1500
"""Descriptors of a server and its client that are not connections of the crowd."""
_COUNTED = 11.0
"""Seconds until PostgreSQL has counted what its idle connections did."""
_WATCH = 10.0
_HEARD = 20


def idle_notify(measure: Measure, *, workers: int) -> None:
    """Deliver one message at a time; time each from the end of its text to EXISTS at the last of the listeners.

    With two workers the sender sits in one of them and the listeners in the other.
    """
    server = measure.server
    if isinstance(server, Sora):
        server.with_workers(workers)
    elif workers > 1:
        raise Skipped(f"{server.name} has processes for sessions anyway, see idle-notify")
    measure.fill([_ANNOUNCED], 10)
    listeners = [(measure.line(server.imap), Imap()) for _ in range(_LISTENERS if workers == 1 else _ATTEMPTS)]
    measure.untimed(
        (line, [[*imap.opened(user(_ANNOUNCED), PASSWORD, "INBOX"), imap.idle()]]) for line, imap in listeners
    )
    senders = measure.lmtp(1 if workers == 1 else _ATTEMPTS)
    heard_by, sender = [line for line, _ in listeners], senders[0]
    if workers > 1:
        heard_by, sender = _apart(server.tree, heard_by, senders)
    measure.settle()
    tree, began = server.tree, time.monotonic()
    before = tree.cpu()
    figures = measure.figures
    for _ in range(_DELIVERIES):
        if time.monotonic() - began > 2 * measure.scale.seconds:
            break
        heard = _announce(sender, _ANNOUNCED, heard_by)
        if heard is None:
            figures.failures += 1
        else:
            figures.latencies.append(heard)
            figures.items += 1
        time.sleep(0.05)
    figures.seconds = time.monotonic() - began
    figures.add_cpu(spent(before, tree.cpu()))


def _apart(tree: Tree, listeners: Iterable[Line], senders: Iterable[Line]) -> tuple[list[Line], Line]:
    """Return listeners of one worker, as many as are wanted, and a sender of another."""
    by_worker: dict[int | None, list[Line]] = {}
    for line in listeners:
        by_worker.setdefault(_holder(tree, line), []).append(line)
    worker, chosen = max(by_worker.items(), key=lambda item: len(item[1]))
    if worker is not None:
        chosen = chosen[:_LISTENERS]
        for one in by_worker.values():
            for line in one:
                if line not in chosen:
                    line.close()
        for sender in senders:
            if _holder(tree, sender) not in (worker, None):
                return chosen, sender
    raise Skipped("all connections went to the same worker")


def _holder(tree: Tree, line: Line) -> int | None:
    assert line.sock is not None  # noqa: S101  for the type
    return tree.holder(line.address[1], line.sock.getsockname()[1])


def _announce(sender: Line, recipient: int, listeners: Iterable[Line]) -> float | None:
    """Deliver on a blocking socket and return the seconds until all listeners have heard."""
    envelope, body = delivery(user(recipient), message(time.time_ns() % 10**12, 2048))
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
                seen += _receive(line)
                if b" EXISTS\r\n" in seen:
                    poll.unregister(number)
                    del waiting[number]
                else:
                    waiting[number] = (line, seen)
        heard = time.perf_counter() - start
    _read_lines(sender, 1)
    return None if waiting else heard


def _receive(line: Line) -> bytes:
    assert line.sock is not None  # noqa: S101  for the type
    try:
        chunk = line.sock.recv(65536)
    except ssl.SSLWantReadError:
        return b""
    if not chunk:
        raise ScriptFailed("a connection in IDLE was closed")
    return chunk


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


def idle_crowd(measure: Measure, *, secure: bool) -> None:
    """Hold connections in IDLE, weigh the server before and after, watch it doing nothing, and deliver to some.

    The server is started again for it: one that had work before has memory to spare, and sessions seem to need none.
    What the first sessions pay for all (views, pools, threads, reserves of memory) is not counted as theirs.
    """
    server, figures = measure.server, measure.figures
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(measure.scale.crowd, server.crowd, files - _OTHER_FILES)
    users = -(-(_FIRST + count) // _SESSIONS)
    if "crowd" not in server.prepared:
        server.add_users(_CROWD, _CROWD + users - 1)
        server.prepared.add("crowd")
    server.again()
    with contextlib.ExitStack() as stack:
        database = None
        if isinstance(server, Sora):
            database = stack.enter_context(contextlib.closing(Database(server.state)))
        lines = _idlers(measure, 0, _FIRST, secure=secure)
        measure.settle()
        _, calm = _watch(server.tree, database)
        empty = server.tree.memory()
        began = time.perf_counter()
        lines += _idlers(measure, _FIRST, _FIRST + count, secure=secure)
        figures.values["sessions"] = count
        figures.values["connected a second"] = count / (time.perf_counter() - began)
        measure.settle()
        figures.values["KiB a session"] = (server.tree.memory() - empty) / 1024 / count
        figures.values["MiB before"] = empty / 2**20
        share, busy = _watch(server.tree, database)
        figures.values["% CPU idle"] = share
        if database is not None:
            figures.values["transactions/s idle"] = busy
            figures.values["of which without them"] = calm
        _tell_some(measure, lines)


def _watch(tree: Tree, database: Database | None) -> tuple[float, float]:
    """Return how busy a server is that has nothing to do, in percent of a processor, and its transactions a second."""
    if database is not None:
        time.sleep(_COUNTED)
    count = database.transactions() if database is not None else 0
    before, began = tree.cpu(), time.monotonic()
    time.sleep(_WATCH)
    seconds = time.monotonic() - began
    share = 100 * sum(spent(before, tree.cpu()).values()) / seconds
    return share, (database.transactions() - count) / seconds if database is not None else 0.0


def _idlers(measure: Measure, first: int, last: int, *, secure: bool) -> list[Line]:
    address, opened = measure.server.imaps if secure else measure.server.imap, []
    for start in range(first, last, 50):
        part = [(n, measure.line(address, secure=secure), Imap()) for n in range(start, min(start + 50, last))]
        measure.untimed(
            (line, [[*imap.opened(user(_CROWD + n // _SESSIONS), PASSWORD, "INBOX"), imap.idle()]])
            for n, line, imap in part
        )
        opened += [line for _, line, _ in part]
    return opened


def _tell_some(measure: Measure, lines: list[Line]) -> None:
    """Deliver to users spread over the crowd, one after the other."""
    (sender,) = measure.lmtp(1)
    users = len(lines) // _SESSIONS
    heard = []
    for turn in range(_HEARD):
        one = turn * users // _HEARD
        found = _announce(sender, _CROWD + one, lines[one * _SESSIONS : (one + 1) * _SESSIONS])
        if found is None:
            measure.figures.failures += 1
        else:
            heard.append(found)
        time.sleep(0.05)
    if heard:
        measure.figures.values["ms until all 5 heard"] = 1000 * median(heard)
