"""The contract of `Messages.order`, `threading` and `search_many`: packed columns, exact and of every mailbox."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sora.core import criteria as keys
from sora.core.flags import DELETED, SEEN, Change
from sora.core.ids import MailboxId
from sora.core.ordering import SortKey
from sora.core.uidset import STAR, UidSet
from sora.store.columns import ABSENT, NEVER, PARTLY, PRESENT, UNSURE, Name, Number
from sora.store.model import Want
from sora.store.threads import REFERENCES_MAX
from tests.contract.base import StoreContract
from tests.contract.mail import message, new_body, new_message

ALL = 2**32 - 1
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class OrderContract(StoreContract):
    """Orders, what threads are made of, and searches of several mailboxes."""

    async def put(self, number: int, **described: Any) -> None:
        """Insert a message that is described by hand, the larger its number the later and larger."""
        raw = message(f"Number {number}", text="x" * number)
        arrived = NOON + timedelta(hours=number)
        await self.insert(new_message(self.inbox, body=new_body(raw, **described), internal_date=arrived))

    async def ordered(self, *order: tuple[SortKey, bool], uids: list[int] | None = None) -> list[int]:
        """Order INBOX."""
        found = await self.store.messages.order(self.inbox, order, uids, uid_max=ALL)
        self.assertEqual(found.typecode, "I")
        return list(found)

    # ------------------------------------------------------------ orders

    async def test_every_key_orders_and_equals_stand_by_uid(self) -> None:
        texts = ("base_subject", "sort_from", "sort_to", "sort_cc", "display_from", "display_to")
        for number, word in enumerate(("b", "", "a", "b"), 1):
            await self.put(number, sent_at=NOON - timedelta(hours=number), **dict.fromkeys(texts, word))
        for key in (*(SortKey.SUBJECT, SortKey.FROM, SortKey.TO, SortKey.CC, SortKey.DISPLAYFROM, SortKey.DISPLAYTO),):
            self.assertEqual(await self.ordered((key, False)), [2, 3, 1, 4], key)
            self.assertEqual(await self.ordered((key, True)), [1, 4, 3, 2], key)
        self.assertEqual(await self.ordered((SortKey.SIZE, True)), [4, 3, 2, 1])
        self.assertEqual(await self.ordered((SortKey.ARRIVAL, False)), [1, 2, 3, 4])
        self.assertEqual(await self.ordered((SortKey.DATE, False)), [4, 3, 2, 1])
        self.assertEqual(await self.ordered((SortKey.SUBJECT, False), (SortKey.DATE, False)), [2, 3, 4, 1])

    async def test_a_message_without_a_date_was_sent_when_it_arrived(self) -> None:
        await self.put(1, sent_at=None)
        await self.put(2, sent_at=NOON)
        self.assertEqual(await self.ordered((SortKey.DATE, False)), [2, 1])

    async def test_letters_stand_as_capitals_and_other_scripts_by_code_point(self) -> None:
        for number, word in enumerate(("б", "a_", "ab", "a[", "ä", "Z".lower(), "9"), 1):
            await self.put(number, base_subject=word)
        self.assertEqual(await self.ordered((SortKey.SUBJECT, False)), [7, 3, 4, 2, 6, 5, 1])

    async def test_some_are_ordered_and_the_gone_are_left_out(self) -> None:
        for number in (1, 2, 3):
            await self.put(number)
        self.assertEqual(await self.ordered((SortKey.SIZE, True), uids=[1, 3, 900]), [3, 1])
        self.assertEqual(await self.ordered((SortKey.SIZE, True), uids=[]), [])
        found = await self.store.messages.order(self.inbox, ((SortKey.SIZE, True),), None, uid_max=2)
        self.assertEqual(list(found), [2, 1])
        found = await self.store.messages.order(MailboxId(9999), ((SortKey.SUBJECT, True),), None, uid_max=2)
        self.assertEqual(list(found), [])

    # ------------------------------------------------------------ threads

    async def threads(self, uids: list[int] | None = None, *, after: int = 0, limit: int = 100) -> Any:
        """Read what threads of INBOX are made of."""
        return await self.store.messages.threading(self.inbox, uids, after=after, uid_max=ALL, limit=limit)

    async def test_what_threads_are_made_of(self) -> None:
        await self.put(1, message_id="a@b", sent_at=NOON, subject="x", base_subject="x")
        await self.put(
            2, message_id=None, references=("a@b", "c@d"), sent_at=None, subject="Re: X\ty", base_subject="x y"
        )
        rows = await self.threads()
        second = NOON + timedelta(hours=2)
        self.assertEqual(list(rows.uids), [1, 2])
        self.assertEqual(rows.ids, [b"a@b", b"<a@b<c@d"])
        self.assertEqual(rows.subjects, [b"x", b"x y"])
        self.assertEqual(rows.marked, [b"", b"Re: X\ty"])
        self.assertEqual(rows.sent[1] - rows.sent[0], 7_200_000_000)
        self.assertEqual(rows.arrived[1], rows.sent[1])
        self.assertEqual(rows.arrived[1] - rows.arrived[0], 3_600_000_000)
        self.assertEqual((second - NOON).seconds * 1_000_000, rows.arrived[1] - rows.sent[0])

    async def test_threads_are_read_in_pieces(self) -> None:
        for number in range(1, 6):
            await self.put(number)
        self.assertEqual(list((await self.threads(after=1, limit=2)).uids), [2, 3])
        self.assertEqual(list((await self.threads([1, 4, 900])).uids), [1, 4])
        nothing = await self.threads(after=5)
        self.assertEqual((list(nothing.uids), list(nothing.ids), list(nothing.sent)), ([], [], []))

    async def test_of_very_many_references_the_first_and_the_nearest_count(self) -> None:
        await self.put(1, message_id="m@x", references=tuple(f"{n}@x" for n in range(500)))
        (text,) = (await self.threads()).ids
        ids = text.decode().split("<")[1:]
        self.assertEqual((ids[0], ids[1], ids[-1], len(ids)), ("0@x", "401@x", "499@x", REFERENCES_MAX))

    # ------------------------------------------------------------ several mailboxes

    async def found(self, *steps: keys.Step, among: list[MailboxId] | None = None) -> dict[MailboxId, list[int]]:
        """Search INBOX and Work."""
        mailboxes = [self.inbox, self.work] if among is None else among
        found = await self.store.messages.search_many(mailboxes, keys.Criteria(steps))
        for one in found.values():
            self.assertEqual(list(one.undecided), [])
        return {mailbox: list(one.uids) for mailbox, one in found.items()}

    async def test_each_mailbox_has_what_matches_in_it(self) -> None:
        await self.fill(2)
        await self.fill(3, self.work, flags=SEEN)
        self.assertEqual(await self.found(keys.Flag(SEEN)), {self.work: [1, 2, 3]})
        self.assertEqual(await self.found(keys.All()), {self.inbox: [1, 2], self.work: [1, 2, 3]})
        self.assertEqual(await self.found(keys.Text(keys.Field.SUBJECT, "nowhere")), {})
        self.assertEqual(await self.found(keys.All(), among=[self.work, MailboxId(9999)]), {self.work: [1, 2, 3]})
        self.assertEqual(await self.found(keys.All(), among=[]), {})

    async def test_numbers_and_the_last_message_are_those_of_each_mailbox(self) -> None:
        await self.fill(3)
        await self.change([1], Change.ADD, DELETED)
        await self.store.messages.expunge(self.inbox, None, self.actor)
        await self.fill(3, self.work)
        numbers, uids = (lambda *r: keys.Numbers(UidSet(r))), (lambda *r: keys.Uids(UidSet(r)))
        for step, expected in (
            (numbers((1, 1)), {self.inbox: [2], self.work: [1]}),
            (numbers((STAR, STAR)), {self.inbox: [3], self.work: [3]}),
            (numbers((3, 9)), {self.work: [3]}),
            (numbers((9, STAR)), {self.inbox: [3], self.work: [3]}),
            (numbers((2, STAR)), {self.inbox: [3], self.work: [2, 3]}),
            (uids((STAR, STAR), (1, 1)), {self.inbox: [3], self.work: [1, 3]}),
            (uids((2, STAR)), {self.inbox: [2, 3], self.work: [2, 3]}),
            (uids((700, STAR)), {self.inbox: [3], self.work: [3]}),
            (uids((1, 1)), {self.work: [1]}),
            (uids(), {}),
        ):
            self.assertEqual(await self.found(step), expected, str(step))
        self.assertEqual(
            await self.found(numbers((1, STAR)), keys.Not(), uids((1, 2)), keys.Or(2)),
            {self.inbox: [2], self.work: [1, 2]},
        )

    async def test_new_keys_are_decided_by_the_store(self) -> None:
        await self.put(1)
        await self.put(2)
        arrived = NOON + timedelta(hours=2)
        self.assertEqual(await self.found(keys.Arrived(arrived, later=True)), {self.inbox: [2]})
        self.assertEqual(await self.found(keys.Arrived(arrived, later=False)), {self.inbox: [1, 2]})
        second = timedelta(seconds=1)
        self.assertEqual(await self.found(keys.Arrived(arrived - second, later=False)), {self.inbox: [1]})
        saved = keys.Dated(keys.DateOf.SAVED, keys.Relation.BEFORE, NOON.date())
        self.assertEqual(await self.found(saved, keys.Not(), saved, keys.Or(2)), {self.inbox: [1, 2]})
        rows = await self.store.messages.fetch(self.inbox, [1], Want.EMAIL | Want.THREAD)
        email, thread = rows[0].email, rows[0].thread
        self.assertEqual(await self.found(keys.Id(keys.IdOf.EMAIL, email)), {self.inbox: [1]})
        self.assertEqual(await self.found(keys.Id(keys.IdOf.THREAD, thread)), {self.inbox: [1]})
        self.assertEqual(await self.found(keys.Id(keys.IdOf.THREAD, None)), {})

    # ------------------------------------------------------------ columns that are kept

    async def column(self, name: Name, *, after: int = 0, limit: int = 100) -> Any:
        """Read a column of INBOX."""
        return await self.store.messages.column(self.inbox, name, after=after, uid_max=ALL, limit=limit)

    async def test_a_header_field_comes_with_whether_it_is_there(self) -> None:
        await self.put(1, fields={"cc": "zoë\nann", "x": ""})
        await self.put(2, fields={})
        await self.put(3, fields={"cc": "cut"}, text_complete=False)
        await self.put(4, fields={}, text_complete=False)
        found = await self.column("cc")
        self.assertEqual(list(found.uids), [1, 2, 3, 4])
        self.assertEqual(found.kinds, bytes((PRESENT, ABSENT, PARTLY, UNSURE)))
        self.assertEqual(list(found.texts), ["zoë\nann", "", "cut", ""])
        self.assertEqual((await self.column("x")).kinds[:2], bytes((PRESENT, ABSENT)))

    async def test_numbers_come_in_their_units(self) -> None:
        await self.put(1, sent_day=date(2026, 3, 4))
        await self.put(2, sent_day=None)
        arrived = [int((NOON + timedelta(hours=n)).timestamp()) * 1_000_000 for n in (1, 2)]
        self.assertEqual(list((await self.column(Number.ARRIVED)).values), arrived)
        day = (date(2026, 3, 4) - date(1970, 1, 1)).days
        self.assertEqual(list((await self.column(Number.SENT)).values), [day, NEVER])
        rows = await self.store.messages.fetch(self.inbox, [1, 2], Want.SIZE | Want.SAVE_DATE)
        self.assertEqual(list((await self.column(Number.SIZE)).values), [row.size for row in rows])
        saved = [row.save_date.timestamp() for row in rows if row.save_date is not None]
        for got, expected in zip((await self.column(Number.SAVED)).values, saved, strict=True):
            self.assertAlmostEqual(got / 1_000_000, expected, places=3)

    async def test_columns_are_read_in_pieces(self) -> None:
        for number in (1, 2, 3):
            await self.put(number)
        for name in ("subject", Number.SIZE):
            self.assertEqual(list((await self.column(name, after=1, limit=1)).uids), [2])
            self.assertEqual(list((await self.column(name, after=3)).uids), [])
