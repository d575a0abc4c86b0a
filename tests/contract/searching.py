"""The contract of `Messages.search`: every key, exact, and honest where stored text is incomplete."""

from datetime import UTC, date, datetime
from typing import Any

from sora.core import criteria as keys
from sora.core.flags import ANSWERED, DELETED, FLAGGED, SEEN
from sora.core.ids import Uid
from sora.core.text import fold
from sora.core.uidset import UidSet
from tests.contract.base import StoreContract
from tests.contract.mail import message, new_body, new_message

ALL = 2**32 - 1


def text(field: keys.Field, needle: str) -> keys.Text:
    """Seek a text, folded as the parser folds it."""
    return keys.Text(field, fold(needle))


def uids(*ranges: tuple[int, int]) -> keys.Uids:
    """Name UIDs."""
    return keys.Uids(UidSet(ranges))


class SearchContract(StoreContract):
    """Searching INBOX."""

    async def found(self, *steps: keys.Step, recent_from: int = 1, uid_max: int = ALL) -> list[int]:
        """Return the UIDs found; nothing may be undecided."""
        result = await self.search(*steps, recent_from=recent_from, uid_max=uid_max)
        self.assertEqual(list(result.undecided), [])
        return list(result.uids)

    async def search(self, *steps: keys.Step, recent_from: int = 1, uid_max: int = ALL) -> Any:
        """Search INBOX."""
        criteria = keys.Criteria(tuple(steps))
        return await self.store.messages.search(self.inbox, criteria, recent_from=Uid(recent_from), uid_max=uid_max)

    # ------------------------------------------------------------ keys without text

    async def test_all_finds_everything_up_to_the_largest_uid_shown(self) -> None:
        await self.fill(4)
        result = await self.search(keys.All())
        self.assertEqual((list(result.uids), result.uids.typecode), ([1, 2, 3, 4], "I"))
        self.assertEqual(await self.found(keys.All(), uid_max=3), [1, 2, 3])
        self.assertEqual(await self.found(keys.And(0)), [1, 2, 3, 4])

    async def test_an_empty_mailbox_has_nothing_to_find(self) -> None:
        self.assertEqual(await self.found(keys.All()), [])

    async def test_flags_and_keywords_are_found_by_presence_and_absence(self) -> None:
        await self.insert(
            new_message(self.inbox, flags=SEEN | FLAGGED),
            new_message(self.inbox, flags=ANSWERED, keywords=("ToDo",)),
            new_message(self.inbox, flags=DELETED, keywords=("$Junk",)),
        )
        self.assertEqual(await self.found(keys.Flag(SEEN)), [1])
        self.assertEqual(await self.found(keys.Flag(SEEN, False)), [2, 3])
        self.assertEqual(await self.found(keys.Keyword("todo")), [2])
        self.assertEqual(await self.found(keys.Keyword("todo", False)), [1, 3])
        self.assertEqual(await self.found(keys.Keyword("unheard-of")), [])

    async def test_recent_is_what_the_session_says_it_is(self) -> None:
        await self.fill(3)
        self.assertEqual(await self.found(keys.Recent(), recent_from=3), [3])
        self.assertEqual(await self.found(keys.Recent(False), recent_from=3), [1, 2])
        self.assertEqual(await self.found(keys.Recent(), keys.Flag(SEEN, False), keys.And(2), recent_from=2), [2, 3])

    async def test_uids_are_found_in_their_ranges(self) -> None:
        await self.fill(5)
        self.assertEqual(await self.found(uids((2, 3), (5, 900))), [2, 3, 5])
        self.assertEqual(await self.found(uids((900, 901))), [])
        self.assertEqual(await self.found(uids((4, 2))), [2, 3, 4])

    async def test_sets_bound_what_is_looked_at_wherever_they_stand(self) -> None:
        await self.fill(9)
        unseen, two = keys.Flag(SEEN, False), keys.And(2)
        self.assertEqual(await self.found(uids((2, 7)), unseen, uids((5, 9)), two, two), [5, 6, 7])
        self.assertEqual(await self.found(unseen, uids((8, 9)), two), [8, 9])
        self.assertEqual(await self.found(uids((1, 2)), unseen, keys.Or(2), uids((7, 9)), two), [7, 8, 9])
        self.assertEqual(await self.found(unseen, uids((2, 9)), keys.Not(), two), [1])
        self.assertEqual(await self.found(uids((1, 2)), uids((8, 9)), keys.Or(2)), [1, 2, 8, 9])
        self.assertEqual(await self.found(uids((1, 2)), uids((8, 9)), two), [])
        self.assertEqual(await self.found(uids((1, 2)), keys.And(0), keys.Not(), two), [])

    async def test_sizes_count_the_trace_and_compare_strictly(self) -> None:
        new = new_message(self.inbox, message(), trace=b"X: y\r\n")
        await self.insert(new)
        size = new.body.size + 6
        self.assertEqual(await self.found(keys.Size(keys.Relation.LARGER, size)), [])
        self.assertEqual(await self.found(keys.Size(keys.Relation.LARGER, size - 1)), [1])
        self.assertEqual(await self.found(keys.Size(keys.Relation.BEFORE, size)), [])
        self.assertEqual(await self.found(keys.Size(keys.Relation.BEFORE, size + 1)), [1])

    async def test_modseq_finds_what_changed_since(self) -> None:
        await self.fill(2)
        (third,) = await self.insert(new_message(self.inbox))
        self.assertEqual(await self.found(keys.ModSeqAtLeast(third.modseq)), [3])
        self.assertEqual(await self.found(keys.ModSeqAtLeast(third.modseq + 1)), [])
        self.assertEqual(await self.found(keys.ModSeqAtLeast(0)), [1, 2, 3])

    # ------------------------------------------------------------ dates

    async def test_arrival_is_compared_by_whole_days(self) -> None:
        for moment in (
            datetime(2026, 3, 3, 23, 59, 59, tzinfo=UTC),
            datetime(2026, 3, 4, 0, 0, 0, tzinfo=UTC),
            datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC),
            datetime(2026, 3, 5, 0, 0, 0, tzinfo=UTC),
        ):
            await self.insert(new_message(self.inbox, internal_date=moment))
        day = date(2026, 3, 4)
        for relation, expected in (
            (keys.Relation.BEFORE, [1]),
            (keys.Relation.ON, [2, 3]),
            (keys.Relation.SINCE, [2, 3, 4]),
        ):
            self.assertEqual(await self.found(keys.Dated(keys.DateOf.INTERNAL, relation, day)), expected)

    async def test_the_sent_day_is_that_of_the_header_in_its_own_zone(self) -> None:
        for raw in (
            message(sent=None, Date="Wed, 04 Mar 2026 23:30:00 -0800"),
            message(sent=None, Date="Thu, 05 Mar 2026 00:30:00 +1300"),
            message(sent=None),
        ):
            await self.insert(new_message(self.inbox, raw))
        for relation, expected in (
            (keys.Relation.BEFORE, []),
            (keys.Relation.ON, [1]),
            (keys.Relation.SINCE, [1, 2]),
        ):
            step = keys.Dated(keys.DateOf.SENT, relation, date(2026, 3, 4))
            self.assertEqual(await self.found(step), expected)
        before = keys.Dated(keys.DateOf.SENT, keys.Relation.BEFORE, date(2026, 3, 5))
        self.assertEqual(await self.found(before), [1])

    # ------------------------------------------------------------ text

    async def test_text_is_sought_in_its_own_field(self) -> None:
        await self.insert(
            new_message(self.inbox, message("Budget", sender="bob@example.com", Cc="carol@example.com")),
            new_message(self.inbox, message("Lunch", to="bob@example.com", text="the budget is tight\r\n")),
        )
        for field, needle, expected in (
            (keys.Field.SUBJECT, "BUDGET", [1]),
            (keys.Field.BODY, "Budget is", [2]),
            (keys.Field.TEXT, "budget", [1, 2]),
            (keys.Field.FROM, "bob@", [1]),
            (keys.Field.TO, "bob@", [2]),
            (keys.Field.CC, "carol", [1]),
            (keys.Field.BCC, "carol", []),
            (keys.Field.SUBJECT, "udge", [1]),
        ):
            self.assertEqual(await self.found(text(field, needle)), expected, f"{field} {needle}")

    async def test_text_is_never_a_pattern(self) -> None:
        await self.insert(
            new_message(self.inbox, message("100% sure_thing \\ 'quoted'")),
            new_message(self.inbox, message("1000 sureXthing")),
        )
        for needle in ("100%", "sure_thing", "\\", "'quoted'", "% sure"):
            self.assertEqual(await self.found(text(keys.Field.SUBJECT, needle)), [1], needle)

    async def test_case_is_folded_in_every_script(self) -> None:
        await self.insert(new_message(self.inbox, message("Grüße aus ΑΘΉΝΑ und МОСКВА")))
        for needle in ("grüsse", "GRÜẞE", "αθήνα", "москва", "GRU\u0308SSE"):
            self.assertEqual(await self.found(text(keys.Field.SUBJECT, needle)), [1], needle)

    async def test_headers_are_sought_by_name(self) -> None:
        await self.insert(
            new_message(self.inbox, message(References="<a@b> <c@d>", X_Empty="")),
            new_message(self.inbox, message(X_Other="<a@b>")),
        )
        self.assertEqual(await self.found(keys.Header("references", "<c@d>")), [1])
        self.assertEqual(await self.found(keys.Header("references", "")), [1])
        self.assertEqual(await self.found(keys.Header("x-empty", "")), [1])
        self.assertEqual(await self.found(keys.Header("x-other", "<a@")), [2])
        self.assertEqual(await self.found(keys.Header("nothing", "")), [])

    async def test_the_empty_text_matches_every_message_that_has_the_field(self) -> None:
        await self.insert(new_message(self.inbox, message(Cc="x@y.z")), new_message(self.inbox, message()))
        self.assertEqual(await self.found(text(keys.Field.CC, "")), [1])
        self.assertEqual(await self.found(text(keys.Field.BODY, "")), [1, 2])
        self.assertEqual(await self.found(text(keys.Field.TEXT, "")), [1, 2])

    async def test_the_trace_header_is_part_of_the_header(self) -> None:
        trace = b"Return-Path: <sender@example.com>\r\nDelivered-To: Alice+Shop@example.org\r\n"
        await self.insert(new_message(self.inbox, trace=trace), new_message(self.inbox))
        self.assertEqual(await self.found(keys.Header("delivered-to", "alice+shop")), [1])
        self.assertEqual(await self.found(keys.Header("return-path", "")), [1])
        self.assertEqual(await self.found(text(keys.Field.TEXT, "alice+shop@")), [1])
        self.assertEqual(await self.found(text(keys.Field.BODY, "alice+shop@")), [])

    async def test_a_field_is_sought_in_trace_and_header_and_in_folded_lines(self) -> None:
        trace = b"Return-Path: <>\r\nDELIVERED-TO: a@b\r\nReceived: from Peer\r\n\tby mx.example.org\r\n\tfor <a@b>\r\n"
        await self.insert(
            new_message(self.inbox, message("Received: from you"), trace=trace),
            new_message(self.inbox, message("None", Received="from another peer by gate")),
            new_message(self.inbox, message("None")),
        )
        for name, needle, expected in (
            ("received", "peer", [1, 2]),
            ("received", "from peer by mx.example.org for <a@b>", [1]),
            ("received", "gate", [2]),
            ("received", "", [1, 2]),
            ("delivered-to", "a@b", [1]),
            ("return-path", "<>", [1]),
            ("received", "return-path", []),
            ("subject", "received: from", [1]),
            ("subject", "mx.example", []),
            ("from", "peer", []),
        ):
            self.assertEqual(await self.found(keys.Header(name, needle)), expected, f"{name} {needle}")
            if needle:
                # It is part of the whole header as well.
                self.assertTrue({*expected} <= {*await self.found(text(keys.Field.TEXT, needle))}, needle)
            nots = [uid for uid in (1, 2, 3) if uid not in expected]
            self.assertEqual(await self.found(keys.Header(name, needle), keys.Not()), nots, f"not {name} {needle}")

    # ------------------------------------------------------------ combining

    async def test_and_or_and_not_nest(self) -> None:
        await self.insert(
            new_message(self.inbox, message("a"), flags=SEEN),
            new_message(self.inbox, message("b"), flags=SEEN | FLAGGED),
            new_message(self.inbox, message("c"), flags=FLAGGED),
            new_message(self.inbox, message("d")),
        )
        seen, flagged = keys.Flag(SEEN), keys.Flag(FLAGGED)
        self.assertEqual(await self.found(seen, flagged, keys.And(2)), [2])
        self.assertEqual(await self.found(seen, flagged, keys.Or(2)), [1, 2, 3])
        self.assertEqual(await self.found(seen, flagged, keys.Or(2), keys.Not()), [4])
        self.assertEqual(await self.found(seen, keys.Not(), flagged, keys.And(2)), [3])
        self.assertEqual(await self.found(seen, keys.Not(), keys.Not()), [1, 2])
        subject = text(keys.Field.SUBJECT, "d")
        steps = (seen, flagged, keys.And(2), subject, keys.Or(2), uids((1, 3)), keys.Not(), keys.And(2))
        self.assertEqual(await self.found(*steps), [4])

    async def test_a_thousand_nested_keys_are_no_trouble(self) -> None:
        await self.fill(2)
        steps: list[keys.Step] = [keys.All()]
        for _ in range(401):
            steps += [keys.Not(), uids((2, 2)), keys.Or(2)]
        self.assertEqual(await self.found(*steps), [2])

    # ------------------------------------------------------------ incomplete text

    async def cut(self) -> None:
        """Insert a complete message (1) and one whose stored text was cut (2), both with "early" in the body."""
        whole = new_body(message("Whole", text="early"))
        cut = new_body(message("Cut", text="early, and then much more"), text_complete=False)
        await self.insert(new_message(self.inbox, body=whole), new_message(self.inbox, body=cut))

    async def test_a_text_found_in_incomplete_text_is_found(self) -> None:
        await self.cut()
        self.assertEqual(await self.found(text(keys.Field.BODY, "early")), [1, 2])

    async def test_a_text_not_found_in_incomplete_text_is_undecided(self) -> None:
        await self.cut()
        result = await self.search(text(keys.Field.BODY, "late"))
        self.assertEqual((list(result.uids), list(result.undecided)), ([], [2]))
        self.assertEqual(result.undecided.typecode, "I")

    async def test_the_opposite_of_undecided_is_undecided(self) -> None:
        await self.cut()
        result = await self.search(text(keys.Field.BODY, "late"), keys.Not())
        self.assertEqual((list(result.uids), list(result.undecided)), ([1], [2]))

    async def test_what_other_keys_decide_is_not_undecided(self) -> None:
        await self.cut()
        late = text(keys.Field.BODY, "late")
        self.assertEqual(await self.found(late, uids((1, 1)), keys.And(2)), [])
        self.assertEqual(await self.found(late, uids((2, 2)), keys.Or(2)), [2])
        self.assertEqual(await self.found(late, keys.Flag(FLAGGED), keys.And(2), keys.Not()), [1, 2])
        result = await self.search(late, uids((1, 1)), keys.Or(2))
        self.assertEqual((list(result.uids), list(result.undecided)), ([1], [2]))
        result = await self.search(keys.Header("x-late", ""), text(keys.Field.TEXT, "late"), keys.And(2))
        self.assertEqual((list(result.uids), list(result.undecided)), ([], [2]))

    async def test_searching_needs_no_text_where_only_flags_are_asked(self) -> None:
        await self.cut()
        self.assertEqual(await self.found(keys.Flag(SEEN, False)), [1, 2])
