"""D8, U8: the object store fails in every way it can; mail is not lost, and what needs no body goes on."""

import random
import shutil
from typing import Any

from twisted.internet import reactor

from sora import aio
from tests.faults.broken import BrokenTests
from tests.faults.chaos_s3 import PASSING, Mischief, Moods
from tests.integration.fake_s3 import Fault
from tests.integration.serving import message

QUICK = '[uploader]\nwake_interval = "0.1s"\nretry_interval = "0.1s"\nretry_max = "1s"\nlease = "1s"\n'
NO_CACHE = "[local_cache]\nenabled = false\nmemory = 0\n"
SMALL = "[storage]\nstaging_max = 4000\n"


class ObjectsTests(BrokenTests):
    """A server whose bodies go to an S3 with moods, and that keeps none near."""

    async def serve_chaos(self, *tables: str) -> None:
        """Start it."""
        chaos = self.chaos()
        await self.broken(chaos, NO_CACHE, SMALL, *tables)

    def text(self, *tables: str, state: Any = None) -> str:
        slow = '[uploader]\nwake_interval = "0.1s"\n'
        text = super().text(*tables, state=state)
        assert slow in text
        return text.replace(slow, QUICK)

    async def staged(self, count: int) -> None:
        """Wait until so many bodies are staged."""
        await self.until(lambda: self.sql("SELECT count(*) FROM staged_bodies") == [(count,)], 30.0)

    async def bodies(self, expected: list[bytes]) -> None:
        """See that the inbox has exactly these messages."""
        session = await self.imap()
        lines = await self.ok(session, f"UID FETCH 1:{len(expected)} (BODY.PEEK[])")
        found = [line for line in lines if b" FETCH " in line]
        self.assertEqual(len(found), len(expected))
        for line, letter in zip(found, expected, strict=True):
            self.assertIn(letter, line)
        session.close()


