"""What all contract suites stand on: a fresh store with one account, and words to act on it.

A concrete test class inherits a suite and `twisted.trial.unittest.TestCase` and supplies `make_store`
(with its clean-up) and, where it can, the hooks. The suites rely on nothing but the interfaces: they
wait for every answer, however long it takes.
"""

from collections.abc import Sequence
from typing import Any

from sora.core.flags import Change
from sora.core.ids import AccountId, MailboxId
from sora.store.interfaces import Store
from sora.store.model import (
    Actor,
    FetchRow,
    FlagChange,
    FlagsStored,
    Inserted,
    MailboxRow,
    NewMailbox,
    NewMessage,
    Opened,
    Want,
)
from tests.contract.mail import new_message

ADDRESS = "alice@example.org"
HASH = "{BLF-CRYPT}$2b$04$abcdefghijklmnopqrstuv"
FIRST = (NewMailbox("INBOX", subscribed=True), NewMailbox("Sent", "\\Sent", subscribed=True), NewMailbox("Work"))


class StoreContract:
    """A fresh store in `self.store`, with the account `self.account` and its mailboxes INBOX, Sent and Work."""

    store: Store
    account: AccountId
    inbox: MailboxId
    work: MailboxId

    async def make_store(self) -> Store:
        """Return an empty store; the concrete test cleans it up."""
        raise AssertionError("the concrete test makes the store")

    async def set_uid_next(self, mailbox: MailboxId, number: int) -> None:
        """Make `number` the next UID of a mailbox; the concrete test knows how."""
        raise AssertionError("the concrete test knows where UIDNEXT is kept")

    async def setUp(self) -> None:
        self.store = await self.make_store()
        self.account = await self.store.accounts.create(ADDRESS, HASH, FIRST)
        self.actor = Actor(self.account, ADDRESS, "imap", "session-1")
        self.inbox = (await self.row("INBOX")).id
        self.work = (await self.row("Work")).id

    # ------------------------------------------------------------ words

    async def row(self, name: str = "INBOX") -> MailboxRow:
        """Read a mailbox of the account."""
        return await self.store.mailboxes.find(self.account, name)

    async def opened(self, name: str = "INBOX", *, claim_recent: bool = False) -> Opened:
        """Open a mailbox of the account."""
        return await self.store.mailboxes.open(self.account, name, claim_recent=claim_recent)

    async def insert(self, *messages: NewMessage) -> list[Inserted]:
        """Insert messages and raise the first error, if any."""
        results = await self.store.messages.insert(messages)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, Inserted)]

    async def fill(self, count: int, mailbox: MailboxId | None = None, **around: Any) -> list[int]:
        """Insert `count` different messages (into INBOX) and return their UIDs."""
        where = self.inbox if mailbox is None else mailbox
        return [done.uid for done in await self.insert(*[new_message(where, **around) for _ in range(count)])]

    async def change(
        self,
        uids: Sequence[int],
        change: Change,
        flags: int = 0,
        keywords: Sequence[str] = (),
        *,
        unchanged_since: int | None = None,
        mailbox: MailboxId | None = None,
    ) -> FlagsStored:
        """Make one flag change (in INBOX)."""
        where = self.inbox if mailbox is None else mailbox
        request = FlagChange(tuple(uids), change, flags, tuple(keywords), unchanged_since)
        (stored,) = await self.store.messages.store(where, [request])
        return stored

    async def fetched(self, uid: int, want: Want, *, mailbox: MailboxId | None = None) -> FetchRow:
        """Fetch columns of one message that exists (in INBOX)."""
        (row,) = await self.store.messages.fetch(self.inbox if mailbox is None else mailbox, [uid], want)
        return row

    async def uids(self, name: str = "INBOX") -> list[int]:
        """Return the UIDs of a mailbox."""
        return list((await self.opened(name)).columns.uids)

    async def flags_of(self, uid: int, name: str = "INBOX") -> tuple[int, set[str]]:
        """Return the flags and keywords of one message."""
        columns = (await self.opened(name)).columns
        return columns.flags[list(columns.uids).index(uid)], set(columns.keywords.get(uid, ()))
