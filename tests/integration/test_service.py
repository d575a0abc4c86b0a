"""The whole server on a database of its own: mail in by LMTP, out by IMAP, and everything between."""

import imaplib
import shutil
import ssl
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.interfaces import IListeningPort

from sora.core.config.load import parse
from sora.core.errors import ConfigurationInvalid, DatabaseUnavailable
from sora.mail.mailboxes import DEFAULTS
from sora.observe import metrics
from sora.service.run import Sora
from tests.integration.s3_server import make_bucket
from tests.integration.s3_server import server as s3_server
from tests.integration.serving import (
    ANNA,
    HOST,
    PASSWORD,
    TIMEOUT,
    Answers,
    ServiceTests,
    fetched,
    in_thread,
    message,
    without_trace,
)

reactor: Any = installed_reactor

BIG = 1_500_000
"""Larger than what is staged."""
NO_UPLOADER = "[cleanup]\nenabled = false\n"
KEYS = '[storage.sealing]\nenabled = true\nactive = "{active}"\nkeys = {{ k1 = "{k1}", k2 = "{k2}" }}\n'


def listening() -> list[Any]:
    """Return the ports this process listens on."""
    return [port for port in reactor.getReaders() if IListeningPort.providedBy(port)]


def threads(before: set[threading.Thread]) -> set[str]:
    """Return which of the server's thread pools have threads that were not there before."""
    names = (one.name.split("-") for one in set(threading.enumerate()) - before)
    return {name[1] for name in names if name[0] == "PoolThread" and "reactor" not in name[1]}


def count(metric: Any) -> float:
    """Return the value of a counter."""
    return float(metric._value.get())


class DeliveryTests(ServiceTests):
    """From LMTP to IMAP."""

    async def test_what_is_delivered_is_read_with_the_same_bytes(self) -> None:
        _, answers = await self.serve()
        sent = [message("one"), message("two", 100_000), message("three", BIG)]
        for data in sent:
            self.assertEqual(await in_thread(answers.deliver, data), {})
        self.assertEqual(await in_thread(answers.inbox), sent)

    async def test_tls_is_spoken_with_the_certificate_the_server_made(self) -> None:
        _, answers = await self.serve()
        certificate = next((self.state / "tls").glob("*cert*"))

        def read() -> list[bytes]:
            context = ssl.create_default_context(cafile=str(certificate))
            with imaplib.IMAP4_SSL("localhost", answers.ports["imaps"], ssl_context=context, timeout=TIMEOUT) as client:
                client.login(ANNA, PASSWORD)
                client.select("INBOX")
                return fetched(client)

        await in_thread(answers.deliver, message("secret"))
        self.assertEqual([without_trace(data) for data in await in_thread(read)], [message("secret")])
        self.assertEqual((self.state / "tls").stat().st_mode & 0o777, 0o700)

    async def test_a_client_in_idle_is_told_of_a_delivery(self) -> None:
        _, answers = await self.serve()
        idler = await self.idle(answers)
        await in_thread(answers.deliver, message("news"))
        self.assertEqual(await in_thread(idler.next_exists), 1)

    async def test_the_same_bytes_to_the_same_recipient_are_one_delivery(self) -> None:
        _, answers = await self.serve()
        for data in (message("again"), message("again"), message("another")):
            self.assertEqual(await in_thread(answers.deliver, data), {})
        self.assertEqual(await in_thread(answers.inbox), [message("again"), message("another")])

    async def test_without_a_window_the_same_bytes_are_two_deliveries(self) -> None:
        text = self.text().replace("[servers.lmtp]", '[servers.lmtp]\nduplicate_window = "0"')
        _, answers = await self.start(text)
        for _ in range(2):
            await in_thread(answers.deliver, message("again"))
        self.assertEqual(await in_thread(answers.inbox), [message("again")] * 2)


