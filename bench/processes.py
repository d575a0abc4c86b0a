"""What trees of processes cost: CPU time by their clocks, the rest by /proc. Reads only; ends nothing."""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_TICK = 0.01


def parse_stat(text: str) -> tuple[int, str, int, float]:
    """Return pid, name, parent and CPU seconds of children waited for, from the text of /proc/PID/stat."""
    pid, _, rest = text.partition(" (")
    name, _, rest = rest.rpartition(") ")
    fields = rest.split()
    return int(pid), name, int(fields[1]), (int(fields[13]) + int(fields[14])) * _TICK


def parse_pss(text: str) -> int:
    """Return the proportional set size in octets from the text of /proc/PID/smaps_rollup."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def descendants(parents: dict[int, int], roots: Iterable[int]) -> set[int]:
    """Return the roots and all below them, given each process's parent."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in parents and pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _clock(pid: int) -> float:
    """Return the CPU seconds of a process, dead threads included, to the nanosecond.

    The number is the kernel's for another process's CPU clock (clock_getcpuclockid(3)).
    """
    return time.clock_gettime((~pid << 3) | 2)


class Tree:
    """A process and all below it, split into groups by the names of processes."""

    def __init__(self, root: int, groups: dict[str, str], rest: str) -> None:
        """Prepare; `groups` maps names of processes to groups, with all below them; others are the group `rest`."""
        self._root = root
        self._names = groups
        self.rest = rest

    def _read(self) -> dict[int, tuple[str, int, float]]:
        table = {}
        for entry in _PROC.iterdir():
            if entry.name.isdigit():
                try:
                    pid, name, parent, reaped = parse_stat((entry / "stat").read_text("utf-8", "replace"))
                except OSError:
                    continue
                table[pid] = (name, parent, reaped)
        return table

    def _grouped(self) -> dict[int, tuple[str, float]]:
        table = self._read()
        mine = descendants({pid: parent for pid, (_, parent, _) in table.items()}, [self._root])
        grouped = {}
        for pid in mine:
            group, at = self.rest, pid
            while at in mine:
                name, parent, _ = table[at]
                if name in self._names:
                    group = self._names[name]
                    break
                at = parent
            grouped[pid] = (group, table[pid][2])
        return grouped

    def cpu(self) -> dict[str, float]:
        """Return CPU seconds until now by group, with what ended children used."""
        total: dict[str, float] = {}
        for pid, (group, reaped) in self._grouped().items():
            try:
                used = _clock(pid)
            except OSError:
                continue
            total[group] = total.get(group, 0.0) + used + reaped
        return total

    def memory(self) -> int:
        """Return the proportional set size of all processes, in octets."""
        return sum(self.memory_by_group().values())

    def memory_by_group(self) -> dict[str, int]:
        """Return the proportional set size, in octets, by group."""
        total: dict[str, int] = {}
        for pid, (group, _) in self._grouped().items():
            with contextlib.suppress(OSError):
                size = parse_pss((_PROC / str(pid) / "smaps_rollup").read_text())
                total[group] = total.get(group, 0) + size
        return total

    def count(self, what: str) -> int:
        """Return how many entries all processes have in a folder of /proc/PID: "fd" or "task" (threads)."""
        total = 0
        for pid in self._grouped():
            with contextlib.suppress(OSError):
                total += len(os.listdir(_PROC / str(pid) / what))
        return total

    def holder(self, server_port: int, client_port: int) -> int | None:
        """Return which process holds the server's end of a TCP connection over IPv4; None if none is seen to."""
        inode = connection_inode((_PROC / "net" / "tcp").read_text(), server_port, client_port)
        for pid in self._grouped() if inode else ():
            folder = _PROC / str(pid) / "fd"
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    with contextlib.suppress(OSError):
                        if os.readlink(folder / name) == f"socket:[{inode}]":
                            return pid
        return None


def connection_inode(table: str, local_port: int, remote_port: int) -> int:
    """Return the inode of the connection between two ports from the text of /proc/net/tcp; 0 for none."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == local_port and int(fields[2].rpartition(":")[2], 16) == remote_port:
            return int(fields[9])
    return 0


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return the difference of two readings by group, never negative."""
    return {group: max(0.0, after[group] - before.get(group, 0.0)) for group in after}
