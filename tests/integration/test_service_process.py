"""`twistd sora` as a process: on embedded defaults, beside `sora-admin`, killed and started again, failing to start."""

import contextlib
import imaplib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial import unittest

from sora.service.embedded import running
from tests.integration.clients.lab import die_with_parent, free_ports, wait_until_listening
from tests.integration.clients.programs import BIN, CHECKOUT, environment, run

START = (str(BIN / "twistd"), "--nodaemon", "--pidfile=", "--logger", "sora.observe.log.observer")
SERVERS = (
    '[auth]\nbcrypt_cost = 10\n[servers.imap]\naddr = "127.0.0.1:{imap}"\n[servers.lmtp]\naddr = "127.0.0.1:{lmtp}"\n'
)
DEMO = "demo@example.org"


class ProcessTests(unittest.SynchronousTestCase):
    """A directory for a server's state, and a way to run it."""

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="sora-process-", ignore_cleanup_errors=True)
        self.addCleanup(made.cleanup)
        self.directory = Path(made.name)
        # PostgreSQL runs as somebody else when we are root, and has to reach its directory.
        self.directory.chmod(0o755)
        self.state = self.directory / "state"
        self.config = self.directory / "sora.toml"
        self.output = self.directory / "output"
        self.log = self.directory / "log"
        self.imap, self.lmtp = free_ports(2)
        self.configure("")

    def configure(self, *tables: str) -> None:
        """Write the configuration: two servers on free ports, and what is given."""
        text = f'[embedded]\nstate = "{self.state}"\n' + SERVERS.format(imap=self.imap, lmtp=self.lmtp)
        self.config.write_text(text + "".join(tables))

    def twistd(
        self, name: str = "sora", *, ports: tuple[int, ...] | None = None, start: tuple[str, ...] = START
    ) -> "subprocess.Popen[bytes]":
        """Start the server and wait until its ports answer."""
        with self.output.open("ab") as output, self.log.open("ab") as log:
            process = subprocess.Popen(
                [*start, name, "--config", str(self.config)],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  calls nothing that takes a lock
            )
        self.addCleanup(_end, process)
        for port in ports if ports is not None else (self.imap, self.lmtp):
            wait_until_listening(port, process, self.log)
        return process

    def logged(self, text: str, log: Path | None = None) -> None:
        """Wait until the server has logged something."""
        file = log or self.log
        deadline = time.monotonic() + 30
        while not file.exists() or text not in file.read_text():
            self.assertLess(time.monotonic(), deadline, self.log.read_text())
            time.sleep(0.05)

    def said(self, wanted: str) -> str:
        """Wait until the standard output has something, and return all of it."""
        deadline = time.monotonic() + 20
        while wanted not in self.output.read_text():
            self.assertLess(time.monotonic(), deadline, self.log.read_text())
            time.sleep(0.02)
        return self.output.read_text()

    def password(self) -> str:
        """Return the demonstration account's password."""
        return (self.state / "demo-password").read_text().strip()

    def inbox(self) -> list[tuple[bytes, bytes]]:
        """Return UIDs with flags, and bytes, of the demonstration account's messages."""
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=20) as client:
            client.login(DEMO, self.password())
            client.select("INBOX", readonly=True)
            return [part for part in client.fetch("1:*", "(UID FLAGS BODY.PEEK[])")[1] if isinstance(part, tuple)]

    def inbox_soon(self) -> list[tuple[bytes, bytes]]:
        """Return the same as `inbox`, which the server may refuse for a few seconds."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return self.inbox()
            except imaplib.IMAP4.error as error:
                self.assertIn("UNAVAILABLE", str(error))
                self.assertLess(time.monotonic(), deadline, self.log.read_text())
                time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> int:
    """Stop a server as a supervisor does."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
    if process.poll() is None:
        process.kill()
    return process.wait()


