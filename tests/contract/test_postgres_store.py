"""The contract suites over PostgreSQL."""

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from sora.core.ids import MailboxId
from sora.postgres.store import PostgresStore, open_store
from sora.store.interfaces import Store
from tests.contract.accounts import AccountsContract
from tests.contract.annotations import AnnotationsContract
from tests.contract.base import StoreContract
from tests.contract.bodies import BodiesContract
from tests.contract.feed import FeedContract
from tests.contract.mailboxes import MailboxesContract
from tests.contract.messages import MessagesContract
from tests.contract.ordering import OrderContract
from tests.contract.quotas import QuotasContract
from tests.contract.searching import SearchContract
from tests.contract.seen import SeenContract
from tests.contract.sharing import SharingContract
from tests.contract.text_index import TextIndexContract
from tests.integration.database import migrated, server


class Postgres(StoreContract):
    """Makes a store on a database of its own."""

    async def make_store(self) -> Store:
        settings = await migrated()
        self.database_name = settings.name
        self.addCleanup(server().recycle, settings.name)
        store: PostgresStore = open_store(settings, reactor)
        await store.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.stop()))
        return store

    async def set_uid_next(self, mailbox: MailboxId, number: int) -> None:
        server().execute(self.database_name, "UPDATE mailboxes SET uid_next = %s WHERE id = %s", (number, int(mailbox)))


class PostgresAccountsTests(Postgres, AccountsContract, unittest.TestCase):
    """Accounts in PostgreSQL."""


class PostgresMailboxesTests(Postgres, MailboxesContract, unittest.TestCase):
    """Mailboxes in PostgreSQL."""


class PostgresMessagesTests(Postgres, MessagesContract, unittest.TestCase):
    """Messages in PostgreSQL."""


class PostgresOrderTests(Postgres, OrderContract, unittest.TestCase):
    """Orders and threads in PostgreSQL."""


class PostgresSearchTests(Postgres, SearchContract, unittest.TestCase):
    """Searching in PostgreSQL."""


class PostgresBodiesTests(Postgres, BodiesContract, unittest.TestCase):
    """Bodies in PostgreSQL."""


class PostgresFeedTests(Postgres, FeedContract, unittest.TestCase):
    """The feed of PostgreSQL."""


class PostgresQuotasTests(Postgres, QuotasContract, unittest.TestCase):
    """Quotas in PostgreSQL."""


class PostgresSharingTests(Postgres, SharingContract, unittest.TestCase):
    """Rights in mailboxes in PostgreSQL."""


class PostgresAnnotationsTests(Postgres, AnnotationsContract, unittest.TestCase):
    """Annotations in PostgreSQL."""


class PostgresSeenTests(Postgres, SeenContract, unittest.TestCase):
    """A \\Seen of one's own in PostgreSQL."""


class PostgresTextIndexTests(Postgres, TextIndexContract, unittest.TestCase):
    """Indexes of texts in PostgreSQL."""
