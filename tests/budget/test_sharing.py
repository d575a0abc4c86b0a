"""What sharing, quotas and annotations cost: nothing where they are not used, one round trip for another's name."""

from typing import ClassVar

from sora.core.quota import Limits
from sora.core.rights import ALL, Edit
from sora.postgres.store import PostgresStore
from sora.store.model import NewMailbox, NewMessage
from tests.budget.counting import PASSWORD, USER, CountedTests
from tests.budget.test_round_trips import BudgetTests, append
from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import TcpWorld

OWNER = "bert@example.org"
WORK = '"Other Users/bert/Work"'


class SharingTests(BudgetTests):
    """A server where mailboxes are shared, and another user who shares one."""

    sharing: ClassVar = {"sharing": "yes"}

    async def serve(self, store: PostgresStore) -> TcpWorld:
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        accounts = [
            Account(USER, PASSWORD, [], mailboxes=[("Archive", None, False)]),
            Account(OWNER, PASSWORD, [], mailboxes=[("Work", None, False)]),
        ]
        world = TcpWorld(store, Dialog("budget", accounts, self.sharing, (), []), reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(world.tear_down()))
        return world

    async def _set_up(self) -> None:
        await super()._set_up()
        work = (await self.store.mailboxes.find(self.world.ids[OWNER], "Work")).id
        await self.store.grants.grant(work, USER, Edit.REPLACE, ALL, negative=False)

    async def test_ones_own_mailboxes_cost_what_they_cost_without_sharing(self) -> None:
        client = await self.signed_in()
        await self.hold(
            client,
            [
                (1, "STATUS Archive (MESSAGES)"),
                (1, "SELECT INBOX"),
                (1, "STORE 1 +FLAGS.SILENT (\\Flagged)"),
                (1, append(9_001, "Archive")),
                (1, "COPY 1 Archive"),
                (0, "FETCH 1:5 FLAGS"),
                (1, "GETQUOTAROOT INBOX"),
                (2, 'LIST "" "*"'),
            ],
        )

    async def test_anothers_mailbox_costs_one_more_each(self) -> None:
        client = await self.signed_in()
        await self.hold(
            client,
            [
                (2, f"STATUS {WORK} (MESSAGES)"),
                (2, append(9_002, WORK)),
                (1, f"MYRIGHTS {WORK}"),
                (2, f"GETMETADATA {WORK} /shared/comment"),
                (2, f"SELECT {WORK}"),
                (1, "FETCH 1 FLAGS"),
                (2, "STORE 1 +FLAGS.SILENT (\\Flagged)"),
            ],
        )

    async def test_p7_a_mailbox_without_rights_costs_what_one_costs_that_is_not_there(self) -> None:
        await self.store.mailboxes.create(self.world.ids[OWNER], NewMailbox("Secret"))
        client = await self.signed_in("SELECT INBOX")
        for template in (
            "STATUS {} (MESSAGES)",
            "MYRIGHTS {}",
            "GETACL {}",
            "DELETE {}",
            "COPY 1 {}",
            "GETMETADATA {} /shared/comment",
        ):
            costs = [
                await client.cost(template.format(f'"Other Users/bert/{name}"'), ending=b"NO")
                for name in ("Secret", "Nowhere")
            ]
            self.assertEqual(len(set(costs)), 1, (template, costs))

    async def test_seen_costs_as_much_in_anothers_mailbox_whose_ever_it_is(self) -> None:
        work = (await self.store.mailboxes.find(self.world.ids[OWNER], "Work")).id
        body = await self.world.appender.prepare(b"a: b\r\n\r\nc", account=self.world.ids[OWNER], domain="example.org")
        await self.store.messages.insert([NewMessage(work, body)] * 3)
        client = await self.signed_in()
        await self.hold(
            client,
            [
                (2, f"STATUS {WORK} (UNSEEN)"),
                (2, 'LIST "" "*" RETURN (STATUS (UNSEEN))'),
                (2, f"SELECT {WORK}"),
                (2, "STORE 1 +FLAGS.SILENT (\\Seen)"),
                (2, "STORE 1:2 -FLAGS.SILENT (\\Seen \\Flagged)"),
                (4, "FETCH 1 BODY[]"),
                (1, "SEARCH UNSEEN"),
                (2, "SEARCH UNSEEN TEXT nothing"),
                (2, "COPY 1 Archive"),
                (1, "FETCH 1:3 FLAGS"),
            ],
        )


class OwnSeenTests(SharingTests):
    """The same with a \\Seen of one's own: as many round trips, all of them."""

    sharing: ClassVar = {"sharing": "yes", "seen_per_user": "yes"}


class QuotaTests(CountedTests):
    """The same number of round trips with a quota as without."""

    async def test_a_quota_is_looked_at_by_the_statement_that_fills_it(self) -> None:
        await self.store.quotas.limit(self.world.ids[USER], Limits(messages=1_000_000, storage=2**40, mailboxes=100))
        client = await self.signed_in("SELECT INBOX")
        for command in (append(9_003, "Archive"), "COPY 1 Archive", "GETQUOTAROOT INBOX"):
            self.assertEqual(await client.cost(command), 1, command)
