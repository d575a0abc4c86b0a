"""The contract of `TextIndexes`: of whom there is one, what it is made of, and that a search with it finds the same."""

import random
from array import array
from typing import Any

from twisted.internet.task import Clock

from sora.core import criteria as keys
from sora.core.criteria import Criteria
from sora.core.flags import DELETED, FLAGGED, Change
from sora.core.ids import MailboxId, Uid
from sora.core.signatures import Signatures, Words
from sora.core.text import fold
from sora.core.uidset import UidSet
from sora.imap.view import Expunges, SessionView
from sora.jobs.text_index import TextIndexer
from sora.mail.live import Live
from sora.mail.search import Searcher
from sora.mail.search_texts import SoughtTexts
from sora.store.memory import MemoryObjects, PlainReader
from tests.contract.base import StoreContract
from tests.contract.mail import message, new_body, new_message

SEGMENT = 16
LONG = 10**6
WORDS = (
    "report",
    "Rechnung",
    "Straße",
    "東京",
    "京都",
    "no",
    "a",
    "Ünal",
    "port",
    "2026-11-21",
    "x@example.org",
    "ion",
)
TRACE = b"Return-Path: <Bounce%d@example.net>\r\nReceived: from mx\r\n\tby Host%d\r\n"


class Watched:
    """Passes calls on to the messages of a store and remembers what searches were narrowed to."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.among: list[int | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def search(self, *args: Any, among: Any = None, **kwargs: Any) -> Any:
        self.among.append(None if among is None else len(among))
        return self._inner.search(*args, among=among, **kwargs)


class TextIndexContract(StoreContract):
    """Indexes of the texts of INBOX and Work."""

    async def setUp(self) -> None:
        await super().setUp()
        self.indexes = self.store.text_indexes

    async def claim(self, messages: int = 1, lease: float = 0.0) -> tuple[MailboxId, int] | None:
        """Claim a mailbox."""
        return await self.indexes.claim(messages=messages, lease=lease)

    async def texts(self, after: int = 0, limit: int = LONG, octets_max: int = LONG) -> dict[int, bytes | None]:
        """Read texts of INBOX."""
        found = await self.indexes.texts(self.inbox, after=after, limit=limit, octets_max=octets_max)
        return {text.uid: text.octets for text in found}

    async def add(self, after: int, uids: list[int], *texts: str, mailbox: MailboxId | None = None) -> None:
        """Add a segment (to INBOX)."""
        signatures = Signatures(Words())
        for text in texts:
            list(signatures.add(text.encode()))
        list(signatures.end())
        where = self.inbox if mailbox is None else mailbox
        await self.indexes.add(where, after, array("I", uids), signatures.bits())

    async def uids_indexed(self) -> list[list[int]]:
        """Return the UIDs of each segment of INBOX."""
        return [list(rows.uids) for rows in await self.indexes.read(self.inbox, (0,), want=False)]

    async def want(self, mailbox: MailboxId) -> None:
        """Want an index."""
        self.assertEqual(await self.indexes.read(mailbox, (), want=True), [])

    # ------------------------------------------------------------ of whom there is one

    async def test_there_is_an_index_where_one_is_wanted(self) -> None:
        await self.fill(1)
        self.assertEqual(await self.uids_indexed(), [])
        self.assertIsNone(await self.claim())
        for _ in range(2):
            await self.want(self.inbox)
        self.assertEqual(await self.uids_indexed(), [])
        self.assertEqual(await self.claim(), (self.inbox, 0))
        await self.want(MailboxId(987_654))

    async def test_a_claim_is_of_a_mailbox_with_enough_messages_and_one_at_a_time(self) -> None:
        await self.fill(3)
        await self.fill(2, self.work)
        self.assertIsNone(await self.claim())
        await self.want(self.inbox)
        self.assertIsNone(await self.claim(4))
        self.assertEqual(await self.claim(3, 600.0), (self.inbox, 0))
        self.assertIsNone(await self.claim())
        await self.want(self.work)
        self.assertEqual(await self.claim(2, 600.0), (self.work, 0))
        await self.add(0, [1, 2], "", "")
        self.assertEqual(await self.claim(), (self.inbox, 2))
        self.assertIsNone(await self.claim(2))

    async def test_messages_that_are_gone_do_not_count(self) -> None:
        await self.fill(3)
        await self.want(self.inbox)
        await self.change([2], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        self.assertEqual([await self.claim(3), await self.claim(2)], [None, (self.inbox, 0)])

    async def test_a_segment_that_does_not_continue_the_index_is_not_added(self) -> None:
        await self.fill(5)
        await self.add(0, [1, 2], "", "")
        self.assertEqual(await self.uids_indexed(), [])
        await self.want(self.inbox)
        await self.add(0, [1, 2], "", "")
        await self.add(0, [1, 2, 3], "", "", "")
        await self.add(2, [4, 5], "", "")
        self.assertEqual(await self.uids_indexed(), [[1, 2], [4, 5]])
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_an_index_goes_with_its_mailbox_with_its_messages_or_unused(self) -> None:
        await self.fill(5)
        await self.want(self.inbox)
        await self.want(self.work)
        await self.fill(1, self.work)
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        self.assertEqual(await self.claim(5, 600.0), (self.inbox, 0))
        self.assertIsNone(await self.claim())
        await self.add(0, [1, 2, 3, 4], "", "", "", "")
        self.assertEqual(await self.indexes.tidy(unused=3_600.0), 0)
        await self.change([2, 3, 4, 5], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, [2, 3, 4], self.actor)
        self.assertEqual(await self.indexes.tidy(unused=3_600.0), 0)
        await self.store.messages.expunge(self.inbox, [5], self.actor)
        self.assertEqual(await self.indexes.tidy(unused=3_600.0), 1)
        self.assertEqual(await self.uids_indexed(), [])
        self.assertIsNone(await self.claim())
        await self.want(self.inbox)
        self.assertEqual(await self.indexes.tidy(unused=-1.0), 1)

    # ------------------------------------------------------------ what it is made of

    async def test_texts_are_those_a_search_looks_in(self) -> None:
        await self.fill(1)
        raw = message("Straße", text="Groß\r\n")
        await self.insert(new_message(self.inbox, raw, trace=TRACE % (2, 2)), new_message(self.inbox, raw))
        cut = new_body(message("cut"), text_complete=False)
        await self.insert(new_message(self.inbox, body=cut), new_message(self.inbox, message(text="x" * 5_000)))
        found = await self.texts(octets_max=4_000)
        self.assertEqual(list(found), [1, 2, 3, 4, 5])
        for word in ("strasse", "gross", "bounce2@example.net", "host2"):
            self.assertIn(word.encode(), found[2] or b"")
        self.assertNotIn(b"host2", found[3] or b"")
        self.assertEqual((found[4], found[5]), (None, None))
        self.assertEqual(list(await self.texts(after=1, limit=2)), [2, 3])
        self.assertIn(b"xxx", (await self.texts(after=4))[5] or b"")

    async def test_rows_of_places_are_read_in_their_order(self) -> None:
        await self.want(self.inbox)
        await self.fill(12)
        for uids, places in ((array("I", range(1, 10)), 512), (array("I", [10, 12]), 256)):
            width = 2 if len(uids) > 8 else 1
            bits = b"".join(place.to_bytes(2, "big")[-width:] for place in range(places))
            await self.indexes.add(self.inbox, uids[0] - 1, uids, bits)
        read = await self.indexes.read(self.inbox, (700, 3, 3, 300), want=False)
        self.assertEqual([list(rows.uids) for rows in read], [[*range(1, 10)], [10, 12]])
        self.assertEqual([rows.uids.typecode for rows in read], ["I", "I"])
        first, second = [rows.rows for rows in read]
        self.assertEqual(first, b"".join(place.to_bytes(2, "big") for place in (188, 3, 3, 300)))
        self.assertEqual(second, bytes([188, 3, 3, 44]))

    # ------------------------------------------------------------ searching

    async def test_a_search_among_uids_finds_no_other(self) -> None:
        await self.fill(6)
        body = keys.Criteria((keys.Text(keys.Field.BODY, "shall"),))
        for among, expected in (([2, 5, 9], [2, 5]), ([], []), (range(1, 7), [1, 2, 3, 4])):
            found = await self.store.messages.search(
                self.inbox, body, recent_from=Uid(1), uid_max=4 if len(among) > 3 else 9, among=list(among)
            )
            self.assertEqual(list(found.uids), expected)

    async def test_with_an_index_the_same_is_found(self) -> None:
        chance = random.Random(20261121)  # noqa: S311  the same each time
        await self._fill(chance, 5 * SEGMENT + 3)
        await self.want(self.inbox)
        clock = Clock()
        indexer = TextIndexer(self.indexes, clock=clock, segment=SEGMENT)
        for _ in range(4):
            await indexer.step()
        self.assertEqual(len(await self.uids_indexed()), 4)
        # What the index does not know, and what it knows and is gone.
        await self._fill(chance, 5)
        live = Live(self.store.mailboxes, self.store.feed)
        mailbox = await live.open(self.account, "INBOX", claim_recent=False)
        view = SessionView(mailbox.version, recent_from=1)
        watched = Watched(self.store.messages)
        reader = PlainReader(self.store.bodies, MemoryObjects(clock))
        indexed = Searcher(watched, reader, SoughtTexts(self.indexes, segment=SEGMENT))
        passing = Searcher(self.store.messages, reader, SoughtTexts(self.indexes, segment=LONG))
        for number in range(120):
            if number == 60:
                await self.change([3, 20, 21, 80], Change.ADD, DELETED)
                await self.store.messages.expunge(self.inbox, None, self.actor)
                await mailbox.refresh()
                view.update(mailbox.version, Expunges.ALLOWED)
            program = _program(chance)
            self.assertEqual(
                await indexed.search(mailbox, view, program), await passing.search(mailbox, view, program), program
            )
        narrowed = [count for count in watched.among if count is not None]
        self.assertGreater(len(narrowed), 20)

    async def _fill(self, chance: random.Random, count: int) -> None:
        for _ in range(count):
            text = " ".join(chance.choices(WORDS, (1, 1, 1, 1, 1, 9, 9, 1, 1, 1, 1, 1), k=6))
            raw = message(chance.choice(WORDS), text=text + "\r\n", Comments=chance.choice(WORDS))
            around = {"trace": TRACE % ((chance.randrange(9),) * 2), "flags": chance.choice((0, FLAGGED))}
            cut = {} if chance.randrange(10) else {"text_complete": False, "body_text": ""}
            await self.insert(new_message(self.inbox, body=new_body(raw, **cut), **around))


def _program(chance: random.Random) -> Criteria:
    """Make a search of texts and other things."""
    steps: list[keys.Step] = []
    height = 0
    for _ in range(chance.randrange(1, 6)):
        steps.append(_leaf(chance, first=not height))
        height += 1
        if chance.randrange(4) == 0:
            steps.append(keys.Not())
        if height > 1 and chance.randrange(2):
            steps.append(chance.choice((keys.And, keys.Or))(2))
            height -= 1
    return Criteria((*steps, chance.choice((keys.And, keys.Or))(height)))


def _leaf(chance: random.Random, *, first: bool) -> keys.Step:
    kind = 0 if first else chance.randrange(5)
    if kind == 3:
        return keys.Flag(FLAGGED)
    if kind == 4:
        low = chance.randrange(90)
        return keys.Uids(UidSet(((low + 1, low + 40),)))
    word = fold(" ".join(chance.choices((*WORDS, "Bounce3", "host1", "nowhere"), k=chance.choice((1, 1, 1, 2)))))
    start = chance.randrange(2)
    needle = word[start : start + chance.randrange(1, 12)]
    return keys.Text(chance.choice((keys.Field.BODY, keys.Field.TEXT, keys.Field.TEXT, keys.Field.SUBJECT)), needle)
