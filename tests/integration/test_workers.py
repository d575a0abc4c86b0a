"""Two workers, jobs and their parent as real processes: spread, killed, restarted under load, stopped, measured."""

import imaplib
import os
import re
import signal
import smtplib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from sora.service.embedded import running
from tests.integration.clients.lab import free_ports
from tests.integration.test_service_process import DEMO, ProcessTests
from tests.integration.worker_processes import HOST, Senders, children, exists, inode_of, server_of, sockets_of

BACK = 5.0
"""Seconds until a killed worker is back; two on a quiet machine."""


class WorkerTests(ProcessTests):
    """A server with two workers."""

    workers = 2

    def configure(self, *tables: str) -> None:
        super().configure(f"[process]\nworkers = {self.workers}\n", *tables)

    def serve(self) -> "subprocess.Popen[bytes]":
        """Start the server and wait until it is ready."""
        process = self.twistd()
        self.said("ls '")
        return process

    def until(self, question: Callable[[], object], limit: float = 30.0) -> float:
        """Wait until something is true; returns how long that took."""
        began = time.monotonic()
        while not question():
            self.assertLess(time.monotonic() - began, limit, self.log.read_text())
            time.sleep(0.02)
        return time.monotonic() - began

    def client(self) -> imaplib.IMAP4:
        """Sign in and select the inbox."""
        client = imaplib.IMAP4(HOST, self.imap, timeout=20)
        self.addCleanup(client.shutdown)
        client.login(DEMO, self.password())
        client.select("INBOX")
        return client

    def client_in(self, process: "subprocess.Popen[bytes]", slot: str) -> imaplib.IMAP4:
        """Return a client of one worker."""
        while True:
            client = self.client()
            if server_of(client.sock, process.pid) == slot:
                return client

    def idler_in(self, process: "subprocess.Popen[bytes]", slot: str) -> imaplib.IMAP4:
        """Return a client of one worker that waits for news."""
        client = self.client_in(process, slot)
        client.send(b"i IDLE\r\n")
        self.assertTrue(client.readline().startswith(b"+ "))
        return client

    def sender_in(self, process: "subprocess.Popen[bytes]", slot: str) -> smtplib.LMTP:
        """Return an LMTP connection to one worker."""
        while True:
            client = smtplib.LMTP(HOST, self.lmtp, local_hostname="client.example")
            client.ehlo()
            assert client.sock is not None
            if server_of(client.sock, process.pid) == slot:
                self.addCleanup(client.close)
                return client
            client.close()

    def subjects(self) -> list[str]:
        """Return the subjects of all messages in the inbox."""
        return re.findall(r"Subject: (\S+)\r\n", b"".join(data for _, data in self.inbox()).decode())

    def deliver(self, sender: smtplib.LMTP, subject: str) -> None:
        """Deliver one message."""
        text = f"From: bob@example.net\r\nSubject: {subject}\r\n\r\nhello\r\n"
        self.assertEqual(sender.sendmail("bob@example.net", [DEMO], text), {})


class ServingTests(WorkerTests):
    def test_connections_are_spread_evenly(self) -> None:
        process = self.serve()
        clients = []
        for _ in range(200):
            client = socket.create_connection((HOST, self.imap), timeout=20)
            self.addCleanup(client.close)
            self.assertTrue(client.recv(200).startswith(b"* OK"))
            clients.append(inode_of(client))
        counts = {slot: len(sockets_of(pid) & set(clients)) for slot, pid in children(process.pid).items()}
        self.assertEqual(counts.pop("jobs"), 0)
        self.assertEqual(sum(counts.values()), 200)
        # 100 each, and five times the standard deviation.
        self.assertGreater(min(counts.values()), 65, counts)

    def test_a_client_of_one_worker_hears_of_a_delivery_through_another(self) -> None:
        process = self.serve()
        idler = self.idler_in(process, "0")
        sender = self.sender_in(process, "1")
        began = time.monotonic()
        self.deliver(sender, "news")
        while not (line := idler.readline()).endswith(b" EXISTS\r\n"):
            self.assertTrue(line, "the server hung up")
        self.assertLess(time.monotonic() - began, 2)

    def test_a_unix_socket_is_served_by_all_and_outlives_a_rolling_restart(self) -> None:
        path = self.directory / "lmtp"
        text = f'[servers.local]\ntype = "lmtp"\naddr = "unix:{path}"\n'
        self.configure(text)
        process = self.serve()
        for subject in ("one", "two"):
            with smtplib.LMTP(str(path)) as sender:
                self.deliver(sender, subject)
            process.send_signal(signal.SIGHUP)
            self.logged("all children were started anew")
        self.assertEqual(self.subjects(), ["one", "two"])
        process.terminate()
        process.wait(30)
        self.assertFalse(path.exists())


