"""Cases shown through the IMAP front end over the store in memory: A1, A5, D9, L1, L4, L6, P10."""

import contextlib
import time
from base64 import b64encode

from twisted.internet import reactor
from twisted.trial import unittest

from sora.core import limits
from sora.core.errors import DatabaseUnavailable, SoraError
from sora.imap.framer import Command, Framer
from sora.imap.parse import parse as parse_imap
from sora.lmtp.commands import RefusedError, parse
from sora.mail.bodies import Reader
from sora.mail.read import MessageReader
from tests.dialogs.world import MemoryWorld, TcpWorld
from tests.integration.database import DatabaseTests
from tests.property import bytes_kept
from tests.property.imap_client import ImapClient

PATIENCE = 1.0
"""Seconds of processor time that a hostile request may cost in a test."""
NEEDLES = (
    (b"(a+)+$", b"* SEARCH 1"),
    (b".*", b"* SEARCH 1"),
    (b"[x]", b"* SEARCH 1"),
    (b"^", b"* SEARCH"),
    (b"%", b"* SEARCH"),
    (b"a_", b"* SEARCH"),
    (b"(" + b"a*" * 400 + b")*b", b"* SEARCH"),
    (b"(a|a)*" * 100, b"* SEARCH"),
    (b"b" + b"a" * 900, b"* SEARCH"),
)
"""What to look for in two messages, and what is found."""


