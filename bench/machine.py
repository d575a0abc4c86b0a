"""What the machine itself does beside the servers: its processors, its disk, its page cache."""

import contextlib
import ctypes
import mmap
import os
import platform
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

_TICK = os.sysconf("SC_CLK_TCK")
_BLOCK = b"\x5a" * 4096
_SYNCS = 40


def number_of_cores() -> int:
    """Return how many processors may be used."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, object]:
    """Return what a reader of figures wants to know of the machine."""
    return {
        "cores": number_of_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": load(),
        "at": time.strftime("%Y-%m-%d %H:%M"),
    }


def load() -> list[float]:
    """Return the load averages."""
    return [round(value, 2) for value in os.getloadavg()]


def parse_busy(text: str) -> float:
    """Return the CPU seconds that all processors worked, or were kept from it, from the text of /proc/stat."""
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in text.split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICK


def busy() -> float:
    """Return the CPU seconds that all processors worked since the machine started."""
    return parse_busy(Path("/proc/stat").read_text())


def sync_seconds(directory: Path) -> float:
    """Return how long it takes to append 4 KiB to a file and have it on disk: the median of some."""
    taken = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(_SYNCS):
            begin = time.perf_counter()
            os.write(file.fileno(), _BLOCK)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return median(taken)


def _files(directory: Path) -> Iterator[int]:
    """Open each regular file below a directory in turn."""
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                number = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                if stat.S_ISREG(os.fstat(number).st_mode):
                    yield number
            finally:
                os.close(number)


def evict(directory: Path) -> tuple[int, int]:
    """Take all files below a directory out of the kernel's page cache; return how many pages stayed, and of how many.

    What was not written yet is written first. The kernel keeps directories and inodes in caches of their own, which
    need privileges to be emptied.
    """
    os.sync()
    for number in _files(directory):
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    stayed = pages = 0
    for number in _files(directory):
        resident, all_of_it = resident_pages(number)
        stayed += resident
        pages += all_of_it
    return stayed, pages


def resident_pages(number: int) -> tuple[int, int]:
    """Return how many pages of an open file are in memory, and how many it has (mincore(2))."""
    size = os.fstat(number).st_size
    if not size:
        return 0, 0
    pages = -(-size // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * pages)()
    with contextlib.closing(mmap.mmap(number, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)) as area:
        first = ctypes.c_char.from_buffer(area)
        library = ctypes.CDLL(None, use_errno=True)
        failed = library.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), found)
        del first
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(one & 1 for one in bytes(found)), pages
