"""The hashing pool bounds what runs and what waits."""

import threading

from twisted.internet import defer, reactor
from twisted.trial import unittest

from sora.auth.build import authenticator
from sora.auth.pool import HashingPool
from sora.core.config.access import Auth
from sora.core.errors import Busy
from sora.sasl.passwords import hash_password
from sora.store.memory import MemoryStore


class PoolTests(unittest.TestCase):
    """Real threads."""

    timeout = 10

    async def test_what_does_not_fit_is_refused_at_once_and_a_stop_refuses_what_waits(self) -> None:
        pool = HashingPool(reactor, threads=1, queue_max=2)
        pool.start()
        running, gate = threading.Event(), threading.Event()

        def work() -> str:
            running.set()
            gate.wait(5)
            return "done"

        first = pool.run(work)
        await defer.ensureDeferred(self._seen(running))
        waiting = [pool.run(work), pool.run(work)]
        self.failureResultOf(pool.run(work), Busy)
        self.assertEqual(pool.taken, 3)
        pool._stopping = True
        gate.set()
        self.assertEqual(await first, "done")
        for one in waiting:
            with self.assertRaises(Busy):
                await one
        self.assertEqual(pool.taken, 0)
        pool.stop()

    async def _seen(self, event: threading.Event) -> None:
        from twisted.internet.threads import deferToThread

        await deferToThread(event.wait, 5)

    async def test_the_configured_authenticator_signs_in(self) -> None:
        store = MemoryStore(reactor)  # type: ignore[arg-type]
        await store.accounts.create("a@example.org", hash_password("pw", cost=4), ())
        configured = authenticator(Auth(bcrypt_cost=10), store.accounts, reactor)
        configured.start()
        self.addCleanup(lambda: defer.ensureDeferred(configured.stop()))
        user = await configured.sign_in("a@example.org", "pw", mechanism="LOGIN", protocol="imap", peer="")
        self.assertEqual(user.address, "a@example.org")

    def test_stopping_what_never_started_is_harmless(self) -> None:
        HashingPool(reactor).stop()
