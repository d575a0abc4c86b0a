"""D5: the answer to COMMIT is lost, and nothing is said to be done that is not, or done twice, or done in part.

In each case the change is committed and its answer eaten; the counterpart eats the question, so that it is not.
"""

from tests.faults.broken import BrokenTests
from tests.faults.cut import Side
from tests.integration.serving import message

INSERT = rb"insert_messages\("
TRANSFER = rb"transfer_messages\("
STORE = rb"store_flags"
EXPUNGE = rb"expunge_messages\("


class CommitLostTests(BrokenTests):
    """Three messages, and one change to them."""

    async def three(self) -> None:
        """Start a server and deliver three messages."""
        await self.broken("[storage]\nstaging_max = 20000\n")
        for number in range(3):
            self.assertEqual(await self.deliver(message(f"number {number}")), 250)

    async def test_d5_a_delivery_is_answered_451_and_its_repetition_is_absorbed(self) -> None:
        for side, there in ((Side.ANSWERED, 1), (Side.ASKED, 0)):
            await self.three() if not hasattr(self, "answers") else None
            before = len(await self.uids())
            letter = message(f"of {side.name}")
            eaten = self.eat(INSERT, side=side)
            self.assertEqual(await self.deliver(letter), 451, side)
            self.assertTrue(eaten.struck.done)
            self.assertEqual(len(await self.uids()), before + there)
            self.assertEqual(await self.deliver(letter), 250)
            self.assertEqual(len(await self.uids()), before + 1)

    async def test_d5_an_append_is_found_again_by_its_key_and_acknowledged(self) -> None:
        await self.three()
        session = await self.imap()
        eaten = self.eat(INSERT)
        answer = await session.command("APPEND INBOX", message("appended"))
        self.assertTrue(eaten.struck.done)
        self.assertTrue(answer.ok, answer)
        self.assertRegex(answer.text, rb"\[APPENDUID \d+ 4\]")
        self.assertEqual(await self.uids(), [1, 2, 3, 4])

    async def test_d5_an_append_that_was_not_committed_is_refused(self) -> None:
        await self.three()
        session = await self.imap()
        self.eat(INSERT, side=Side.ASKED)
        answer = await session.command("APPEND INBOX", message("appended"))
        self.assertEqual(answer.status, "NO", answer)
        self.assertEqual(await self.uids(), [1, 2, 3])
        self.assertTrue((await session.command("APPEND INBOX", message("appended"))).ok)
        self.assertEqual(await self.uids(), [1, 2, 3, 4])

    async def test_d5_a_large_append_keeps_its_object(self) -> None:
        await self.three()
        session = await self.imap()
        self.eat(INSERT)
        large = message("large", 30_000)
        self.assertTrue((await session.command("APPEND INBOX", large)).ok)
        (line,) = await self.ok(session, "UID FETCH 4 (BODY.PEEK[])")
        self.assertIn(large, line)
        self.assertEqual(self.sql("SELECT count(*) FROM discarded_objects"), [(0,)])

    async def test_d5_a_copy_is_refused_and_made_once_or_never(self) -> None:
        for side, copied in ((Side.ANSWERED, 2), (Side.ASKED, 0)):
            await self.three() if not hasattr(self, "answers") else None
            before = len(await self.uids("Archive"))
            session = await self.imap()
            eaten = self.eat(TRANSFER, side=side)
            answer = await session.command("UID COPY 1:2 Archive")
            self.assertTrue(eaten.struck.done)
            self.assertEqual(answer.status, "NO", answer)
            self.assertEqual(len(await self.uids("Archive")), before + copied)
            self.assertEqual(await self.uids(), [1, 2, 3])
            self.assertTrue((await session.command("NOOP")).ok)

    async def test_d5_a_move_leaves_each_message_in_one_of_both_places(self) -> None:
        await self.three()
        session = await self.imap()
        self.eat(TRANSFER, side=Side.ASKED)
        self.assertEqual((await session.command("UID MOVE 1:2 Archive")).status, "NO")
        self.assertEqual((await self.uids(), await self.uids("Archive")), ([1, 2, 3], []))
        self.eat(TRANSFER)
        answer = await session.command("UID MOVE 1:2 Archive")
        self.assertEqual(answer.status, "NO", answer)
        self.assertEqual((await self.uids(), await self.uids("Archive")), ([3], [1, 2]))
        await self.ok(session, "NOOP")
        await self.ok(session, "UID FETCH 1:* (UID)")
        self.assertEqual((session.numbers, session.confused), ([3], []))

    async def test_d5_flags_are_refused_and_the_session_sees_what_became_of_them(self) -> None:
        await self.three()
        session = await self.imap()
        for side, flagged in ((Side.ASKED, False), (Side.ANSWERED, True)):
            eaten = self.eat(STORE, side=side)
            answer = await session.command("UID STORE 1:2 +FLAGS.SILENT (\\Flagged)")
            self.assertTrue(eaten.struck.done)
            self.assertEqual(answer.status, "NO", answer)
            await self.ok(session, "NOOP")
            lines = await self.ok(session, "UID FETCH 1:2 (FLAGS)")
            self.assertEqual([b"Flagged" in line for line in lines], [flagged] * 2)

    async def test_d5_an_expunge_is_refused_and_the_session_sees_what_became_of_it(self) -> None:
        await self.three()
        session = await self.imap()
        await self.ok(session, "UID STORE 1:2 +FLAGS.SILENT (\\Deleted)")
        for side, left in ((Side.ASKED, [1, 2, 3]), (Side.ANSWERED, [3])):
            eaten = self.eat(EXPUNGE, side=side)
            self.assertEqual((await session.command("EXPUNGE")).status, "NO")
            self.assertTrue(eaten.struck.done)
            await self.ok(session, "NOOP")
            await self.ok(session, "UID FETCH 1:* (UID)")
            self.assertEqual((session.numbers, session.confused), (left, []))
            self.assertEqual(await self.uids(), left)

    async def test_d5_the_store_is_whole_after_all_of_it(self) -> None:
        await self.three()
        session = await self.imap()
        await self.ok(session, "UID STORE 1 +FLAGS.SILENT (\\Deleted)")
        for pattern, command in (
            (STORE, "UID STORE 2 +FLAGS (\\Seen)"),
            (TRANSFER, "UID COPY 2 Archive"),
            (TRANSFER, "UID MOVE 3 Trash"),
            (EXPUNGE, "EXPUNGE"),
        ):
            self.eat(pattern)
            self.assertEqual((await session.command(command)).status, "NO")
        self.assertEqual((await self.uids(), await self.uids("Archive"), await self.uids("Trash")), ([2], [1], [1]))
        self.assertEqual(await self.store.audit.findings(), [])