class CrashTests(WorkerTests):
    def test_a_killed_worker_loses_nothing_acknowledged_and_the_others_notice_nothing(self) -> None:
        process = self.serve()
        other = self.client_in(process, "1")
        idler = self.idler_in(process, "1")
        victim = children(process.pid)["0"]
        with Senders(self.lmtp) as senders:
            senders.wait_for(20)
            os.kill(victim, signal.SIGKILL)
            took = self.until(lambda: "child 0 serves again" in self.log.read_text())
            self.assertLess(took, BACK)
            self.assertEqual(other.noop()[0], "OK")
            os.kill(children(process.pid)["jobs"], signal.SIGKILL)
            self.logged("child jobs serves again")
            senders.wait_for(20)
        self.assertEqual(senders.refused, [])
        subjects = self.subjects()
        self.assertEqual(set(senders.acknowledged) - set(subjects), set())
        self.assertEqual(len(subjects), len(set(subjects)))
        self.assertEqual(other.noop()[0], "OK")
        idler.send(b"DONE\r\n")
        while not (line := idler.readline()).startswith(b"i "):
            self.assertTrue(line, "the server hung up")
        # Whoever comes now is served by the new one, too.
        self.assertEqual(self.client_in(process, "0").noop()[0], "OK")

    def test_a_killed_parent_leaves_nothing_behind(self) -> None:
        process = self.serve()
        idler = self.idler_in(process, "0")
        left = children(process.pid).values()
        self.assertEqual(len(left), 3)
        process.kill()
        process.wait()
        self.assertIn(b"BYE", idler.readline())
        self.until(lambda: not any(map(exists, left)))
        self.assertIsNone(running(self.state))
        # And the state is good for the next.
        self.serve()
        self.assertEqual(self.inbox(), [])

    def test_a_parent_that_is_killed_may_be_followed_by_the_next_at_once(self) -> None:
        for number in range(2):
            process = self.serve()
            with smtplib.LMTP(HOST, self.lmtp) as sender:
                self.deliver(sender, f"m{number}")
            process.kill()
            process.wait()
            self.output.write_text("")
        self.serve()
        self.assertEqual(self.subjects(), ["m0", "m1"])


class RestartTests(WorkerTests):
    def test_a_rolling_restart_under_load_drops_no_delivery(self) -> None:
        process = self.serve()
        before = children(process.pid)
        with Senders(self.lmtp) as senders:
            senders.wait_for(10)
            for number in range(1, 3):
                process.send_signal(signal.SIGHUP)
                self.until(lambda: self.log.read_text().count("all children were started anew") >= number)  # noqa: B023
            senders.wait_for(10)
        self.assertEqual((senders.refused, senders.unanswered), ([], []))
        self.assertEqual(sorted(self.subjects()), sorted(senders.acknowledged))
        after = children(process.pid)
        self.assertEqual(after.keys(), before.keys())
        self.assertFalse(set(after.values()) & set(before.values()))
        self.assertFalse(any(map(exists, before.values())))

    def test_children_start_anew_with_what_the_configuration_says_then_unless_it_has_mistakes(self) -> None:
        process = self.serve()
        before = children(process.pid)
        idler = self.idler_in(process, "0")
        self.configure("[limits]\nmessage_max = 3\n")
        process.send_signal(signal.SIGHUP)
        self.logged("the configuration stays as it was: ")
        self.assertEqual(children(process.pid), before)
        small = '[limits]\nmessage_max = "2kb"\n[storage]\nstaging_max = "1kb"\n'
        self.configure(small, '[servers.more]\ntype = "lmtp"\naddr = "127.0.0.1:1"\n')
        process.send_signal(signal.SIGHUP)
        self.assertTrue(idler.readline().startswith(b"* BYE "))
        self.logged("servers.more changes only when the server is started anew")
        self.logged("all children were started anew")
        with smtplib.LMTP(HOST, self.lmtp) as sender:
            sender.ehlo()
            self.assertEqual(sender.esmtp_features["size"], "2048")


