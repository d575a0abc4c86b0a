"""The threads of file operations: bounded, ended without leaving work behind, able to begin again."""

import subprocess
import sys
import threading

from twisted.internet import reactor
from twisted.trial import unittest

from sora.aio import gather, sleep
from sora.disk.threads import Threads


class ThreadsTests(unittest.TestCase):
    """`Threads` of the real reactor."""

    def setUp(self) -> None:
        self.threads = Threads(reactor, 2, "test")
        self.addCleanup(self.threads.stop)

    async def test_no_more_threads_than_allowed_run_at_once(self) -> None:
        gate = threading.Event()
        self.addCleanup(gate.set)
        begun: list[int] = []

        def work() -> None:
            begun.append(threading.get_ident())
            gate.wait()

        waits = [self.threads.run(work) for _ in range(20)]
        for _ in range(50):
            await sleep(reactor, 0)
        while len(begun) < 2:
            await sleep(reactor, 0)
        self.assertEqual(len(begun), 2)
        gate.set()
        await gather(waits)
        self.assertLessEqual(len(set(begun)), 2)
        self.assertEqual(len(begun), 20)

    async def test_after_a_stop_they_begin_again(self) -> None:
        for number in range(2):
            self.assertEqual(await self.threads.run(lambda number=number: number), number)
            self.threads.stop()
        self.threads.stop()


class ShutdownTests(unittest.SynchronousTestCase):
    """A process that forgets to close them."""

    def test_they_end_with_the_reactor(self) -> None:
        program = (
            "from twisted.internet import reactor\n"
            "from sora.disk.threads import Threads\n"
            "Threads(reactor, 2, 'test').run(int).addCallback(lambda _: reactor.stop())\n"
            "reactor.run()\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=True)
        self.assertEqual(ended.stderr, b"")
