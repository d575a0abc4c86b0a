"""What the configuration's sections become, and closing everything that was opened."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.errors import ConfigurationInvalid, ObjectStoreUnavailable
from sora.mail.bodies import Reader
from sora.s3.seal import SealedObjectStore
from sora.service.run import Sora
from sora.service.servers import Servers
from sora.service.storage import Storage, database_settings, open_objects, s3_settings
from sora.store.memory import MemoryObjects, MemoryStore

DATABASE = """
[database]
hosts = ["db1.example.org", "db2.example.org"]
port = 5433
user = "mail"
password = "hush"
name = "post"
ca_file = "/etc/ca.pem"
max_connections = 5
min_connections = 3
query_timeout = "7s"
lock_timeout = "3s"
connect_timeout = "2s"
"""
S3 = """
[s3]
endpoint = "minio.example.org:9000"
disable_tls = true
bucket = "mail"
prefix = "sora/"
path_style = true
access_key = "key"
secret_key = "hush"
sse = "AES256"
max_connections = 7
"""
SEALING = '[storage.sealing]\nenabled = true\nactive = "{active}"\nkeys = {{ k1 = "{key}" }}\n'


class SettingsTests(unittest.SynchronousTestCase):
    def test_the_database_is_reached_as_its_section_says(self) -> None:
        section = parse(DATABASE).database
        assert section is not None
        settings = database_settings(section)
        self.assertEqual(settings.hosts, ("db1.example.org", "db2.example.org"))
        self.assertEqual((settings.port, settings.user, settings.name), (5433, "mail", "post"))
        self.assertEqual(settings.password, "hush")
        self.assertEqual((settings.sslmode, settings.sslrootcert), ("verify-full", "/etc/ca.pem"))
        self.assertEqual((settings.pool_min, settings.pool_max), (3, 5))
        self.assertEqual((settings.statement_timeout, settings.lock_timeout, settings.connect_timeout), (7, 3, 2))

    def test_the_object_store_is_reached_as_its_section_says(self) -> None:
        section = parse(S3).s3
        assert section is not None
        settings = s3_settings(section)
        self.assertEqual(settings.endpoint, "http://minio.example.org:9000")
        self.assertEqual((settings.bucket, settings.prefix, settings.path_style), ("mail", "sora/", True))
        self.assertEqual((settings.access_key, settings.secret_key), ("key", "hush"))
        self.assertEqual((settings.sse, settings.connections_max), ("AES256", 7))
        self.assertEqual(list(settings.complaints()), [])

    def test_bodies_are_sealed_only_if_there_are_keys(self) -> None:
        state = Path(self.mktemp())
        plain = open_objects(parse("").in_state(state), Clock(), [])
        self.assertNotIsInstance(plain, SealedObjectStore)
        sealing = parse(SEALING.format(active="k1", key="11" * 32)).in_state(state)
        self.assertIsInstance(open_objects(sealing, Clock(), []), SealedObjectStore)

    def test_an_active_key_that_is_not_there_is_a_complaint(self) -> None:
        with self.assertRaises(ConfigurationInvalid):
            text = SEALING.format(active="k9", key="11" * 32)
            open_objects(parse(text).in_state(Path(self.mktemp())), Clock(), [])


class CloseTests(unittest.SynchronousTestCase):
    def test_what_cannot_be_closed_keeps_nothing_else_open(self) -> None:
        closed: list[str] = []

        def closer(name: str, error: Exception | None = None) -> Any:
            async def close() -> None:
                closed.append(name)
                if error is not None:
                    raise error

            return close

        clock = Clock()
        store: Any = MemoryStore(clock)
        reader = Reader(store.bodies, MemoryObjects(clock), clock=clock)
        closers = [closer("first"), closer("second", ObjectStoreUnavailable("no")), closer("third")]
        storage = Storage(store, MemoryObjects(clock), reader, closers)
        self.successResultOf(Deferred.fromCoroutine(storage.close()))
        self.assertEqual(closed, ["third", "second", "first"])
        self.assertEqual(len(self.flushLoggedErrors(ObjectStoreUnavailable)), 1)
        self.successResultOf(Deferred.fromCoroutine(storage.close()))
        self.assertEqual(len(closed), 3)


class StopTests(unittest.SynchronousTestCase):
    def test_a_server_that_was_never_started_can_be_stopped(self) -> None:
        sora = Sora(parse(""), reactor=Clock())
        self.successResultOf(sora.stopService())
        self.assertFalse(sora.ready.called)

    def test_addresses_of_servers_that_do_not_listen_are_not_told(self) -> None:
        servers: Any = object.__new__(Servers)
        servers.configuration, servers.listeners = parse(""), {}
        self.assertIsNone(servers.plain_address("imap"))