class StopTests(WorkerTests):
    def test_stopping_ends_transactions_says_bye_and_takes_nobody_new(self) -> None:
        process = self.serve()
        left = children(process.pid).values()
        idlers = [self.idler_in(process, slot) for slot in ("0", "1")]
        sender = self.sender_in(process, "0")
        sender.mail("bob@example.net")
        sender.rcpt(DEMO)
        sender.putcmd("data")
        self.assertEqual(sender.getreply()[0], 354)
        process.terminate()
        for idler in idlers:
            self.assertTrue(idler.readline().startswith(b"* BYE "))
        self.assertRaises(ConnectionRefusedError, socket.create_connection, (HOST, self.imap), 5)
        sender.send("Subject: last\r\n\r\nhello\r\n.\r\n")
        self.assertEqual(sender.getreply()[0], 250)
        self.assertEqual(process.wait(30), 0)
        self.assertFalse(any(map(exists, left)))
        self.assertIsNone(running(self.state))
        self.serve()
        self.assertEqual(self.subjects(), ["last"])

    def test_a_second_signal_ends_at_once(self) -> None:
        process = self.serve()
        left = children(process.pid).values()
        sender = self.sender_in(process, "0")
        sender.mail("bob@example.net")
        process.terminate()
        self.until(lambda: not exists(children(process.pid).get("jobs", 0)))
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(5), 1)
        self.until(lambda: not any(map(exists, left)))
        self.until(lambda: running(self.state) is None)


class MetricsTests(WorkerTests):
    def setUp(self) -> None:
        super().setUp()
        [self.port] = free_ports(1)
        self.configure(f'[servers.metrics]\naddr = "{HOST}:{self.port}"\napi_key = "sesame"\n')

    def metrics(self) -> dict[str, float]:
        """Return what the server tells."""
        time.sleep(1.1)  # what was told a moment ago is told again
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}/metrics", headers={"Authorization": "Bearer sesame"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    def status_without_key(self) -> int:
        """Return what is answered to who has no key."""
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=20)
        caught.exception.close()
        return caught.exception.code

    def test_they_are_those_of_all_processes_and_never_go_back(self) -> None:
        process = self.serve()
        for number, slot in enumerate(("0", "1", "1")):
            self.deliver(self.sender_in(process, slot), f"m{number}")
        clients = [self.client_in(process, slot) for slot in ("0", "1")]
        self.assertEqual(self.status_without_key(), 401)
        told = self.metrics()
        self.assertEqual(told['sora_deliveries_total{outcome="stored"}'], 3)
        self.assertGreaterEqual(told['sora_logins_total{outcome="ok"}'], 2)
        self.assertGreaterEqual(told['sora_imap_sessions{state="selected"}'], 2)
        self.assertEqual((told["sora_children"], told["sora_children_wanted"]), (3, 3))
        self.assertEqual(told["sora_feed_connected"], 3)
        for slot in ("parent", "0", "1", "jobs"):
            self.assertGreater(told[f'sora_process_resident_octets{{slot="{slot}"}}'], 10_000_000)
            self.assertGreater(told[f'sora_process_cpu_seconds_total{{slot="{slot}"}}'], 0)
        self.assertEqual(told['sora_database_connections_max{pool="primary"}'], 4 + 4 + 2)
        os.kill(children(process.pid)["0"], signal.SIGKILL)
        self.logged("child 0 serves again")
        again = self.metrics()
        self.assertEqual(again['sora_deliveries_total{outcome="stored"}'], 3)
        self.assertEqual(again['sora_child_starts_total{slot="0"}'], 2)
        self.assertEqual(again["sora_children"], 3)
        for name in told:
            if name.endswith("_total") and "slot" not in name:
                self.assertGreaterEqual(again[name], told[name], name)
        del clients


class OneProcessTests(MetricsTests):
    """`workers = 0`: all in one."""

    workers = 0

    def test_they_are_those_of_all_processes_and_never_go_back(self) -> None:
        process = self.serve()
        self.assertEqual(children(process.pid), {})
        with smtplib.LMTP(HOST, self.lmtp) as sender:
            self.deliver(sender, "one")
        self.assertEqual(self.subjects(), ["one"])
        self.assertEqual(self.status_without_key(), 401)
        told = self.metrics()
        self.assertEqual(told['sora_deliveries_total{outcome="stored"}'], 1)
        self.assertGreater(told['sora_process_resident_octets{slot="server"}'], 10_000_000)
        # What would end a process that knows nothing of it only has the certificates looked at.
        process.send_signal(signal.SIGHUP)
        self.assertEqual(self.subjects(), ["one"])
        process.terminate()
        self.assertEqual(process.wait(30), 0)
        self.assertIsNone(running(self.state))