class FrontTests(unittest.TestCase):
    """A server and its clients."""

    async def world(self) -> MemoryWorld:
        """Return a server with one account."""
        world = MemoryWorld(bytes_kept.SCENE)
        await world.set_up()
        world.factory = world.imap()
        return world

    async def stranger(self, world: MemoryWorld) -> ImapClient:
        """Return a client that has only been greeted."""
        client = ImapClient(await world.connect())
        await client.answer()
        return client

    # ------------------------------------------------------------ A1, A5

    async def test_a1_whatever_is_wrong_the_answer_is_the_same(self) -> None:
        world = await self.world()
        client = await self.stranger(world)
        said = set()
        for who in (
            b"demo@example.org wrong",
            b"nobody@example.org secret",
            b"nonsense secret",
            b'demo@example.org ""',
        ):
            said.update(await client.command(b"LOGIN " + who))
        self.assertEqual(len(said), 1, said)
        self.assertTrue(said.pop().startswith(b"NO [AUTHENTICATIONFAILED] "))

    async def test_a5_a_failing_exchange_harms_no_other_connection(self) -> None:
        world = await self.world()
        connection = await world.connect()
        failing = ImapClient(connection)
        await failing.answer()
        good = await self.stranger(world)
        right = b64encode(b"\0demo@example.org\0secret")
        for line in (b"*", b"!!!!", b"", b64encode(b"no nul"), b64encode(b"\0\0"), b64encode(b"\xff\0\xff\0\xff")):
            await connection.send(b"x AUTHENTICATE PLAIN\r\n")
            self.assertTrue((await failing.answer()).startswith(b"+ "))
            await connection.send(line + b"\r\n")
            self.assertRegex(await failing.answer(), rb"\Ax (BAD|NO) ")
        await good.ok(b"AUTHENTICATE PLAIN " + right)
        await good.ok(b"SELECT INBOX")
        await failing.ok(b"AUTHENTICATE PLAIN " + right)

    # ------------------------------------------------------------ D9, P10

    async def test_d9_a_message_that_cannot_be_read_is_left_out_and_the_others_come(self) -> None:
        world = await self.world()
        client = await bytes_kept.signed_in(world)
        for number in range(3):
            await bytes_kept.append(client, b"Subject: %d\r\n\r\ntext %d\r\n" % (number, number))
        objects = world.appender._objects
        for upload in (await world.store.bodies.claim_uploads(10, 60.0))[1:2]:
            await world.store.bodies.uploaded([upload.ref.id])
        objects.away = True
        reader = Reader(world.store.bodies, objects, clock=world.clock, memory_max=0)
        world.factory.services.reader = MessageReader(world.store.messages, reader)
        *untagged, tagged = await client.command(b"FETCH 1:3 BODY.PEEK[TEXT]")
        self.assertEqual([line.split(b"\r\n")[1] for line in untagged], [b"text 0", b"text 2"])
        self.assertTrue(tagged.startswith(b"NO [UNAVAILABLE] "), tagged)
        # What needs no body still works: flags, envelope, header, search.
        self.assertEqual(len(await client.ok(b"FETCH 1:3 (FLAGS ENVELOPE RFC822.SIZE BODY.PEEK[HEADER])")), 3)
        self.assertEqual(await client.ok(b"SEARCH SUBJECT 1"), [b"* SEARCH 2"])

    async def test_p10_a_database_that_is_away_is_a_temporary_no_and_the_session_lives(self) -> None:
        world = await self.world()
        client = await bytes_kept.signed_in(world)

        def away(*_: object, **__: object) -> None:
            raise DatabaseUnavailable("no database server answers")

        store = world.store
        calls = ((store.mailboxes, "find"), (store.messages, "insert"))
        with_database = [getattr(owner, name) for owner, name in calls]
        for owner, name in calls:
            self.patch(owner, name, away)
        for command in (b"STATUS INBOX (MESSAGES)", b"APPEND INBOX {2+}\r\nhi"):
            (answer,) = await client.command(command)
            self.assertTrue(answer.startswith(b"NO [UNAVAILABLE] "), answer)
        for (owner, name), call in zip(calls, with_database, strict=True):
            self.patch(owner, name, call)
        await client.ok(b"STATUS INBOX (MESSAGES)")

    # ------------------------------------------------------------ L1

    async def test_l1_a_stranger_who_floods_holds_no_more_than_the_bound(self) -> None:
        world = await self.world()
        for flood in (
            [b"a LOGIN"] + [b" {4000+}\r\n" + b"x" * 4_000] * 50,
            [b"a LOGIN {4000}\r\n"] + [b"y" * 3_000] * 50,
            [b"a AUTHENTICATE PLAIN\r\n"] + [b"z" * 3_000] * 50,
            [b"a ID (" + b'"k" "v" ' * 900] * 50,
        ):
            before = set(world.factory.services.sessions)
            await world.connect()
            (session,) = world.factory.services.sessions - before
            most = 0
            for piece in flood:
                session.transport.deliver(piece)
                waiting = sum(len(part) for event in session._events for part in getattr(event, "parts", ()))
                most = max(most, session.framer.held + waiting)
            self.assertGreater(most, 2_000, "nothing was held at all")
            self.assertLessEqual(most, limits.UNAUTHENTICATED_HELD_MAX, flood[0])

    async def test_l1_a_stranger_has_a_minute_whatever_he_does_with_it(self) -> None:
        world = await self.world()
        for idle in (b"", b"a LOGIN {10}\r\n", b"a AUTHENTICATE PLAIN\r\n", b"a NOOP\r\n"):
            client = await world.connect()
            world.advance(limits.UNAUTHENTICATED_TIME_MAX / 2)
            if idle:
                await client.send(idle)
            world.advance(limits.UNAUTHENTICATED_TIME_MAX / 2 - 2)
            self.assertFalse(await client.closed(), idle)
            world.advance(4)
            self.assertTrue(await client.closed(), idle)

    # ------------------------------------------------------------ L4

    async def test_l4_every_place_is_bounded_and_the_session_goes_on(self) -> None:
        world = await self.world()
        client = await bytes_kept.signed_in(world)
        await bytes_kept.append(client, b"Subject: x\r\n\r\n")
        many = b" ".join([b"x"] * (limits.IMAP_LIST_ITEMS_MAX + 1))
        deep = limits.IMAP_NESTING_MAX + 1
        for place in (
            b"SEARCH " + b"(" * deep + b"ALL" + b")" * deep,
            b"SEARCH " + b"NOT " * deep + b"ALL",
            b"SEARCH " + b"ALL " * limits.IMAP_SEARCH_KEYS_MAX + b"ALL",
            b"SEARCH RETURN (" + b" ".join([b"MIN"] * 17) + b") ALL",
            b"SEARCH UID " + b"1," * limits.IMAP_SET_RANGES_MAX + b"1",
            b"FETCH 1 (" + many.replace(b"x", b"UID") + b")",
            b"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + many + b")]",
            b"FETCH 1 BODY.PEEK[" + b".".join([b"1"] * (limits.MIME_DEPTH_MAX + 1)) + b"]",
            b"FETCH " + b"1," * limits.IMAP_SET_RANGES_MAX + b"1 UID",
            b"STORE 1 +FLAGS (" + many + b")",
            b"STORE 1 +FLAGS " + many,
            b"STORE 1 +FLAGS (" + b" ".join(b"k%d" % n for n in range(limits.KEYWORDS_PER_MESSAGE_MAX + 1)) + b")",
            b'LIST "" (' + b" ".join([b"a"] * 33) + b")",
            b'LIST "" ' + b"%" * (limits.IMAP_PATTERN_MAX + 1),
            b"LIST " + b"r" * (limits.IMAP_PATTERN_MAX + 1) + b" *",
            b'LIST "" * RETURN (' + b" ".join([b"CHILDREN"] * 17) + b")",
            b"STATUS INBOX (" + many.replace(b"x", b"UIDNEXT") + b")",
            b"CREATE " + b"/".join([b"a"] * (limits.MAILBOX_DEPTH_MAX + 1)),
            b"CREATE " + b"a" * (limits.MAILBOX_NAME_MAX + 1),
            b"CREATE a (USE (" + b" ".join([b"\\Sent"] * 17) + b"))",
            b"SELECT INBOX (" + b" ".join([b"CONDSTORE"] * 9) + b")",
            b"ENABLE " + many,
            b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")",
        ):
            begun = time.process_time()
            *_, answer = await client.command(place)
            self.assertLess(time.process_time() - begun, PATIENCE)
            self.assertTrue(answer.startswith(b"NO [LIMIT] "), (place[:60], answer))
            await client.ok(b"NOOP")
        self.assertEqual((await client.ok(b'LIST "" *'))[0].count(b"INBOX"), 1)

    # ------------------------------------------------------------ L6

    async def test_l6_a_search_needle_is_plain_text_and_costs_in_proportion(self) -> None:
        await search_for_needles(self, await bytes_kept.signed_in(await self.world()))


