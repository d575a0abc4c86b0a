"""What part of a node's limits one process gets."""

from pathlib import Path

from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.config.model import Configuration
from sora.postgres.settings import DatabaseSettings
from sora.service import share

TEXT = """
[limits]
max_connections = 1000
message_max = "50mb"
[auth]
hashing_threads = 6
[local_cache]
path = "/cache"
capacity = "1gb"
[database]
hosts = ["db.example.org"]
max_connections = 9
min_connections = 8
[servers.imap]
addr = ":143"
max_connections = 10
max_connections_per_ip = 5
[servers.lmtp]
addr = ":24"
"""


class ShareTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.configuration: Configuration = parse(TEXT)

    def test_the_limits_of_the_node_are_divided_and_rounded_up(self) -> None:
        mine = share.for_worker(self.configuration, 1, 4)
        self.assertEqual(mine.limits.max_connections, 250)
        self.assertEqual(mine.servers["imap"].max_connections, 3)
        self.assertEqual(mine.servers["imap"].max_connections_per_ip, 2)
        self.assertIsNone(mine.servers["lmtp"].max_connections)
        self.assertEqual(mine.auth.hashing_threads, 1)
        assert mine.database is not None
        self.assertEqual((mine.database.max_connections, mine.database.min_connections), (3, 3))

    def test_each_worker_has_a_cache_of_its_own(self) -> None:
        caches = [share.for_worker(self.configuration, slot, 4).local_cache for slot in range(4)]
        self.assertEqual([cache.path for cache in caches], [Path("/cache") / str(slot) for slot in range(4)])
        self.assertEqual({cache.capacity for cache in caches}, {268_435_456})

    def test_two_database_connections_are_the_least(self) -> None:
        mine = share.for_worker(self.configuration, 0, 64)
        assert mine.database is not None
        self.assertEqual(mine.database.max_connections, share.POOL_MIN)

    def test_the_read_endpoint_is_divided_in_proportion(self) -> None:
        text = TEXT.replace("[servers.imap]", "[database.read]\nmax_connections = 30\n[servers.imap]")
        reading = share.for_worker(parse(text), 0, 3).database
        assert reading is not None and reading.reading is not None
        self.assertEqual((reading.reading.max_connections, reading.reading.min_connections), (10, 8))

    def test_the_jobs_have_few_connections_and_no_cache(self) -> None:
        jobs = share.for_jobs(self.configuration)
        assert jobs.database is not None
        self.assertEqual(jobs.database.max_connections, share.POOL_MIN)
        self.assertFalse(jobs.local_cache.enabled)

    def test_no_part_is_too_small_for_the_largest_message(self) -> None:
        self.assertEqual(share.octets(self.configuration, 2), 67_108_864)
        self.assertEqual(share.octets(self.configuration, 16), 52_428_800)

    def test_an_embedded_database_is_divided_too(self) -> None:
        part = share.pool(DatabaseSettings(pool_min=4, pool_max=8), 3)
        self.assertEqual((part.pool_min, part.pool_max), (3, 3))

    def test_what_another_number_of_workers_left_in_the_cache_goes(self) -> None:
        directory = Path(self.mktemp())
        for name in ("0", "1", "2", "other"):
            (directory / name).mkdir(parents=True)
        (directory / "000-a.bodies").write_bytes(b"x")
        (directory / "notes").write_bytes(b"x")
        share.tidy_cache(directory, 2)
        self.assertEqual({entry.name for entry in directory.iterdir()}, {"0", "1", "other", "notes"})
        share.tidy_cache(directory / "missing", 2)