class MoodTests(ObjectsTests):
    """Faults that pass, drawn from a seed."""

    async def test_d8_in_every_mood_every_body_arrives_and_is_read_as_it_was_sent(self) -> None:
        await self.serve_chaos()
        self.s3.s3.moods = Moods(8, 0.3)
        drawn = random.Random(8)
        letters = [message(f"number {n}", drawn.choice((100, 100, 2_000))) for n in range(30)]
        for letter in letters:
            self.assertEqual(await self.deliver(letter), 250)
        await self.staged(0)
        self.assertGreaterEqual(len(set(PASSING) & set(self.s3.s3.met)), 8, self.s3.s3.met)
        self.s3.s3.moods = lambda _: Fault.NONE
        # What was late is found in the end; a client that comes too early is told to come again.
        session = await self.imap()
        await self.until_ok(session, "UID FETCH 1:* (UID BODY.PEEK[])")
        await self.bodies(letters)
        self.assertEqual(await self.store.audit.findings(), [])

    async def until_ok(self, session: Any, command: str) -> None:
        """Repeat a command that may be refused for now."""
        for _ in range(20):
            answer = await session.command(command)
            if answer.ok:
                return
            self.assertIn(b"[UNAVAILABLE]", answer.text)
            await self.pause(0.1)
        self.fail("it is refused still")

    async def test_d8_a_lie_about_what_was_stored_is_not_believed(self) -> None:
        for mood in (Fault.WRONG_TAG, Fault.DROPPED, Mischief.ERROR_IN_200):
            if not hasattr(self, "s3"):
                await self.serve_chaos()
            before = len(await self.uids())
            lies = [mood] * 3
            self.s3.s3.moods = lambda _, lies=lies: lies.pop(0) if lies else Fault.NONE  # type: ignore[misc]
            self.assertEqual(await self.deliver(message(f"mood {mood.name}")), 250)
            await self.staged(0)
            self.assertEqual(lies, [])
            self.assertEqual(len(self.s3.s3.objects), before + 1)
            self.assertTrue(all(len(data) > 50 for data, _ in self.s3.s3.objects.values()))

    async def test_d8_an_object_that_is_not_what_was_stored_is_refused_and_holds_up_no_other(self) -> None:
        await self.serve_chaos()
        for number in range(3):
            self.assertEqual(await self.deliver(message(f"number {number}")), 250)
        await self.staged(0)
        session = await self.imap()
        for mood in (Mischief.WRONG_BYTES, Mischief.LYING_LENGTH, Fault.FORBIDDEN):
            moods = [mood]
            self.s3.s3.moods = lambda _, moods=moods: moods.pop(0) if moods else Fault.NONE  # type: ignore[misc]
            answer = await session.command("UID FETCH 1:3 (BODY.PEEK[])")
            self.assertEqual(answer.status, "NO", mood)
            self.assertEqual(len([line for line in answer.untagged if b"From: bob" in line]), 2, mood)
        await self.bodies([message(f"number {number}") for number in range(3)])

    async def test_d8_objects_that_could_not_be_deleted_are_deleted_later(self) -> None:
        await self.serve_chaos('[cleanup]\ngrace_period = "0s"\nwake_interval = "1s"\n')
        self.assertEqual(await self.deliver(message("to go")), 250)
        await self.staged(0)
        session = await self.imap()
        await self.ok(session, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        await self.ok(session, "EXPUNGE")
        await self.until(lambda: self.sql("SELECT 1 FROM bodies WHERE condemned_at IS NOT NULL") == [(1,)])
        refusals = [Mischief.ERROR_IN_200, Fault.RESET, Fault.UNAVAILABLE]
        self.s3.s3.moods = lambda _: refusals.pop(0) if refusals else Fault.NONE
        self.sql("UPDATE bodies SET condemned_at = condemned_at - interval '2 days'")
        await self.until(lambda: self.sql("SELECT count(*) FROM discarded_objects") == [(0,)] and not refusals, 30.0)
        self.assertEqual((self.s3.s3.objects, self.sql("SELECT count(*) FROM bodies")), ({}, [(0,)]))


class GoneTests(ObjectsTests):
    """S3 is gone, and comes back."""

    async def test_u8_without_s3_everything_that_needs_no_body_works_and_bodies_are_refused_in_time(self) -> None:
        await self.serve_chaos()
        for number in range(3):
            self.assertEqual(await self.deliver(message(f"number {number}")), 250)
        await self.staged(0)
        await self.s3.leave()
        session = await self.imap()
        for command in (
            'LIST "" *',
            "STATUS INBOX (MESSAGES UNSEEN)",
            "SELECT INBOX",
            "SEARCH SUBJECT number",
            "FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[HEADER])",
            "STORE 1 +FLAGS (\\Seen)",
            "COPY 1 Archive",
            "MOVE 2 Archive",
        ):
            await self.ok(session, command)
        began = reactor.seconds()  # type: ignore[attr-defined]
        answer = await session.command("FETCH 1 (BODY.PEEK[])")
        self.assertLess(reactor.seconds() - began, 20)  # type: ignore[attr-defined]
        self.assertEqual(answer.status, "NO")
        self.assertIn(b"[UNAVAILABLE]", answer.text)
        self.assertFalse(any(b"BODY[]" in line for line in answer.untagged), "never an empty message")
        # New mail comes in, and is read from where it is staged.
        fresh = message("meanwhile")
        self.assertEqual(await self.deliver(fresh), 250)
        await self.ok(session, "NOOP")
        lines = await self.ok(session, "UID FETCH 4 (BODY.PEEK[])")
        self.assertIn(fresh, lines[-1])
        self.assertEqual(await self.deliver(message("large", 10_000)), 451)
        self.s3.come_back()
        await self.staged(0)
        await self.back_with_bodies(session)

    async def back_with_bodies(self, session: Any) -> None:
        """See that what was refused is served again by itself, soon."""
        began = reactor.seconds()  # type: ignore[attr-defined]
        while not (await session.command("UID FETCH 1,4 (BODY.PEEK[])")).ok:
            self.assertLess(reactor.seconds() - began, 15)  # type: ignore[attr-defined]
            await self.pause(0.1)
        self.assertEqual(await self.deliver(message("large", 10_000)), 250)

    async def test_u8_readers_of_a_stalled_store_leak_nothing_and_are_answered(self) -> None:
        await self.serve_chaos()
        self.assertEqual(await self.deliver(message("one")), 250)
        await self.staged(0)
        self.s3.s3.moods = lambda _: Fault.STALL
        sessions = [await self.imap() for _ in range(4)]
        waits = [aio.start(session.command("UID FETCH 1 (BODY.PEEK[])")) for session in sessions]
        answers = await aio.gather(waits)
        self.assertEqual([answer.status for answer in answers], ["NO"] * 4)
        self.s3.s3.moods = lambda _: Fault.NONE
        await self.back_with_bodies(sessions[0])

    async def test_p8_a_cache_deleted_under_a_running_server_is_missed_by_nobody(self) -> None:
        chaos = self.chaos()
        await self.broken(chaos, f'[local_cache]\nmemory = 0\npath = "{self.state}/cache"\n', SMALL)
        letters = [message(f"number {n}") for n in range(5)]
        for letter in letters:
            self.assertEqual(await self.deliver(letter), 250)
        await self.staged(0)
        await self.bodies(letters)
        shutil.rmtree(self.state / "cache")
        await self.bodies(letters)
        self.assertEqual(await self.deliver(message("another")), 250)
        await self.bodies([*letters, message("another")])
