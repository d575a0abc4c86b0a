"""A throw-away Postfix: all of it in one directory, on one unprivileged port, with sora as its LMTP transport."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from twisted.trial import unittest

from tests.integration.clients.lab import die_with_parent, free_ports, wait_until_listening
from tests.integration.clients.programs import environment, run

MAIN = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = {owner}
setgid_group = {group}
myhostname = relay.example.net
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relay_domains = example.org
relay_transport = lmtp:inet:127.0.0.1:{lmtp}
local_recipient_maps =
local_transport = error:nothing is local here
alias_maps =
alias_database =
maillog_file = {directory}/maillog
maillog_file_prefixes = {directory}
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""

# service type private unpriv chroot wakeup maxproc command
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 1    1 qmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -    - proxymap
error     unix  - - n -    - error
retry     unix  - - n -    - error
discard   unix  - - n -    - discard
smtp      unix  - - n -    - smtp
relay     unix  - - n -    - smtp
lmtp      unix  - - n -    - lmtp
anvil     unix  - - n -    1 anvil
scache    unix  - - n -    1 scache
tlsmgr    unix  - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
"""


def default(name: str) -> str:
    """Return what this machine's Postfix has for a parameter by itself."""
    return run("postconf", "-d", "-h", name).stdout.strip()


class Postfix:
    """One instance, running."""

    def __init__(self, directory: Path, lmtp: int) -> None:
        if os.getuid() != 0:
            raise unittest.SkipTest("Postfix starts as root only")
        self.directory = directory
        # Postfix works as users of its own.
        directory.chmod(0o755)
        (self.port,) = free_ports(1)
        self.log = directory / "maillog"
        self._output = directory / "output"
        self._config = directory / "config"
        owner = default("mail_owner")
        values = {
            "directory": directory,
            "daemons": default("daemon_directory"),
            "owner": owner,
            "group": default("setgid_group"),
            "lmtp": lmtp,
        }
        for name in ("config", "queue", "data"):
            (directory / name).mkdir()
        (self._config / "main.cf").write_text(MAIN.format(**values))
        (self._config / "master.cf").write_text(MASTER.format(port=self.port))
        run("chown", owner, str(directory / "data"))
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                ["postfix", "-c", str(self._config), "start-fg"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self.directory),
                cwd="/",
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  calls nothing that takes a lock
            )
        wait_until_listening(self.port, self._process, self._output)

    def stop(self) -> None:
        """Stop it and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def outcomes(self, status: str) -> list[str]:
        """Return the log's lines on recipients with a status: `sent`, `deferred` or `bounced`."""
        if not self.log.exists():
            return []
        return [line for line in self.log.read_text("utf-8", "replace").splitlines() if f", status={status} " in line]

    def wait_for(self, status: str, count: int, limit: float) -> list[str]:
        """Wait until that many recipients have a status. Raises `AssertionError` with the end of the log."""
        deadline = time.monotonic() + limit
        while len(found := self.outcomes(status)) < count:
            if time.monotonic() > deadline:
                log = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-30:])
                raise AssertionError(f"only {len(found)} of {count} recipients are {status}:\n{log}")
            time.sleep(0.05)
        return found
