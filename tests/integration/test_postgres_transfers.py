"""Messages that leave a mailbox while the collector looks: a tombstone keeps its body without a foreign key."""

from sora.core.flags import DELETED
from sora.store.model import NewMailbox
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests, server

LEAVE = {
    "expunge": "SELECT * FROM expunge_messages(%(inbox)s, NULL, 1, 'a', 'imap', 's')",
    "move": "SELECT * FROM transfer_messages(%(inbox)s, NULL, %(other)s, NULL, NULL, true, 10, 1, 'a', 'imap', 's')",
    "delete": "SELECT * FROM delete_mailbox(%(account)s, 'Work', 1, 'a', 'imap', 's')",
}
COLLECT = "SELECT * FROM collect_step(3600, 0, 100)"
CONDEMN = "UPDATE bodies SET condemned_at = now() - interval '1 day'"
KEPT = """
SELECT (SELECT count(*) FROM bodies), (SELECT count(*) FROM tombstones AS t JOIN bodies AS b ON b.id = t.body_id)
"""


class LeavingTests(DatabaseTests):
    async def _set_up(self) -> None:
        await super()._set_up()
        boxes = [NewMailbox("INBOX"), NewMailbox("Work"), NewMailbox("Later")]
        self.account = await self.store.accounts.create("alice@example.org", "hash", boxes)
        self.work, self.later = [(await self.store.mailboxes.find(self.account, box.name)).id for box in boxes[1:]]

    async def leave(self, how: str, *, commits_first: bool) -> None:
        """Have a message leave before, or while, the collector looks at a body condemned long ago."""
        await self.store.messages.insert([new_message(self.work, flags=DELETED)])
        leaving = server().connect(self.settings.name)
        try:
            leaving.autocommit = False
            with leaving.cursor() as cursor:
                cursor.execute(LEAVE[how], {"inbox": self.work, "other": self.later, "account": self.account})
                if commits_first:
                    leaving.commit()
                self.sql(CONDEMN)
                self.sql(COLLECT)
                leaving.commit()
        finally:
            leaving.close()

    async def test_a_body_whose_message_is_leaving_is_not_collected(self) -> None:
        for how, left in (("expunge", 1), ("move", 2), ("delete", 3)):
            await self.leave(how, commits_first=False)
            self.assertEqual(self.sql(KEPT), [(left, left)], how)

    async def test_a_body_whose_message_has_just_left_is_not_collected(self) -> None:
        for how, left in (("expunge", 1), ("move", 2), ("delete", 3)):
            await self.leave(how, commits_first=True)
            self.assertEqual(self.sql(KEPT), [(left, left)], how)
