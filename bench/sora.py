"""This project's server, on a throw-away state directory: embedded PostgreSQL and a directory of bodies."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.servers import HOST, USERS, Server, Unavailable, certificate, free_ports

_SETTINGS = """
[process]
hostname = "mx.example.org"
{workers}
[logging]
level = "warn"
[embedded]
state = "{state}"
[auth]
bcrypt_cost = 10
cache_ttl = "1h"
[uploader]
wake_interval = "1s"
[tls]
cert_file = "{certificate}"
key_file = "{key}"
[servers.imap]
addr = "{host}:{imap}"
[servers.imaps]
addr = "{host}:{imaps}"
type = "imap"
tls = true
[servers.lmtp]
addr = "{host}:{lmtp}"
[servers.metrics]
addr = "{host}:{metrics}"
"""


class Sora(Server):
    """This project's server on its embedded PostgreSQL, whose settings are durable, and a directory of bodies."""

    name = "sora"
    groups = {"postgres": "postgres"}
    rest = "python"
    quiet = 1.75  # more than the uploader's wake_interval

    def __init__(self, directory: Path, settings: str = "", workers: int | None = None) -> None:
        """Prepare; `settings` is TOML that is put after the benchmark's own, `workers` None the server's default."""
        super().__init__(directory)
        self._settings = settings
        self._workers = workers
        self.workers = workers
        (self._metrics_port,) = free_ports(1)

    @property
    def metrics(self) -> str:
        """Where its counters are read."""
        return f"http://{HOST}:{self._metrics_port}/metrics"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    def start(self) -> None:
        """Start it on an empty state directory and create the users."""
        self.state.mkdir()
        # PostgreSQL, which does not run as root, must be able to enter.
        for path in (self.directory, self.state):
            path.chmod(0o755)
        self._certificate = certificate(self.directory)
        self.run()
        self.add_users(1, USERS)

    def add_users(self, first: int, last: int) -> None:
        """Create them, as `sora-admin` does."""
        command = [sys.executable, "-m", "bench.accounts", str(self._config), str(first), str(last)]
        made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)  # noqa: S603
        if made.returncode:
            self.stop()
            raise Unavailable(f"sora's users could not be created: {made.stderr[-800:]}")
        self.version = made.stdout.strip()

    @property
    def _config(self) -> Path:
        return self.directory / "sora.toml"

    def run(self) -> None:
        """Start it on what is kept."""
        cert, key = self._certificate
        text = _SETTINGS.format(
            workers="" if self.workers is None else f"workers = {self.workers}",
            state=self.state,
            certificate=cert,
            key=key,
            host=HOST,
            imap=self.imap_port,
            imaps=self.imaps_port,
            lmtp=self.lmtp_port,
            metrics=self._metrics_port,
        )
        self._config.write_text(text + self._settings, "utf-8")
        twistd = [sys.executable, "-m", "twisted", "--log-level=warn"]
        if (script := Path(sys.executable).with_name("twistd")).exists():
            twistd = [str(script), "--nodaemon", "--pidfile=", f"--logfile={self.directory / 'twistd.log'}"]
        self.launch([*twistd, "sora", "--config", str(self._config)])

    def with_workers(self, number: int | None) -> bool:
        """Have so many workers (None: as the configuration has it); return whether it had to be started for that."""
        if number == self.workers and self.runs:
            return False
        self.stop()
        self.workers = number
        self.run()
        return True

    def as_begun(self) -> bool:
        """Have as many workers as the run was begun with."""
        return self.with_workers(self._workers)

    def forget(self) -> None:
        """Remove the local cache of bodies."""
        shutil.rmtree(self.state / "cache", ignore_errors=True)
