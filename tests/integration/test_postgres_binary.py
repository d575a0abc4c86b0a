"""Statements whose parameters travel in binary: the same rows and errors as by text, and connections that die."""

import psycopg2
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from sora.core.errors import CommitUnknown
from sora.postgres.adapter import Rows
from sora.postgres.binary import BinaryConnection, BinaryStatement, OctetStatement, octets, texts
from tests.integration.database import DatabaseTests

ECHO = BinaryStatement(
    "SELECT u.n::text, encode(u.o, 'hex'), u.t, u.o IS NULL FROM unnest(%(octets)s::bytea[], %(texts)s::text[])"
    " WITH ORDINALITY AS u (o, t, n)"
)
COUNT = BinaryStatement(
    "SELECT count(*)::text, coalesce(sum(length(o)), 0)::text FROM unnest(%(octets)s::bytea[]) AS u (o)"
)
DIVIDE = BinaryStatement("SELECT (1 / %(number)s::integer)::text")
LEAVE = BinaryStatement("SELECT pg_terminate_backend(pg_backend_pid()) WHERE %(number)s::integer = 1")
BACK = OctetStatement(
    "SELECT o, int4send(n::integer), NULL::bytea FROM unnest(%(octets)s::bytea[]) WITH ORDINALITY AS u (o, n)"
)
WAIT = BinaryStatement("SELECT pg_sleep(%(seconds)s::float8)::text")


class BinaryTests(DatabaseTests):
    """One pool of one connection, so that what is prepared stays prepared."""

    pool_max = 1

    def setUp(self) -> "Deferred[None]":
        if BinaryConnection.library is None:
            self.skipTest("psycopg2 does not show its libpq here")
        return super().setUp()

    async def both(self, statement: BinaryStatement, **parameters: object) -> list[Rows]:
        """Return the rows as text brings them (the first time), and as octets do."""
        database = self.store.database
        return [await database.fetch(statement, parameters) for _ in range(2)]

    async def test_octets_and_texts_arrive_as_they_were_sent(self) -> None:
        every = bytes(range(256))
        words = ["", "a'b\"c\\d{e},f", "ü\n\t€", None, "NULL"]
        sent = {"octets": octets([every, b"", None, b"'\\", b"\0"]), "texts": texts(words)}
        text, binary = await self.both(ECHO, **sent)
        self.assertEqual([row[2] for row in binary], words)
        self.assertEqual([row[1] for row in binary], [every.hex(), "", None, "275c", "00"])
        self.assertEqual([row[:3] for row in text], [row[:3] for row in binary])

    async def test_octets_come_back_as_they_are(self) -> None:
        every = [bytes(range(256)) * 5_000, b"", b"\0", b"a\0"]
        expected = [(one, n.to_bytes(4, "big"), None) for n, one in enumerate(every, 1)]
        for rows in await self.both(BACK, octets=octets(every)):
            self.assertEqual([(bytes(one), bytes(n), none) for one, n, none in rows], expected)
        text, binary = await self.both(COUNT, octets=octets([b"x"]))
        self.assertEqual((text, binary), ([("1", "1")], [("1", "1")]))

    async def test_what_no_text_can_hold_is_left_out(self) -> None:
        _, binary = await self.both(ECHO, octets=octets([b""]), texts=texts(["a\0b\ud800"]))
        self.assertEqual(binary[0][2], "ab?")

    async def test_empty_arrays_are_arrays(self) -> None:
        text, binary = await self.both(COUNT, octets=octets([]))
        self.assertEqual((text, binary), ([("0", "0")], [("0", "0")]))

    async def test_more_than_a_socket_takes_is_sent_to_its_end(self) -> None:
        text, binary = await self.both(COUNT, octets=octets([b"x" * 1_000_000] * 8))
        self.assertEqual((text, binary), ([("8", "8000000")], [("8", "8000000")]))

    async def test_errors_are_those_of_psycopg2_and_the_connection_goes_on(self) -> None:
        await self.both(DIVIDE, number="1")
        with self.assertRaises(psycopg2.errors.DivisionByZero) as raised:
            await self.store.database.fetch(DIVIDE, {"number": "0"})
        self.assertEqual(raised.exception.pgcode, "22012")
        self.assertEqual(await self.store.database.fetch(DIVIDE, {"number": "1"}), [("1",)])
        self.assertEqual(await self.store.database.fetch("SELECT 1"), [(1,)])
        self.assertEqual(self.store.pool.counters.lost, 0)

    async def test_d1_a_server_that_leaves_before_its_answer_leaves_a_change_unknown(self) -> None:
        await self.both(LEAVE, number="0")
        with self.assertRaises(CommitUnknown):
            await self.store.database.change(LEAVE, {"number": "1"})
        self.assertEqual(await self.store.database.fetch("SELECT 1"), [(1,)])

    async def test_names_that_the_server_forgot_are_not_the_callers_trouble(self) -> None:
        await self.both(DIVIDE, number="1")
        await self.store.database.fetch("DEALLOCATE ALL")
        self.assertEqual(await self.store.database.fetch(DIVIDE, {"number": "1"}), [("1",)])

    async def test_a_cancelled_wait_gives_the_connection_back(self) -> None:
        await self.both(WAIT, seconds="0")
        waits = self.store.database.fetch(WAIT, {"seconds": "0.2"})
        after = self.store.database.fetch("SELECT 2")
        waits.cancel()
        with self.assertRaises(CancelledError):
            await waits
        self.assertEqual(await after, [(2,)])

    async def test_several_at_once_keep_their_answers(self) -> None:
        await self.both(DIVIDE, number="1")
        rows = await gatherResults([self.store.database.fetch(DIVIDE, {"number": n}) for n in ("1", "-1", "2")])
        self.assertEqual(rows, [[("1",)], [("-1",)], [("0",)]])

    async def test_without_the_library_everything_is_text(self) -> None:
        self.patch(BinaryConnection, "library", None)
        sent = {"octets": octets([b"\0'\\"]), "texts": texts(["'\\"])}
        first, second = await self.both(ECHO, **sent)
        self.assertEqual(first, second)
        self.assertEqual(first[0][1:3], ("00275c", "'\\"))