class EmbeddedDefaultsTests(ProcessTests):
    """What a new user meets."""

    def test_the_lines_that_are_printed_work_when_they_are_pasted(self) -> None:
        process = self.twistd()
        said = self.said("ls '")
        deliver, read, look = [line for line in said.splitlines() if line]
        password = self.state / "demo-password"
        self.assertEqual(password.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(self.password(), said + self.log.read_text())
        run("/bin/sh", "-c", deliver.replace("python3", sys.executable, 1))
        if shutil.which("curl") is not None:
            self.assertIn("It works.", run("/bin/sh", "-c", read).stdout)
        self.assertIn("demo-password", run("/bin/sh", "-c", look).stdout)
        [(_, data)] = self.inbox()
        self.assertIn(b"It works.", data)
        # The same once more on the same state: nothing is new but the process.
        before = self.inbox()
        self.assertIn(_end(process), (0, -signal.SIGTERM))
        self.assertIsNone(running(self.state))
        made = password.read_text()
        process = self.twistd()
        self.assertEqual(password.read_text(), made)
        self.assertEqual(self.inbox(), before)
        self.assertIn(_end(process), (0, -signal.SIGTERM))
        self.assertNotIn("Traceback", self.log.read_text())

    def test_a_killed_server_is_started_again_with_all_that_was_acknowledged(self) -> None:
        process = self.twistd()
        deliver = next(line for line in self.said("ls '").splitlines() if line)
        run("/bin/sh", "-c", deliver.replace("python3", sys.executable, 1))
        before = self.inbox()
        process.kill()
        process.wait()
        process = self.twistd()
        self.assertEqual(self.inbox(), before)
        self.assertIn(_end(process), (0, -signal.SIGTERM))
        self.assertIsNone(running(self.state))
        self.assertNotIn("Traceback", self.log.read_text())

    def test_accounts_are_managed_and_the_store_is_checked_beside_the_running_server(self) -> None:
        process = self.twistd()
        self.said("ls '")

        def admin(*arguments: str, expect: int = 0, stdin: str = "") -> str:
            done = run(
                str(BIN / "sora-admin"),
                *arguments,
                "--config",
                str(self.config),
                stdin=stdin,
                timeout=60,
                expect=expect,
            )
            return done.stdout

        def login(password: str) -> str:
            client = imaplib.IMAP4("127.0.0.1", self.imap, timeout=20)
            try:
                return str(client.login("new@example.org", password)[0])
            except imaplib.IMAP4.error as error:
                return str(error)
            finally:
                client.shutdown()

        create = ("accounts", "create", "--email", "new@example.org", "--password-stdin")
        self.assertEqual(admin(*create, stdin="first\n"), "created new@example.org\n")
        self.assertIn("new@example.org", admin("accounts", "list"))
        self.assertEqual(login("first"), "OK")
        admin("accounts", "update", "--email", "new@example.org", "--password-stdin", stdin="second\n")
        self.assertIn("AUTHENTICATIONFAILED", login("first"))
        self.assertEqual(login("second"), "OK")
        self.assertIn("nothing is wrong", admin("check"))
        admin("accounts", "delete", "--email", "new@example.org", "--yes")
        self.assertIn("AUTHENTICATIONFAILED", login("second"))
        self.assertIsNone(process.poll())
        # And without a server: the command starts PostgreSQL for itself, and ends it.
        _end(process)
        self.assertIn(DEMO, admin("accounts", "list"))
        self.assertIsNone(running(self.state))

    def test_the_end_of_postgresql_is_not_the_end_of_the_server_nor_of_the_mail(self) -> None:
        process = self.twistd()
        self.said("ls '")
        os.kill(_postmaster(self.state), signal.SIGKILL)
        self.logged("the embedded PostgreSQL runs again")
        self.assertEqual(self.inbox_soon(), [])
        self.assertIsNone(process.poll())

    def test_stopping_while_starting_leaves_no_postgresql(self) -> None:
        for delay in (0.6, 1.0, 1.4):
            process = self.twistd(ports=())
            time.sleep(delay)
            self.assertIn(_end(process), (0, -signal.SIGTERM))
            self.assertIsNone(running(self.state))
            self.assertEqual(_living(self.state), [])

    def test_the_log_is_written_as_the_configuration_says_without_an_option_of_twistd(self) -> None:
        self.configure('[logging]\nformat = "json"\n')
        start = START[: START.index("--logger")]
        process = self.twistd(start=start)
        self.logged("listening on")
        _end(process)
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.assertIn(
            (f"listening on 127.0.0.1:{self.imap}", "info"), {(one["message"], one["level"]) for one in lines}
        )
        # Who tells twistd where to log has it there, twistd's way.
        self.log.write_text("")
        process = self.twistd(start=(*start, f"--logfile={self.directory}/twistd.log"))
        self.logged(f"listening on 127.0.0.1:{self.imap}", self.directory / "twistd.log")
        # Those of the children are passed on.
        self.logged('"slot": "0"', self.directory / "twistd.log")
        _end(process)
        self.assertEqual(self.log.read_text(), "")

    def test_only_the_servers_of_one_type_are_started_if_one_is_asked_for(self) -> None:
        process = self.twistd("sora-lmtp", ports=(self.lmtp,))
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", self.imap), 2)
        _end(process)
        self.twistd("sora-imap", ports=(self.imap,))
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", self.lmtp), 2)


def _postmaster(state: Path) -> int:
    at = running(state)
    assert at is not None
    return int((Path(at["socket_dir"]).parent / "data" / "postmaster.pid").read_text().splitlines()[0])


def _living(state: Path) -> list[str]:
    """Return the processes that work somewhere below a state directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = os.readlink(process / "cwd")
            if where.startswith(str(state)):
                found.append(f"{process.name} in {where}")
    return found


class FailureTests(ProcessTests):
    """What cannot be started says why, once, and ends with status 1."""

    def complaint(self, name: str = "sora") -> str:
        """Start what cannot be started and return what it says."""
        done: Any = subprocess.run(
            [*START, name, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=CHECKOUT,
            env=environment(self.directory),
            check=False,
        )
        said: str = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, said)
        self.assertNotIn("Traceback", said)
        self.assertNotIn("Unhandled", said)
        return said

    def test_a_port_that_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.imap))
            taken.listen()
            said = self.complaint()
        self.assertIn(f"cannot start: cannot listen on 127.0.0.1:{self.imap}: another program listens there", said)
        self.assertIsNone(running(self.state))
        self.assertEqual(_living(self.state), [])

    def test_a_database_that_is_away(self) -> None:
        [port] = free_ports(1)
        self.configure(f'[database]\nhosts = ["127.0.0.1"]\nport = {port}\nconnect_timeout = "2s"\n')
        said = self.complaint()
        self.assertRegex(said, r"error cannot start: .*refused")
        self.assertFalse((self.state / "demo-password").exists())

    def test_a_wrong_configuration_with_every_mistake_and_its_line(self) -> None:
        self.configure("[limits]\nmessage_max = 3\nunknown = 1\n")
        said = self.complaint()
        self.assertEqual(
            re.findall(r"sora\.toml:(\d+): ([a-z_.]+):", said), [("10", "limits.message_max"), ("11", "limits.unknown")]
        )

    def test_a_configuration_that_is_not_there(self) -> None:
        self.config.unlink()
        self.assertIn("cannot be read: No such file or directory", self.complaint())

    def test_what_this_version_does_not_have(self) -> None:
        self.configure('[servers.pop3]\naddr = "127.0.0.1:0"\n')
        self.assertIn("servers.pop3: a server of type pop3 is not available in this version", self.complaint())

    def test_no_server_of_the_type(self) -> None:
        self.config.write_text('[servers.imap]\naddr = "127.0.0.1:0"\n')
        self.assertIn("no server of type lmtp is to be started", self.complaint("sora-lmtp"))

    def test_a_state_directory_that_another_server_has(self) -> None:
        process = self.twistd()
        self.imap, self.lmtp = free_ports(2)
        self.configure("")
        self.assertIn(f"process {process.pid} serves the state directory", self.complaint())

    def test_a_state_directory_that_cannot_be_made(self) -> None:
        (self.directory / "file").write_text("")
        self.state = self.directory / "file" / "state"
        self.configure("")
        self.assertIn("state directory", self.complaint())

    def test_a_log_file_that_cannot_be_written(self) -> None:
        self.configure(f'[logging]\noutput = "{self.directory}/missing/log"\n')
        self.assertIn("logging.output", self.complaint())
