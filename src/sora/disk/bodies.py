"""A directory as an object store: the embedded default, durable before it answers.

A key's segments become directories (marked with `+`, so that `a` and `a/b` can both be keys) and one file;
whatever a file name should not contain is percent-encoded, so no key leads out of the directory.

Objects put in one turn of the reactor, or while others are being written, go to a thread together: all are
written, all are synced, all get their names, and each directory is synced once. A file has its name only when
it is whole.
"""

import errno
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import quote, unquote

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sora.core.errors import ObjectStoreUnavailable, SoraError, StorageFull
from sora.disk.threads import Threads

T = TypeVar("T")
P = ParamSpec("P")

_OBJECTS: Final = "objects"
_ARRIVING: Final = "arriving"
_ARRIVING_MAX: Final = 86_400.0
"""Seconds after which a file that is still arriving belongs to a process that has died."""
PUTS_MAX: Final = 64
"""Objects that are written together: so many descriptors are open meanwhile."""
PUTS_MIN: Final = 4
"""Objects for which another thread is not worth its while."""
PUT_OCTETS_MAX: Final = 8_388_608
"""Octets of objects that are written together, so that small ones do not wait long for large ones."""
_SEGMENT_MAX: Final = 240
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@attrs.define(eq=False)
class _Put:
    """An object on its way into the directory."""

    key: str
    data: bytes
    done: "Deferred[None]" = attrs.field(factory=Deferred)
    target: str = ""
    arriving: str = ""
    descriptor: int = -1
    error: OSError | ObjectStoreUnavailable | None = None