class BodyTests(ServiceTests):
    """Where bodies are, and when."""

    def objects(self) -> list[Path]:
        """Return the files of the directory object store."""
        return [path for path in (self.state / "objects").rglob("*") if path.is_file()]

    async def test_a_large_message_is_in_the_object_store_before_it_is_acknowledged(self) -> None:
        text = self.text().replace("[uploader]", "[uploader]\nenabled = false")
        _, answers = await self.start(text)
        await in_thread(answers.deliver, message("small", 1000))
        await in_thread(answers.deliver, message("large", BIG))
        self.assertEqual(
            self.sql("SELECT size > 1048576, stored FROM bodies ORDER BY id"), [(False, False), (True, True)]
        )
        self.assertEqual(self.sql("SELECT count(*) FROM staged_bodies"), [(1,)])
        self.assertEqual(sum(path.read_bytes() == message("large", BIG) for path in self.objects()), 1)

    async def test_the_uploader_empties_the_staging_table_and_mail_is_read_from_the_object_store(self) -> None:
        sora, answers = await self.serve()
        sent = [message(f"number {number}", 500) for number in range(20)]
        for data in sent:
            await in_thread(answers.deliver, data)
        await self.uploaded()
        self.assertEqual(self.sql("SELECT DISTINCT stored FROM bodies"), [(True,)])
        await sora.stopService()
        shutil.rmtree(self.state / "cache")
        before = count(metrics.READ_OBJECT)
        _, answers = await self.serve()
        self.assertEqual(await in_thread(answers.inbox), sent)
        self.assertEqual(count(metrics.READ_OBJECT) - before, len(sent))

    async def test_a_cache_that_is_deleted_under_a_running_server_is_missed_by_nobody(self) -> None:
        _, answers = await self.serve("[local_cache]\nmemory = 0\n")
        await in_thread(answers.deliver, message("kept"))
        await self.uploaded()
        shutil.rmtree(self.state / "cache")
        for _ in range(2):
            self.assertEqual(await in_thread(answers.inbox), [message("kept")])

    async def test_bodies_are_kept_in_s3_if_it_is_configured(self) -> None:
        settings = s3_server().settings("mail")
        await make_bucket(settings)
        s3 = f'[s3]\nendpoint = "{settings.endpoint}"\nbucket = "mail"\ndisable_tls = true\npath_style = true\n'
        sora, answers = await self.serve(s3 + 'prefix = "sora/"\naccess_key = "test"\nsecret_key = "test"\n')
        sent = [message("small"), message("large", BIG)]
        for data in sent:
            self.assertEqual(await in_thread(answers.deliver, data), {})
        await self.uploaded()
        await sora.stopService()
        shutil.rmtree(self.state)
        _, answers = await self.serve(s3 + 'prefix = "sora/"\naccess_key = "test"\nsecret_key = "test"\n')
        self.assertEqual(await in_thread(answers.inbox), sent)
        self.assertFalse((self.state / "objects").exists())

    async def test_sealed_bodies_do_not_show_their_bytes_and_outlive_a_change_of_keys(self) -> None:
        keys = {"k1": "11" * 32, "k2": "22" * 32}
        sora, answers = await self.serve(KEYS.format(active="k1", **keys))
        await in_thread(answers.deliver, message("first", 2000))
        await self.uploaded()
        await sora.stopService()
        shutil.rmtree(self.state / "cache")
        _, answers = await self.serve(KEYS.format(active="k2", **keys))
        await in_thread(answers.deliver, message("second", BIG))
        self.assertEqual(await in_thread(answers.inbox), [message("first", 2000), message("second", BIG)])
        self.assertEqual(len(self.objects()), 2)
        for path in self.objects():
            self.assertNotIn(b"Subject", path.read_bytes())

    async def test_the_same_body_for_many_in_a_domain_is_kept_once(self) -> None:
        others = [f"user{number}@example.org" for number in range(5)]
        for address in others:
            await self.store.accounts.create(address, "x", DEFAULTS)
        _, answers = await self.serve()
        refused = await in_thread(answers.deliver, message("to all"), ANNA, *others, "nobody@example.org")
        self.assertEqual(list(refused), ["nobody@example.org"])
        self.assertEqual(self.sql("SELECT count(*) FROM messages"), [(6,)])
        self.assertEqual(self.sql("SELECT count(*) FROM bodies"), [(1,)])