class PostgresSearchTests(DatabaseTests):
    """The same search in SQL."""

    async def test_l6_a_search_needle_is_plain_text_in_sql_too(self) -> None:
        world = TcpWorld(self.store, bytes_kept.SCENE, reactor)
        await world.set_up()
        world.listen(world.imap())
        client = await bytes_kept.signed_in(world)
        try:
            await search_for_needles(self, client)
        finally:
            await client.hang_up()
            await world.tear_down()


async def search_for_needles(test: unittest.TestCase, client: ImapClient) -> None:
    """Search two messages for each needle; none is a pattern, none is slow."""
    await bytes_kept.append(client, b"Subject: (a+)+$ .* [x]\r\n\r\n" + b"a" * 60_000 + b"!\r\n")
    await bytes_kept.append(client, b"Subject: none\r\n\r\nnothing\r\n")
    for needle, found in NEEDLES:
        begun = time.monotonic()
        answer = await client.ok(b"SEARCH TEXT {%d+}\r\n%b" % (len(needle), needle))
        test.assertEqual(answer[:1], [found], needle[:20])
        test.assertLess(time.monotonic() - begun, PATIENCE)


class HostileLineTests(unittest.SynchronousTestCase):
    """L6: our own patterns over what a peer sends cost in proportion to it."""

    def test_l6_no_line_of_lmtp_is_slow_to_read(self) -> None:
        for piece in (b'"', b'"a', b'"\\a', b'\\"', b"a@", b"@a,", b"@a", b"a.", b"a", b"<", b" a=a", b">"):
            path = (piece * limits.LMTP_LINE_MAX)[: limits.LMTP_LINE_MAX - 30]
            for line in (
                b"RCPT TO:<%b",
                b"MAIL FROM:<%b>",
                b"MAIL FROM:<@a:%b\1>",
                b"LHLO %b\1",
                b"RCPT TO:<a@b> %b\1",
            ):
                begun = time.process_time()
                with contextlib.suppress(RefusedError):
                    parse(line % path)
                self.assertLess(time.process_time() - begun, 0.25, (line, piece))

    def test_l6_no_argument_of_imap_is_slow_to_read(self) -> None:
        for piece in (b'\\"', b'"', b"a", b"(", b"{1} ", b"}", b"%*", b"&", b"&A", b"1,", b"1:", b"[", b"BODY["):
            rest = (piece * limits.IMAP_LINE_MAX)[: limits.IMAP_LINE_MAX - 100]
            for start in (
                b'LIST "" "',
                b"SEARCH TEXT ",
                b'SELECT "',
                b"FETCH 1 BODY[",
                b"STORE 1 FLAGS ",
                b"UID FETCH ",
            ):
                one = Framer()
                one.authenticated = True
                begun = time.process_time()
                for event in one.feed(b"a " + start + rest + b"\r\n"):
                    if isinstance(event, Command):
                        with contextlib.suppress(SoraError):
                            parse_imap(event)
                self.assertLess(time.process_time() - begun, 0.5, (start, piece))