class DirectoryObjectStore:
    """Implements `store.interfaces.ObjectStore` under `path`, in at most `threads` threads of its own.

    All but one of them may write at a time, so that one is left to read: syncs of several threads share a commit of
    the file system's journal.
    """

    def __init__(self, path: Path, *, reactor: Any, threads: int = 5) -> None:
        self._objects = path / _OBJECTS
        self._arriving = path / _ARRIVING
        self._reactor = reactor
        self._threads = Threads(reactor, threads, "objects")
        self._writers_max = max(threads - 1, 1)
        self._writers = 0
        self._made: set[str] = set()
        self._waiting: deque[_Put] = deque()
        self._called = False

    def put(self, key: str, data: bytes) -> "Deferred[None]":
        """Store an object; file and directories are synced before it is done. Raises `StorageFull`."""
        put = _Put(key, data)
        self._waiting.append(put)
        if not self._called and self._writers < self._writers_max:
            self._called = True
            self._reactor.callLater(0, self._call)
        return put.done

    def _call(self) -> None:
        self._called = False
        self._write()

    def _write(self) -> None:
        """Share what waits among the threads that are free."""
        while self._waiting and self._writers < self._writers_max:
            share = max(-(-len(self._waiting) // (self._writers_max - self._writers)), PUTS_MIN)
            if batch := self._batch(min(share, PUTS_MAX)):
                self._writers += 1
                self._threads.run(self._put_all, batch).addBoth(self._written, batch)

    def _batch(self, share: int) -> list[_Put]:
        batch: list[_Put] = []
        octets = 0
        while self._waiting and len(batch) < share and octets < PUT_OCTETS_MAX:
            put = self._waiting.popleft()
            if not put.done.called:
                batch.append(put)
                octets += len(put.data)
        return batch

    def _written(self, result: object, batch: list[_Put]) -> None:
        self._writers -= 1
        # The next ones first: whoever hears that these are done may well put more.
        self._write()
        for put in batch:
            if isinstance(result, Failure):
                put.done.errback(Failure(result.value))  # type: ignore[no-untyped-call]
            elif put.error is not None:
                put.done.errback(_named(put.error))
            else:
                put.done.callback(None)

    def get(self, key: str) -> "Deferred[bytes | None]":
        """Read an object; None if there is none."""
        return self._threads.run(_translated, self._get, key, 0, None)

    def get_range(self, key: str, start: int, length: int) -> "Deferred[bytes | None]":
        """Read part of an object (shorter at its end); None if there is none."""
        return self._threads.run(_translated, self._get, key, start, length)

    def size(self, key: str) -> "Deferred[int | None]":
        """Return an object's length in octets, or None."""
        return self._threads.run(_translated, self._size, key)

    def delete(self, keys: Iterable[str]) -> "Deferred[None]":
        """Delete objects; absent ones are no error."""
        return self._threads.run(_translated, self._delete, list(keys))

    def keys(self, *, prefix: str = "", after: str = "", limit: int = 1000) -> "Deferred[list[tuple[str, int, float]]]":
        """List (key, octets, modification time) ascending by key."""
        return self._threads.run(_translated, self._keys, prefix, after, limit)

    def close(self) -> "Deferred[None]":
        """Finish what is running or waits and end the threads."""
        self._writers_max = max(self._writers_max, self._writers + len(self._waiting))
        self._write()
        self._threads.stop()
        return succeed(None)

    # ------------------------------------------------------------ in a thread

    def _file(self, key: str) -> Path:
        return Path(self._name(key))

    def _name(self, key: str) -> str:
        *folders, name = key.split("/")
        return "/".join((str(self._objects), *[f"{_encoded(folder)}+" for folder in folders], _encoded(name)))

    def _put_all(self, batch: Sequence[_Put]) -> None:
        """Store objects; one that cannot be has its error."""
        arriving = str(self._arriving)
        for put in batch:
            try:
                self._begin(put, arriving)
            except (OSError, ObjectStoreUnavailable) as error:
                put.error = error
        for put in batch:
            if put.descriptor >= 0:
                _finish(put)
        folders: dict[str, list[_Put]] = {}
        for put in batch:
            self._settle(put)
            if put.error is None:
                folders.setdefault(os.path.dirname(put.target), []).append(put)
        for folder, puts in folders.items():
            try:
                _sync(folder)
            except OSError as error:
                for put in puts:
                    put.error = error

    def _begin(self, put: _Put, arriving: str) -> None:
        """Write an object's octets under a name of the moment."""
        if arriving not in self._made:
            self._make(arriving)
            _sweep(self._arriving)
        put.target = self._name(put.key)
        self._make(os.path.dirname(put.target))
        put.arriving = f"{arriving}/{secrets.token_hex(16)}"
        put.descriptor = os.open(put.arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        view = memoryview(put.data)
        while view:
            view = view[os.write(put.descriptor, view) :]

    def _settle(self, put: _Put) -> None:
        """Give what was written and synced its name, or remove what could not be."""
        try:
            if put.error is None:
                self._rename(put)
        except OSError as error:
            put.error = error
        if put.error is not None and put.arriving:
            with suppress(OSError):
                os.unlink(put.arriving)

    def _rename(self, put: _Put) -> None:
        try:
            os.rename(put.arriving, put.target)
        except FileNotFoundError:
            # Someone removed the directory behind our back since we made it.
            self._made.clear()
            self._make(os.path.dirname(put.target))
            os.rename(put.arriving, put.target)

    def _make(self, folder: str) -> None:
        """Make a directory and what is missing above it, each synced into the one that holds it."""
        if folder in self._made:
            return
        missing = [Path(folder)]
        while not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            _sync(str(one.parent))
        self._made.add(folder)

    def _get(self, key: str, start: int, length: int | None) -> bytes | None:
        try:
            descriptor = os.open(self._file(key), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            left = os.fstat(descriptor).st_size - start
            return _read(descriptor, start, max(left if length is None else min(left, length), 0))
        finally:
            os.close(descriptor)

    def _size(self, key: str) -> int | None:
        try:
            return self._file(key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _delete(self, keys: list[str]) -> None:
        files = [self._file(key) for key in keys]
        for file in files:
            file.unlink(missing_ok=True)
        for folder in {file.parent for file in files}:
            if folder.is_dir():
                _sync(str(folder))

    def _keys(self, prefix: str, after: str, limit: int) -> list[tuple[str, int, float]]:
        found: list[tuple[str, int, float]] = []
        for key, file in self._walk(prefix, after):
            if len(found) == limit:
                break
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            found.append((key, status.st_size, status.st_mtime))
        return found

    def _walk(self, prefix: str, after: str) -> Iterator[tuple[str, Path]]:
        """Yield keys in order, without entering a directory that cannot hold one that is asked for."""
        stack: list[tuple[str, Path, bool]] = [("", self._objects, True)]
        while stack:
            text, path, is_folder = stack.pop()
            if not is_folder:
                if text > after and text.startswith(prefix):
                    yield text, path
                continue
            if not _may_hold(text, prefix, after):
                continue
            # Folders sort as "name/", which is how their keys go on.
            below = sorted((_entry(text, entry) for entry in _entries(path)), reverse=True)
            stack.extend((name, path / file, folder) for name, file, folder in below)


def _may_hold(folder: str, prefix: str, after: str) -> bool:
    if not (folder.startswith(prefix) or prefix.startswith(folder)):
        return False
    return folder > after or after.startswith(folder)


def _entries(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def _entry(above: str, name: str) -> tuple[str, str, bool]:
    if name.endswith("+"):
        return f"{above}{_decoded(name[:-1])}/", name, True
    return above + _decoded(name), name, False


def _encoded(segment: str) -> str:
    if segment in ("", ".", ".."):
        return segment.replace(".", "%2E") or "%"
    text = quote(segment, safe="")
    if len(text) > _SEGMENT_MAX:
        raise ObjectStoreUnavailable("a segment of the object's key is too long for a file name")
    return text


def _decoded(name: str) -> str:
    return "" if name == "%" else unquote(name)


def _sweep(arriving: Path) -> None:
    """Remove what puts cut short by a crash left; another process may be at work on what is young."""
    oldest = time.time() - _ARRIVING_MAX
    for name in _entries(arriving):
        file = arriving / name
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < oldest:
                file.unlink()


def _finish(put: _Put) -> None:
    """Sync what was written, if all of it was, and close it."""
    try:
        if put.error is None:
            os.fsync(put.descriptor)
    except OSError as error:
        put.error = error
    finally:
        os.close(put.descriptor)


def _read(descriptor: int, start: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(descriptor, length, start)):
        parts.append(part)
        start += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(error: OSError | ObjectStoreUnavailable) -> SoraError:
    if isinstance(error, SoraError):
        return error
    if error.errno in _FULL:
        return StorageFull("no space is left for message bodies")
    return ObjectStoreUnavailable(f"the body directory failed: {error.strerror or error}")


def _translated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    except OSError as error:
        raise _named(error) from error
