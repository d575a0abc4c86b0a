"""Warnings about quotas, and who may read and set which."""

from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.core.errors import NoSuchAccount, NotPermitted
from sora.core.ids import AccountId
from sora.core.quota import Filled, Limits, thousandths
from sora.mail.quota import QuotaUseCases, QuotaWatch, root_of
from sora.store.memory import MemoryStore
from sora.store.model import NewMailbox

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.net"


class FilledTests(unittest.SynchronousTestCase):
    """core/quota.py"""

    def test_only_what_reaches_a_threshold_crosses_it(self) -> None:
        for before, after, reached in (
            (0, 799, None),
            (799, 800, 80),
            (800, 900, None),
            (100, 1000, 95),
            (950, 999, None),
        ):
            self.assertEqual(Filled(before, after).crossed((80, 95)), reached, (before, after))

    def test_no_limit_is_never_full_and_none_at_all_always(self) -> None:
        self.assertEqual((thousandths(10, None), thousandths(0, 0), thousandths(1, 4)), (0, 1000, 250))


class WatchTests(unittest.SynchronousTestCase):
    """The watch."""

    def test_whoever_asked_is_told_once_a_threshold(self) -> None:
        told: list[tuple[AccountId, int]] = []
        watch = QuotaWatch((50,), warned=lambda account, reached: told.append((account, reached)))
        for filled in (None, Filled(0, 400), Filled(400, 600), Filled(600, 700)):
            watch.arrived(AccountId(7), filled)
        self.assertEqual(told, [(7, 50)])


class UseCaseTests(unittest.TestCase):
    """Quota roots."""

    async def setUp(self) -> None:
        self.store = MemoryStore(Clock())
        self.ids = {}
        for address in (ANN, BOB, EVE):
            self.ids[address] = await self.store.accounts.create(address, "hash", [NewMailbox("INBOX")])
        self.quotas = QuotaUseCases(self.store.quotas, self.store.accounts, admins=[BOB])

    async def test_ones_own_root_is_read_and_no_other(self) -> None:
        self.assertEqual((await self.quotas.read(root_of(ANN), self.ids[ANN], ANN)).mailboxes, 1)
        for root in (root_of(BOB), root_of("nobody@example.org"), "", "#user/", ANN):
            with self.assertRaises(NoSuchAccount):
                await self.quotas.read(root, self.ids[ANN], ANN)

    async def test_administrators_read_and_set_those_of_their_domain(self) -> None:
        await self.quotas.change(root_of(ANN), BOB, Limits(messages=3))
        self.assertEqual((await self.quotas.read(root_of(ANN), self.ids[BOB], BOB)).limits, Limits(messages=3))
        for root in (root_of(EVE), root_of("nobody@example.org"), ANN, "#user/x y@example.org"):
            with self.assertRaises(NoSuchAccount):
                await self.quotas.change(root, BOB, Limits())
        with self.assertRaises(NotPermitted):
            await self.quotas.change(root_of(ANN), ANN, Limits())