class LifeTests(ServiceTests):
    """Starting, stopping, starting again, and two of them at once."""

    async def test_stopping_says_bye_and_leaves_nothing_behind(self) -> None:
        before = set(threading.enumerate())
        sora, answers = await self.serve()
        idler = await self.idle(answers)
        await in_thread(answers.deliver, message("large", BIG))
        self.assertEqual(await in_thread(idler.next_exists), 1)
        await self.uploaded()
        self.assertEqual(threads(before), {"cache", "describe", "hashing", "objects"})
        await sora.stopService()
        self.assertRegex((await in_thread(idler.rest))[-1].decode(), r"\* BYE ")
        self.assertIsNone(sora.storage)
        self.assertEqual(listening(), [])
        self.assertEqual(threads(before), set())
        # What is left is the test's own: its store with its feed, and this question.
        left = len(self.store.pool.connections) + 2
        question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        await self.until(lambda: self.sql(question) == [(left,)])

    async def test_mail_flags_and_uids_are_the_same_after_a_restart(self) -> None:
        def look() -> Any:
            with answers.connect() as client:
                client.select("INBOX")
                status = client.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")
                return status, client.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")

        def mark() -> None:
            with answers.connect() as client:
                client.select("INBOX")
                client.store("2", "+FLAGS", r"(\Flagged $Label)")

        sora, answers = await self.serve()
        for number in range(3):
            await in_thread(answers.deliver, message(f"number {number}"))
        await in_thread(mark)
        before = await in_thread(look)
        await sora.stopService()
        _, answers = await self.serve()
        self.assertEqual(await in_thread(look), before)
        self.assertFalse((self.state / "demo-password").exists())

    async def test_two_servers_tell_their_clients_of_each_others_deliveries(self) -> None:
        shared = f'[storage]\nobjects = "{self.state}/shared"\n'
        _, first = await self.serve(shared, state=self.state / "first")
        _, second = await self.serve(shared, state=self.state / "second")
        at_first, at_second = await self.idle(first), await self.idle(second)
        for number, answers in enumerate((first, second, second, first), start=1):
            await in_thread(answers.deliver, message(f"number {number}", BIG if number > 2 else 0))
            for idler in (at_first, at_second):
                self.assertEqual(await in_thread(idler.next_exists), number)
        await self.uploaded()
        self.assertEqual(await in_thread(first.inbox), await in_thread(second.inbox))

    async def test_a_port_that_is_taken_is_named_and_what_was_opened_is_closed(self) -> None:
        _, answers = await self.serve()
        text = self.text().replace(f'"{HOST}:0"', f'"{HOST}:{answers.ports["imap"]}"', 1)
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.start(text)
        self.assertIn(f"{HOST}:{answers.ports['imap']}: another program listens there", str(caught.exception))

    async def test_a_database_that_is_away_is_a_reason_not_to_start(self) -> None:
        text = self.text().replace(f"port = {self.settings.port}", "port = 1")
        with self.assertRaises(DatabaseUnavailable):
            await self.start(text)

    async def test_a_database_that_keeps_less_than_we_promise_is_refused(self) -> None:
        with self.assertRaises(ConfigurationInvalid) as caught:
            await self.start(self.text().replace("allow_unsafe = true", ""))
        self.assertIn("fsync is off", str(caught.exception))

    async def test_stopping_in_the_middle_of_starting_closes_what_was_opened(self) -> None:
        before = set(threading.enumerate())
        reached: set[bool] = set()
        delay = 0.0
        while True not in reached:
            sora = Sora(parse(self.text()), reactor=reactor)
            sora.startService()
            await self.pause(delay)
            reached.add(sora.ready.called)
            await sora.stopService()
            self.assertEqual((listening(), threads(before)), ([], set()))
            delay += 0.006
        self.assertEqual(reached, {False, True})


class CompanyTests(ServiceTests):
    """What connections of one server notice of each other."""

    async def test_a_flag_set_by_one_client_is_told_to_another(self) -> None:
        _, answers = await self.serve()
        await in_thread(answers.deliver, message("shared"))
        idler = await self.idle(answers)
        await in_thread(_flag, answers)
        self.assertRegex((await in_thread(idler.next)).decode(), r"\* 1 FETCH \(.*FLAGS \(.*\\Flagged.*\)")


def _flag(answers: Answers) -> None:
    with answers.connect() as client:
        client.select("INBOX")
        client.store("1", "+FLAGS", r"(\Flagged)")
