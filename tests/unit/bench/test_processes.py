"""What the benchmark reads in /proc."""

import os
import socket
import tempfile
from pathlib import Path

from bench.machine import evict, parse_busy, resident_pages
from bench.processes import Tree, connection_inode, descendants, parse_pss, parse_stat, spent
from twisted.trial import unittest

_STAT = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 25 75 20 0 3 0 999"


class ParserTests(unittest.SynchronousTestCase):
    """Texts of /proc."""

    def test_a_name_may_hold_blanks_and_parentheses(self) -> None:
        self.assertEqual(parse_stat(_STAT), (4711, "a (b) c", 12, 1.0))

    def test_the_proportional_size_is_in_octets(self) -> None:
        self.assertEqual(parse_pss("Rss:   99 kB\nPss:   12 kB\nPss_Dirty:   3 kB\n"), 12 * 1024)

    def test_a_process_without_memory_weighs_nothing(self) -> None:
        self.assertEqual(parse_pss(""), 0)

    def test_waiting_for_the_disk_is_not_work_but_stolen_time_is(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        self.assertEqual(parse_busy("cpu  1 2 4 1000 500 8 16 32 7 7\ncpu0 9 9 9\n"), (1 + 2 + 4 + 8 + 16 + 32) / tick)

    def test_a_connection_is_found_by_both_of_its_ports(self) -> None:
        head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        row = "   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n"
        self.assertEqual(connection_inode(head + row, 8080, 49153), 4711)
        self.assertEqual(connection_inode(head + row, 49153, 8080), 0)


class PageCacheTests(unittest.SynchronousTestCase):
    """What is taken out of the kernel's memory, and how one sees that."""

    def test_a_file_just_written_is_in_memory_until_it_is_evicted(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        place = folder / "some"
        place.write_bytes(b"a" * 100_000)
        with place.open("rb") as file:
            self.assertEqual(resident_pages(file.fileno()), (25, 25))
        stayed, pages = evict(folder)
        self.assertEqual(pages, 25)
        # A file system that lives in memory, as /tmp may be, keeps them all.
        self.assertIn(stayed, (0, 25))

    def test_an_empty_file_has_no_pages(self) -> None:
        with tempfile.TemporaryFile() as file:
            self.assertEqual(resident_pages(file.fileno()), (0, 0))


class TreeTests(unittest.SynchronousTestCase):
    """Who belongs to whom."""

    def test_all_below_a_root_are_found_and_nobody_else(self) -> None:
        self.assertEqual(descendants({1: 0, 2: 1, 3: 2, 4: 1, 9: 0}, [2, 4]), {2, 3, 4})

    def test_a_root_that_is_gone_has_nothing_below(self) -> None:
        self.assertEqual(descendants({1: 0}, [7]), set())

    def test_what_was_spent_is_never_negative(self) -> None:
        self.assertEqual(spent({"a": 2.0, "b": 1.0}, {"a": 1.5, "b": 1.5, "c": 0.5}), {"a": 0.0, "b": 0.5, "c": 0.5})

    def test_this_process_has_used_some_time_and_memory(self) -> None:
        tree = Tree(os.getpid(), {}, "mine")
        before = tree.cpu()
        sum(range(200_000))
        self.assertGreater(spent(before, tree.cpu())["mine"], 0.0)
        self.assertGreater(tree.memory(), 1_000_000)

    def test_who_holds_the_other_end_of_a_connection_is_known(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0]:
                tree = Tree(os.getpid(), {}, "mine")
                self.assertEqual(tree.holder(port, client.getsockname()[1]), os.getpid())
                self.assertIsNone(tree.holder(port, 1))

    def test_descriptors_and_threads_are_counted(self) -> None:
        tree = Tree(os.getpid(), {}, "mine")
        before = tree.count("fd")
        with tempfile.TemporaryFile():
            self.assertEqual(tree.count("fd"), before + 1)
        self.assertGreaterEqual(tree.count("task"), 1)
